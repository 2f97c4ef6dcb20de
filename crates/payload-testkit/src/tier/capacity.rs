//! Room is charged before it is handed out, and comes back to the last byte.

use payload_core::{Namespace, Reason};

use super::sample::{assert_bytes, bytes, put_reserved, put_whole, reserve, sweep};
use super::{Make, PLENTY};

/// Whole and shared, stored, shrunk, given up.
pub fn every_byte_is_charged_and_given_back(make: Make<'_>) {
    let store = make(PLENTY);
    let mut charged = 0;
    let mut all = Vec::new();
    for size in [1, 4_096, 100_000, 3_000_000] {
        all.push(put_reserved(&*store, &bytes(1, size)));
        all.push(store.store(&Namespace::default(), &bytes(2, size)).unwrap());
    }
    for placed in &all {
        charged += placed.charged;
    }
    let usage = store.usage();
    assert_eq!(usage.capacity, PLENTY);
    assert!(usage.used >= charged, "{usage:?}, and {charged} are charged");
    let reserved = reserve(&*store, 1 << 20);
    assert_eq!(store.usage().used, usage.used + reserved.placed.charged);
    assert_eq!(store.usage().containers, usage.containers + 1);
    drop(reserved.writer);
    all.push(reserved.placed);

    for placed in all {
        store.remove(&placed.location, placed.charged).unwrap();
    }
    sweep(&*store);
    let usage = store.usage();
    assert_eq!((usage.used, usage.containers), (0, 0));
}

/// Reservations, stores and copies all meet the limit, and room that comes back can be used.
pub fn fault_13_fault_14_a_full_tier_refuses_and_recovers(make: Make<'_>) {
    let capacity = 4 << 20;
    let store = make(capacity);
    let mut all = Vec::new();
    let full = loop {
        match store.reserve(&Namespace::default(), 100_000, None) {
            Ok(placed) => all.push(placed),
            Err(error) => break error,
        }
    };
    assert_eq!(full.reason(), Reason::TierFull);
    assert_eq!(all.len(), 40, "each takes 25 pages");
    let full = loop {
        match store.store(&Namespace::default(), &[7; 1_000]) {
            Ok(placed) => all.push(placed),
            Err(error) => break error,
        }
    };
    assert_eq!(full.reason(), Reason::TierFull);
    assert!(all.len() > 90, "the rest was for small ones, {}", all.len() - 40);
    assert!(store.usage().used <= capacity);

    let placed = all.swap_remove(0);
    store.remove(&placed.location, placed.charged).unwrap();
    let expected = bytes(3, 100_000);
    let placed = put_whole(&*store, &expected);
    assert_bytes(&*store, &placed.location, &expected);
}

/// However often.
pub fn a_refusal_leaves_nothing(make: Make<'_>) {
    let store = make(1 << 20);
    for _ in 0..50 {
        let size = 2 << 20;
        assert!(store.reserve(&Namespace::default(), size, None).is_err());
        assert!(store.reserve(&Namespace::default(), u64::MAX - 5_000, None).is_err());
        assert!(store.store(&Namespace::default(), &vec![0; 3 << 20]).is_err());
    }
    assert_eq!(store.usage().used, 0);
    store.reserve(&Namespace::default(), 1 << 20, None).unwrap();
}
