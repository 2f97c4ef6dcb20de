//! Bytes that can be told apart, and names for them.

use payload_core::port::{Placed, TierStore};
use payload_core::{Digest, Location, Namespace};

use crate::clock::Rng;

/// Random bytes, the same for the same seed.
pub fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&rng.bits().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A namespace by name.
pub fn namespace(name: &str) -> Namespace {
    name.parse().unwrap()
}

/// Asserts that the store has `expected` at `location`, by every way to look at it.
pub fn assert_bytes(store: &dyn TierStore, location: &Location, expected: &[u8]) {
    let size = expected.len() as u64;
    store.check(location, size).unwrap();
    let mut found = b"before".to_vec();
    store.read(location, size, &mut found).unwrap();
    assert!(found[..6] == *b"before", "reading appends");
    assert!(found[6..] == *expected, "the bytes at {location:?} differ");
    assert_eq!(store.digest(location, size).unwrap(), Digest::of(expected));
    let fd = store.open(location).unwrap();
    assert!(
        super::fds::read(&fd, location.offset(), expected.len()) == *expected,
        "the bytes of the descriptor differ"
    );
}

/// Reserves, fills and seals.
pub fn put_whole(store: &dyn TierStore, bytes: &[u8]) -> Placed {
    let reserved = store.reserve(&Namespace::default(), bytes.len() as u64).unwrap();
    super::fds::write(&reserved.writer, 0, bytes);
    drop(reserved.writer);
    let mut placed = reserved.placed;
    placed.charged = store.seal(&placed.location, bytes.len() as u64).unwrap();
    placed
}

/// Frees everything that the store says may be freed; returns how many containers that were.
pub fn sweep(store: &dyn TierStore) -> usize {
    let containers = store.sweepable().unwrap();
    for container in &containers {
        store.drop_container(*container).unwrap();
    }
    containers.len()
}
