//! Bytes that can be told apart, and names for them.

use std::os::fd::OwnedFd;

use payload_core::port::{Placed, Sealed, TierStore};
use payload_core::{Digest, Location, Namespace, Result};

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

/// Room for bytes, with the means to fill it.
#[derive(Debug)]
pub struct Reserved {
    /// Where.
    pub placed: Placed,
    /// To write with.
    pub writer: OwnedFd,
}

/// Reserves room for somebody without a session.
pub fn reserve(store: &dyn TierStore, size: u64) -> Reserved {
    let placed = store.reserve(&Namespace::default(), size, None).unwrap();
    let writer = store.writer(&placed.location).unwrap();
    Reserved { placed, writer }
}

/// Seals bytes that stay where they are, and returns what they are charged.
pub fn seal(store: &dyn TierStore, location: &Location, size: u64) -> Result<u64> {
    match store.seal(&Namespace::default(), location, size)? {
        Sealed::InPlace { charged } => Ok(charged),
        Sealed::Moved { placed, .. } => panic!("moved to {placed:?}"),
    }
}

/// Reserves, fills and seals bytes that get a container of their own.
pub fn put_whole(store: &dyn TierStore, bytes: &[u8]) -> Placed {
    let Reserved { mut placed, writer } = reserve(store, bytes.len() as u64);
    super::fds::write(&writer, 0, bytes);
    drop(writer);
    placed.charged = seal(store, &placed.location, bytes.len() as u64).unwrap();
    placed
}

/// Reserves, fills and seals bytes, wherever they then are.
pub fn put_reserved(store: &dyn TierStore, bytes: &[u8]) -> Placed {
    let Reserved { mut placed, writer } = reserve(store, bytes.len() as u64);
    let start = placed.location.offset();
    super::fds::write(&writer, start, bytes);
    drop(writer);
    match store
        .seal(&Namespace::default(), &placed.location, bytes.len() as u64)
        .unwrap()
    {
        Sealed::InPlace { charged } => placed.charged = charged,
        Sealed::Moved { placed: moved, digest } => {
            assert_eq!(digest, Digest::of(bytes));
            store.remove(&placed.location, placed.charged).unwrap();
            placed = moved;
        }
    }
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
