//! Medium payloads: put together in stages, packed into slabs at the commit.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod common;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use payload_core::port::{Placed, Sealed, TierStore};
use payload_core::{Container, Digest, Location, Namespace, Reason, Result, SessionId};
use payload_testkit::tier::sample::{assert_bytes, bytes, namespace, sweep};
use payload_testkit::tier::{PLENTY, fds};
use payload_tier::{RamOptions, RamStore};
use rustix::fs::{FallocateFlags, SealFlags};

use crate::common::{MapKeeper, ram, ram_options};

fn options(capacity: u64) -> RamOptions {
    RamOptions {
        packed_max: 2 << 20,
        ..ram_options(capacity)
    }
}

fn fresh(options: RamOptions) -> (Arc<MapKeeper>, RamStore) {
    let keeper = Arc::new(MapKeeper::default());
    let store = ram(options, &keeper);
    (keeper, store)
}

fn session(number: u8) -> SessionId {
    SessionId::from_bytes([number; 24])
}

fn reserve(store: &RamStore, size: u64, producer: u8) -> Result<Placed> {
    store.reserve(&Namespace::default(), size, Some(session(producer)))
}

fn fill(store: &RamStore, placed: &Placed, bytes: &[u8]) -> OwnedFd {
    let writer = store.writer(&placed.location).unwrap();
    fds::write(&writer, placed.location.offset(), bytes);
    writer
}

/// Seals and lets the reserved range go, as a commit does.
fn commit(store: &RamStore, placed: &Placed, size: u64) -> (Placed, Digest) {
    let Sealed::Moved { placed: moved, digest } = seal(store, placed, size).unwrap() else {
        panic!("it stays in the stage");
    };
    store.remove(&placed.location, placed.charged).unwrap();
    (moved, digest)
}

fn seal(store: &RamStore, placed: &Placed, size: u64) -> Result<Sealed> {
    store.seal(&Namespace::default(), &placed.location, size)
}

#[test]
fn medium_payloads_of_a_producer_share_a_stage_and_end_in_a_slab() {
    let (keeper, store) = fresh(options(PLENTY));
    let contents: Vec<_> = (0..5).map(|seed| bytes(seed, 100_000)).collect();
    let reserved: Vec<_> = contents.iter().map(|_| reserve(&store, 100_000, 1).unwrap()).collect();
    let stage = reserved[0].location.container();
    assert!(reserved.iter().all(|placed| placed.location.container() == stage));
    let moved: Vec<_> = reserved
        .into_iter()
        .zip(&contents)
        .map(|(placed, content)| {
            drop(fill(&store, &placed, content));
            let (moved, digest) = commit(&store, &placed, 100_000);
            assert_eq!(digest, Digest::of(content));
            moved
        })
        .collect();
    let slab = moved[0].location.container();
    assert_ne!(slab, stage);
    for (placed, content) in moved.iter().zip(&contents) {
        assert!(matches!(placed.location, Location::Slab { .. }));
        assert_eq!(placed.location.container(), slab);
        assert_bytes(&store, &placed.location, content);
    }
    assert_eq!(keeper.len(), 2, "a stage and a slab, whatever the number of payloads");
}

#[test]
fn every_producer_has_stages_of_its_own() {
    let (_keeper, store) = fresh(options(PLENTY));
    let containers = [Some(1), Some(2), None, None].map(|producer| {
        let producer = producer.map(session);
        let placed = store.reserve(&Namespace::default(), 70_000, producer).unwrap();
        placed.location.container()
    });
    let distinct: std::collections::HashSet<_> = containers.iter().collect();
    assert_eq!(distinct.len(), 4);
}

#[test]
fn payloads_of_different_namespaces_end_in_different_slabs() {
    let (_keeper, store) = fresh(options(PLENTY));
    let slabs = ["one", "other"].map(|name| {
        let placed = reserve(&store, 70_000, 1).unwrap();
        let sealed = store.seal(&namespace(name), &placed.location, 70_000).unwrap();
        let Sealed::Moved { placed, .. } = sealed else {
            panic!("it stays")
        };
        placed.location.container()
    });
    assert_ne!(slabs[0], slabs[1]);
}

