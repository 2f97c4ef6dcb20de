//! Segments that are made ahead of their payloads.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use payload_core::port::{Placed, TierStore};
use payload_core::{Location, Namespace, Reason, Result};
use payload_testkit::tier::fds;
use payload_testkit::tier::sample::{assert_bytes, bytes};
use payload_tier::{RamOptions, RamStore};

use crate::common::{MapKeeper, ram, ram_options};

const MIB: u64 = 1 << 20;

fn options(capacity: u64, pool_max: u64) -> RamOptions {
    RamOptions {
        packed_max: 2 * MIB,
        pool_max,
        ..ram_options(capacity)
    }
}

fn fresh(options: RamOptions) -> (Arc<MapKeeper>, RamStore) {
    let keeper = Arc::new(MapKeeper::default());
    let store = ram(options, &keeper);
    (keeper, store)
}

fn reserve(store: &RamStore, size: u64) -> Result<Placed> {
    store.reserve(&Namespace::default(), size, None)
}

/// Prepares until there is nothing left to do, and says how much is ready.
fn prepared(store: &RamStore) -> u64 {
    while store.prepare().unwrap() {}
    let usage = store.usage();
    assert!(usage.pool <= usage.used);
    usage.pool
}

fn length(store: &RamStore, placed: &Placed) -> (u64, u64) {
    let stat = rustix::fs::fstat(store.writer(&placed.location).unwrap()).unwrap();
    (stat.st_size.cast_unsigned(), stat.st_blocks.cast_unsigned() * 512)
}

#[test]
fn a_segment_from_the_pool_is_like_any_other() {
    let (keeper, store) = fresh(options(1 << 30, 40 * MIB));
    assert_eq!(prepared(&store), 40 * MIB, "32, 8");
    assert_eq!(store.usage().used, 40 * MIB);
    assert_eq!(
        (store.usage().containers, keeper.len()),
        (0, 0),
        "nobody hears of what is only ready"
    );

    let placed = reserve(&store, 5 * MIB + 1).unwrap();
    let size = 5 * MIB + 4_096;
    assert_eq!(store.usage().pool, 32 * MIB, "the one of 8 MiB is used");
    assert_eq!((store.usage().used, placed.charged), (32 * MIB + size, size));
    assert_eq!(length(&store, &placed), (size, size), "its tail was freed");
    assert_eq!(keeper.len(), 1);

    let content = bytes(1, (5 << 20) + 1);
    let writer = store.writer(&placed.location).unwrap();
    let mut before = vec![1; 100];
    rustix::io::pread(&writer, &mut before, 3 * MIB).unwrap();
    assert!(before.iter().all(|byte| *byte == 0));
    fds::write(&writer, 0, &content);
    drop(writer);
    store
        .seal(&Namespace::default(), &placed.location, 5 * MIB + 1)
        .unwrap();
    assert_bytes(&store, &placed.location, &content);
    store.remove(&placed.location, placed.charged).unwrap();
    assert_eq!(store.usage().used, 32 * MIB);
}

#[test]
fn what_is_asked_for_is_made_ready_and_what_nobody_asks_for_makes_way() {
    let (_, store) = fresh(options(1 << 30, 40 * MIB));
    prepared(&store);
    for _ in 0..32 {
        let placed = reserve(&store, 3 * MIB).unwrap();
        store.remove(&placed.location, placed.charged).unwrap();
        prepared(&store);
    }
    assert_eq!(store.usage().pool, 39 * MIB, "thirteen of 3 MiB");
    let ready: Vec<_> = (0..13).map(|_| reserve(&store, 3 * MIB).unwrap()).collect();
    assert_eq!(store.usage().pool, 0);
    assert_eq!(store.usage().used, 39 * MIB);
    drop(ready);
}

