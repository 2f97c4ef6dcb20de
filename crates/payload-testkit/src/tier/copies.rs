//! Bytes that come from another tier.

use std::os::fd::{AsFd, OwnedFd};

use payload_core::port::{Receiver, Source};
use payload_core::{Digest, Error, Namespace, Reason};

use super::sample::{assert_bytes, bytes, sweep};
use super::{Make, PLENTY, fds};

const SIZES: [usize; 8] = [
    0,
    1,
    65_536,
    65_537,
    1 << 20,
    (1 << 20) + 4_097,
    3 << 20,
    (6 << 20) + 123,
];

/// Sealed memory can be mapped.
pub fn bytes_are_copied_from_memory_with_their_digest(make: Make<'_>) {
    copies(make, fds::sealed);
}

/// A file should not be.
pub fn bytes_are_copied_from_a_file_with_their_digest(make: Make<'_>) {
    copies(make, |bytes| {
        let fd = OwnedFd::from(tempfile::tempfile().unwrap());
        fds::write(&fd, 0, bytes);
        fd
    });
}

fn copies(make: Make<'_>, source: impl Fn(&[u8]) -> OwnedFd) {
    let store = make(PLENTY);
    for size in SIZES {
        for offset in [0, 64, 8_192] {
            let all = bytes(size as u64, size + 8_192 + 100);
            let expected = &all[offset..offset + size];
            let fd = source(&all);
            let source = Source {
                fd: fd.as_fd(),
                offset: offset as u64,
                size: size as u64,
            };
            let (placed, digest) = store.copy_in(&Namespace::default(), source).unwrap();
            assert_eq!(digest, Digest::of(expected), "{size} bytes from {offset}");
            assert_bytes(&*store, &placed.location, expected);
        }
    }
}

/// From a tier without descriptors, whose pieces come in any order.
pub fn bytes_are_received_from_a_tier_without_descriptors(make: Make<'_>) {
    let store = make(PLENTY);
    for size in SIZES.into_iter().filter(|size| *size > 0) {
        let all = bytes(size as u64, size);
        let from = |to: Receiver<'_>| {
            let pieces: Vec<_> = all.chunks(100_000).enumerate().collect();
            pieces
                .iter()
                .rev()
                .try_for_each(|(number, piece)| to(*number as u64 * 100_000, piece))
        };
        let (placed, digest) = store.receive(&Namespace::default(), size as u64, &from).unwrap();
        assert_eq!(digest, Digest::of(&all), "{size} bytes");
        assert_bytes(&*store, &placed.location, &all);
        let mut sent = vec![0; size];
        let mut to = |offset: u64, piece: &[u8]| {
            sent[offset as usize..][..piece.len()].copy_from_slice(piece);
            Ok(())
        };
        store.send(&placed.location, size as u64, &mut to).unwrap();
        assert!(sent == all, "{size} bytes came out as others");
    }
}

/// What stops in the middle leaves nothing.
pub fn a_sender_that_stops_leaves_nothing(make: Make<'_>) {
    let store = make(PLENTY);
    for size in [1_000, 5 << 20] {
        let failing = |to: Receiver<'_>| {
            to(0, &[7; 500])?;
            Err(Error::new(Reason::TierUnavailable, "the line was cut"))
        };
        let error = store.receive(&Namespace::default(), size, &failing).unwrap_err();
        assert_eq!(error.reason(), Reason::TierUnavailable);
        let short = |to: Receiver<'_>| to(0, &[7; 500]);
        let error = store.receive(&Namespace::default(), size, &short).unwrap_err();
        assert_eq!(error.reason(), Reason::BytesMissing);
    }
    sweep(&*store);
    assert_eq!(store.usage().used, 0);
}

/// A file that lost its end is an error, and never a shorter or a padded copy.
pub fn a_source_that_is_too_short_leaves_nothing(make: Make<'_>) {
    let store = make(PLENTY);
    for (len, size) in [(100, 1_000), (1 << 20, 5 << 20)] {
        let fd = fds::sealed(&bytes(1, len));
        let fd = fd.as_fd();
        let error = store.copy_in(&Namespace::default(), Source { fd, offset: 0, size });
        assert_eq!(error.unwrap_err().reason(), Reason::BytesMissing);
    }
    sweep(&*store);
    assert_eq!(store.usage().used, 0);
}