#[test]
fn a_commit_may_keep_less_and_even_nothing() {
    let (_keeper, store) = fresh(options(PLENTY));
    for size in [100_000, 5, 0] {
        let content = bytes(3, 100_000);
        let placed = reserve(&store, 100_000, 1).unwrap();
        drop(fill(&store, &placed, &content));
        let (moved, _) = commit(&store, &placed, size as u64);
        assert_bytes(&store, &moved.location, &content[..size]);
        assert!(moved.charged < size as u64 + 128);
    }
}

#[test]
fn fault_24_what_is_written_after_the_commit_reaches_nobody() {
    let (_keeper, store) = fresh(options(PLENTY));
    let content = bytes(1, 200_000);
    let placed = reserve(&store, 200_000, 1).unwrap();
    let writer = fill(&store, &placed, &content);
    let start = placed.location.offset();
    let mapping = fds::Mapping::writable(&writer, 200_000 + usize::try_from(start).unwrap()).unwrap();
    let (moved, digest) = commit(&store, &placed, 200_000);
    mapping.fill(&bytes(2, 200_000));
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&writer, punch, start, 200_000).unwrap();
    assert_bytes(&store, &moved.location, &content);
    assert_eq!(digest, Digest::of(&content));
}

#[test]
fn fault_24_a_stage_cannot_be_resized_nor_sealed_by_its_producer_and_is_read_by_nobody() {
    let (_keeper, store) = fresh(options(PLENTY));
    let placed = reserve(&store, 100_000, 1).unwrap();
    let writer = store.writer(&placed.location).unwrap();
    assert!(rustix::fs::ftruncate(&writer, 0).is_err());
    assert!(rustix::fs::ftruncate(&writer, 1 << 30).is_err());
    assert!(rustix::fs::fcntl_add_seals(&writer, SealFlags::WRITE).is_err());
    assert!(store.open(&placed.location).is_err());
    assert!(store.read(&placed.location, 10, &mut Vec::new()).is_err());
    assert!(store.digest(&placed.location, 10).is_err());
    assert!(store.check(&placed.location, 10).is_err());
    let (moved, _) = commit(&store, &placed, 100_000);
    assert!(store.writer(&moved.location).is_err(), "nobody writes to slabs");
}

#[test]
fn fault_14_what_was_reserved_can_be_committed_in_a_full_tier() {
    let (_keeper, store) = fresh(options(8 << 20));
    let content = bytes(1, 1 << 20);
    let mut reserved = Vec::new();
    let full = loop {
        match reserve(&store, 1 << 20, 1) {
            Ok(placed) => reserved.push(placed),
            Err(error) => break error,
        }
    };
    assert_eq!(full.reason(), Reason::TierFull);
    assert!(reserved.len() >= 3, "{} fitted", reserved.len());
    assert!(store.usage().used <= 8 << 20);
    for placed in reserved {
        drop(fill(&store, &placed, &content));
        let (moved, _) = commit(&store, &placed, 1 << 20);
        assert_bytes(&store, &moved.location, &content);
    }
    assert!(store.usage().used <= 8 << 20);
}

#[test]
fn fault_14_stages_are_really_there() {
    let (_keeper, store) = fresh(options(PLENTY));
    let placed = reserve(&store, 100_000, 1).unwrap();
    let stat = rustix::fs::fstat(store.writer(&placed.location).unwrap()).unwrap();
    assert_eq!(stat.st_blocks * 512, stat.st_size);
    let usage = store.usage();
    assert_eq!(usage.staging, stat.st_size.cast_unsigned() - placed.charged);
    assert_eq!(
        usage.used,
        stat.st_size.cast_unsigned() + placed.charged,
        "and room for the copy"
    );
}