#[test]
fn fault_14_the_pool_makes_way_for_payloads() {
    let (_, store) = fresh(options(64 * MIB, 40 * MIB));
    assert_eq!(prepared(&store), 40 * MIB);
    let placed = reserve(&store, 63 * MIB).unwrap();
    assert_eq!((store.usage().pool, store.usage().used), (0, 63 * MIB));
    assert_eq!(prepared(&store), 0, "an eighth stays free");
    assert_eq!(reserve(&store, 2 * MIB + 1).unwrap_err().reason(), Reason::TierFull);
    store.remove(&placed.location, placed.charged).unwrap();
    assert!(prepared(&store) > 32 * MIB);

    // Small ones too, and slabs.
    let (_, store) = fresh(options(8 * MIB, 4 * MIB));
    assert_eq!(prepared(&store), 4 * MIB);
    let mut stored = 0;
    while store.store(&Namespace::default(), &bytes(1, 60_000)).is_ok() {
        stored += 1;
    }
    assert!(stored * 60_000 > 6 * MIB, "{stored}");
    assert_eq!(store.usage().pool, 0);

    // And stages, with the copy that the commit will make: 3 MiB and 3 MiB, of which the pool had 4.
    let (_, store) = fresh(options(8 * MIB, 4 * MIB));
    assert_eq!(prepared(&store), 4 * MIB);
    let medium: Vec<_> = (0..3).map(|_| reserve(&store, MIB).unwrap()).collect();
    assert!(
        medium
            .iter()
            .all(|placed| matches!(placed.location, Location::Stage { .. }))
    );
    assert_eq!((store.usage().pool, store.usage().used), (0, 6 * MIB));
    assert_eq!(
        reserve(&store, MIB + MIB / 2).unwrap_err().reason(),
        Reason::TierFull,
        "there is room for the stage, and none for the copy"
    );
    assert_eq!(store.usage().used, 6 * MIB, "what was refused takes up nothing");
}

#[test]
fn fault_26_the_pool_makes_way_for_segments() {
    let few = RamOptions {
        segments_max: 8,
        ..options(1 << 30, 248 * MIB)
    };
    let (_, store) = fresh(few);
    prepared(&store);
    let segments: Vec<_> = (0..8).map(|_| reserve(&store, 2 * MIB + 1).unwrap()).collect();
    assert_eq!(
        reserve(&store, 2 * MIB + 1).unwrap_err().reason(),
        Reason::SegmentsExhausted
    );
    drop(segments);
}

#[test]
fn fault_14_without_memory_to_spare_nothing_is_made_ready() {
    let short = RamOptions {
        memory_reserve: u64::MAX / 2,
        ..options(1 << 30, 40 * MIB)
    };
    let (_, store) = fresh(short);
    assert_eq!(prepared(&store), 0);
    assert_eq!((store.usage().used, store.usage().containers), (0, 0));
    assert_eq!(reserve(&store, 3 * MIB).unwrap_err().reason(), Reason::MemoryShort);
}

#[test]
fn what_was_only_ready_ends_with_its_server() {
    let keeper = Arc::new(MapKeeper::default());
    let store = ram(options(1 << 30, 40 * MIB), &keeper);
    prepared(&store);
    let placed = reserve(&store, 8 * MIB).unwrap();
    drop(store);
    let store = ram(options(1 << 30, 40 * MIB), &keeper);
    assert_eq!((store.usage().used, store.usage().pool), (8 * MIB, 0));
    let Location::Segment(_) = placed.location else {
        panic!("not a segment of its own");
    };
    assert_eq!(length(&store, &placed), (8 * MIB, 8 * MIB));
}

#[test]
fn preparing_and_reserving_from_many_threads_keeps_the_books_right() {
    let (_, store) = fresh(options(256 * MIB, 32 * MIB));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..400 {
                store.prepare().unwrap();
            }
        });
        for seed in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..40 {
                    let size = MIB * (3 + (seed * 7 + round) % 20);
                    let placed = reserve(store, size).unwrap();
                    assert_eq!(length(store, &placed), (size, size));
                    store.remove(&placed.location, placed.charged).unwrap();
                }
            });
        }
    });
    let ready = prepared(&store);
    assert_eq!((store.usage().used, store.usage().containers), (ready, 0));
}
