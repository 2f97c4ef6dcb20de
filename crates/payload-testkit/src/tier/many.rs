//! Many payloads that are stored in one call.

use std::collections::HashSet;

use payload_core::Namespace;
use payload_core::port::TierStore;

use super::sample::{assert_bytes, bytes, sweep};
use super::{Make, PLENTY};

/// Stores payloads of these sizes in one call, and looks at each.
fn store_all(store: &dyn TierStore, sizes: &[usize], first_seed: u64) -> Vec<(payload_core::port::Placed, Vec<u8>)> {
    let payloads: Vec<Vec<u8>> = (first_seed..)
        .zip(sizes)
        .map(|(seed, size)| bytes(seed, *size))
        .collect();
    let slices: Vec<&[u8]> = payloads.iter().map(|bytes| &bytes[..]).collect();
    let placed = store.store_all(&Namespace::default(), &slices);
    assert_eq!(placed.len(), sizes.len());
    placed.into_iter().map(|one| one.unwrap()).zip(payloads).collect()
}

/// Large groups and small ones, one after the other, are all there, and nobody's bytes are in anybody's place.
pub fn groups_of_any_size_follow_each_other(make: Make<'_>) {
    let store = make(PLENTY);
    let groups: [&[usize]; 7] = [
        &[],
        &[5],
        &[0, 1, 100],
        &[60_000; 40],
        &[3],
        &[65_536; 64],
        &[4_097, 3 << 20, 7],
    ];
    let mut all = Vec::new();
    for sizes in groups {
        all.extend(store_all(&*store, sizes, all.len() as u64));
    }
    let locations: HashSet<_> = all.iter().map(|(placed, _)| placed.location).collect();
    assert_eq!(locations.len(), all.len());
    for (placed, bytes) in &all {
        assert_bytes(&*store, &placed.location, bytes);
    }
    let used = store.usage().used;
    assert!(used >= all.iter().map(|(placed, _)| placed.charged).sum());
    for (placed, _) in all {
        store.remove(&placed.location, placed.charged).unwrap();
    }
    sweep(&*store);
    assert_eq!(store.usage().used, 0);
}

/// Each has its own answer, and a refusal leaves nothing behind.
pub fn fault_13_those_that_find_no_room_are_refused_by_themselves(make: Make<'_>) {
    let store = make(4 << 20);
    let payloads = vec![vec![1; 65_536]; 200];
    let slices: Vec<&[u8]> = payloads.iter().map(|bytes| &bytes[..]).collect();
    let results = store.store_all(&Namespace::default(), &slices);
    let (placed, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    // There is room for 64 without anything around them.
    assert!((40..=64).contains(&placed.len()), "{}", placed.len());
    assert_eq!(placed.len() + refused.len(), 200);
    for error in refused {
        assert_eq!(error.unwrap_err().reason(), payload_core::Reason::TierFull);
    }
    for one in placed.into_iter().flatten() {
        assert_bytes(&*store, &one.location, &payloads[0]);
        store.remove(&one.location, one.charged).unwrap();
    }
    sweep(&*store);
    assert_eq!(store.usage().used, 0);
}