#[test]
fn fault_26_producers_share_the_limit_of_segments() {
    let (keeper, store) = fresh(RamOptions {
        segments_max: 4,
        ..options(PLENTY)
    });
    for producer in 0..4 {
        reserve(&store, 70_000, producer).unwrap();
    }
    let error = reserve(&store, 70_000, 9).unwrap_err();
    assert_eq!(error.reason(), Reason::SegmentsExhausted);
    assert_eq!(keeper.len(), 4);
    reserve(&store, 70_000, 3).unwrap();
}

#[test]
fn fault_17_a_producer_that_is_gone_leaves_nothing() {
    let (keeper, store) = fresh(options(PLENTY));
    let mut placed = reserve(&store, 100_000, 1).unwrap();
    drop(std::mem::take(&mut placed.claim));
    let idle = reserve(&store, 100_000, 2).unwrap();
    store.remove(&idle.location, idle.charged).unwrap();
    drop(idle);
    store.sweepable().unwrap();
    assert_eq!(keeper.len(), 2);

    store.forget_producer(session(2));
    assert_eq!(keeper.len(), 1, "what nobody uses goes at once");
    store.forget_producer(session(1));
    assert_eq!(store.sweepable().unwrap(), [], "its row is still there");
    store.remove(&placed.location, placed.charged).unwrap();
    assert_eq!(sweep(&store), 1);
    assert_eq!((store.usage().used, keeper.len()), (0, 0));
}

#[test]
fn a_producer_keeps_one_stage_and_gives_the_others_back() {
    let (keeper, store) = fresh(options(PLENTY));
    let reserved: Vec<_> = (0..20).map(|_| reserve(&store, 500_000, 1).unwrap()).collect();
    assert!(keeper.len() > 1);
    for placed in reserved {
        store.remove(&placed.location, placed.charged).unwrap();
    }
    store.sweepable().unwrap();
    sweep(&store);
    assert_eq!(keeper.len(), 1);
    assert_eq!(store.usage().used, store.usage().staging);
}

#[test]
fn fault_01_a_restarted_server_finds_stages_and_lets_them_go_with_their_last_row() {
    let (keeper, store) = fresh(options(PLENTY));
    let content = bytes(1, 150_000);
    let (one, other) = (
        reserve(&store, 150_000, 1).unwrap(),
        reserve(&store, 90_000, 1).unwrap(),
    );
    let writer = fill(&store, &one, &content[..70_000]);
    drop(store);

    let store = ram(options(PLENTY), &keeper);
    let named = store.sweepable().unwrap();
    assert_eq!(named, [one.location.container()], "the rows are asked");
    // The producer goes on with what it has mapped, or asks for another descriptor.
    fds::write(&writer, one.location.offset() + 70_000, &content[70_000..]);
    store.writer(&other.location).unwrap();
    let stage: Container = one.location.container();
    let (moved, _) = commit(&store, &one, 150_000);
    assert_bytes(&store, &moved.location, &content);
    store.remove(&other.location, other.charged).unwrap();
    assert_eq!(store.sweepable().unwrap(), [stage]);
    drop(writer);
    store.drop_container(stage).unwrap();
    assert_eq!(keeper.len(), 1);
}

#[test]
fn threads_fill_one_slab_at_the_same_time_and_read_what_is_complete() {
    let (_keeper, store) = fresh(options(PLENTY));
    std::thread::scope(|scope| {
        for producer in 0..4_u8 {
            let store = &store;
            scope.spawn(move || {
                let mut mine: Vec<(Placed, Vec<u8>)> = Vec::new();
                for round in 0..12 {
                    let content = bytes(u64::from(producer) << 8 | round, 300_000);
                    let placed = reserve(store, 300_000, producer).unwrap();
                    drop(fill(store, &placed, &content));
                    mine.push((commit(store, &placed, 300_000).0, content));
                    let small = bytes(round, 100);
                    mine.push((store.store(&Namespace::default(), &small).unwrap(), small));
                    for (placed, content) in &mine {
                        assert_bytes(store, &placed.location, content);
                    }
                }
            });
        }
    });
}
