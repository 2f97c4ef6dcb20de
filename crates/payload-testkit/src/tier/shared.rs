//! Bytes that the server stores itself; small ones share containers.

use std::collections::HashSet;

use payload_core::Namespace;

use super::sample::{assert_bytes, bytes, namespace, put_whole};
use super::{Make, PLENTY};

/// Of every size at which something changes.
pub fn stored_bytes_come_back(make: Make<'_>) {
    let store = make(PLENTY);
    let sizes = [
        0,
        1,
        63,
        64,
        65,
        4_096,
        65_535,
        65_536,
        65_537,
        2 << 20,
        (2 << 20) + 1,
        5_000_000,
    ];
    let stored: Vec<_> = sizes
        .into_iter()
        .map(|size| {
            let bytes = bytes(size as u64, size);
            let placed = store.store(&Namespace::default(), &bytes).unwrap();
            assert!(placed.charged >= size as u64);
            (placed, bytes)
        })
        .collect();
    for (placed, bytes) in &stored {
        assert_bytes(&*store, &placed.location, bytes);
    }
}

/// And every place is different, even of those that are empty.
pub fn small_payloads_share_few_containers(make: Make<'_>) {
    let store = make(PLENTY);
    let stored: Vec<_> = (0..600)
        .map(|seed| {
            let bytes = bytes(seed, usize::try_from(seed % 3).unwrap() * 50);
            (store.store(&Namespace::default(), &bytes).unwrap(), bytes)
        })
        .collect();
    let locations: HashSet<_> = stored.iter().map(|(placed, _)| placed.location).collect();
    let containers: HashSet<_> = locations.iter().map(|location| location.container()).collect();
    assert_eq!(locations.len(), 600);
    assert!(containers.len() <= 2, "{} containers", containers.len());
    for (placed, bytes) in &stored {
        assert_bytes(&*store, &placed.location, bytes);
    }
}

/// A descriptor of a container shows all that is in it.
pub fn namespaces_share_no_container(make: Make<'_>) {
    let store = make(PLENTY);
    let container = |name: &str| {
        let placed = store.store(&namespace(name), b"bytes").unwrap();
        placed.location.container()
    };
    assert_eq!(container("one"), container("one"));
    assert_ne!(container("one"), container("other"));
}

/// Rows may be wrong; the answer must not be bytes of somebody else.
pub fn reading_behind_the_end_is_refused(make: Make<'_>) {
    let store = make(PLENTY);
    let shared = store.store(&Namespace::default(), b"bytes").unwrap();
    let whole = put_whole(&*store, &bytes(1, 100_000));
    for size in [1 << 40, u64::MAX] {
        for location in [&shared.location, &whole.location] {
            assert!(store.check(location, size).is_err());
            assert!(store.digest(location, size).is_err());
            let mut out = Vec::new();
            assert!(store.read(location, size, &mut out).is_err());
            assert!(out.is_empty());
        }
    }
}
