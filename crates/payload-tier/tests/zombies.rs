//! Memory that was freed while somebody still had it: charged, shown, and given back when nobody has it any more.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use payload_core::Namespace;
use payload_core::Reason;
use payload_core::port::TierStore;
use payload_testkit::tier::fds::Mapping;
use payload_testkit::tier::sample::{bytes, put_whole, reserve, seal, sweep};
use payload_tier::RamStore;

use crate::common::{MapKeeper, ram, ram_options};

const MIB: u64 = 1 << 20;

fn fresh(capacity: u64) -> (Arc<MapKeeper>, RamStore) {
    let keeper = Arc::new(MapKeeper::default());
    let store = ram(ram_options(capacity), &keeper);
    (keeper, store)
}

/// What is used, which part of it by zombies, and how many memfds there are.
fn books(store: &RamStore) -> (u64, u64, u64) {
    let usage = store.usage();
    (usage.used, usage.zombie, usage.containers)
}

#[test]
fn fault_14_memory_that_a_reader_still_has_mapped_stays_charged_until_it_has_not() {
    let (keeper, store) = fresh(8 * MIB);
    let content = bytes(1, 5 << 20);
    let placed = put_whole(&store, &content);
    let mapped = Mapping::readable(&store.open(&placed.location).unwrap(), 5 << 20).unwrap();
    store.remove(&placed.location, placed.charged).unwrap();
    assert_eq!(books(&store), (5 * MIB, 5 * MIB, 1));
    assert!(store.open(&placed.location).is_err(), "nobody gets at it any more");
    store.remove(&placed.location, placed.charged).unwrap();
    assert_eq!(keeper.len(), 1, "the next server must find it");

    let full = store.reserve(&Namespace::default(), 4 * MIB, None).unwrap_err();
    assert_eq!(full.reason(), Reason::TierFull);
    assert!(mapped.bytes() == content);
    drop(mapped);
    // Who is short of room finds it, before any sweep.
    let next = store.reserve(&Namespace::default(), 4 * MIB, None).unwrap();
    assert_eq!((books(&store), keeper.len()), ((4 * MIB, 0, 1), 1));
    store.remove(&next.location, next.charged).unwrap();
    assert_eq!(books(&store), (0, 0, 0));
}

#[test]
fn a_descriptor_alone_keeps_memory_and_a_producers_too() {
    let (_keeper, store) = fresh(64 * MIB);
    let placed = put_whole(&store, &bytes(1, 3_000_000));
    let reader = store.open(&placed.location).unwrap();
    let given_up = reserve(&store, 2 * MIB);
    let committed = reserve(&store, 2 * MIB);
    seal(&store, &committed.placed.location, 4_096).unwrap();
    store.remove(&placed.location, placed.charged).unwrap();
    store.remove(&given_up.placed.location, 2 * MIB).unwrap();
    store.remove(&committed.placed.location, 4_096).unwrap();
    let (used, zombie, count) = books(&store);
    assert_eq!((used, zombie, count), (used, used, 3));
    assert_eq!(used, placed.charged + 2 * MIB + 4_096);

    drop((reader, given_up.writer, committed.writer));
    store.sweepable().unwrap();
    assert_eq!(books(&store), (0, 0, 0));
}

#[test]
fn fault_19_a_client_that_never_leaves_a_slab_holds_up_that_slab_alone() {
    let (keeper, store) = fresh(64 * MIB);
    let namespace = Namespace::default();
    let first = store.store(&namespace, &bytes(1, 60_000)).unwrap();
    let mapped = Mapping::readable(&store.open(&first.location).unwrap(), 1 << 20).unwrap();
    store.remove(&first.location, first.charged).unwrap();
    drop(first.claim);
    assert_eq!(sweep(&store), 1);
    assert_eq!(books(&store), (MIB, MIB, 1));

    // Others of the namespace come and go.
    for seed in 2..50 {
        let placed = store.store(&namespace, &bytes(seed, 60_000)).unwrap();
        store.remove(&placed.location, placed.charged).unwrap();
        drop(placed.claim);
        sweep(&store);
    }
    assert_eq!(books(&store), (MIB, MIB, 1));
    assert!(mapped.bytes()[..60_000] == bytes(1, 60_000));
    drop(mapped);
    sweep(&store);
    assert_eq!((books(&store), keeper.len()), ((0, 0, 0), 0));
}

#[test]
fn fault_21_a_restarted_server_counts_what_outlived_the_one_before() {
    let (keeper, store) = fresh(64 * MIB);
    let content = bytes(1, 3_000_000);
    let placed = put_whole(&store, &content);
    let mapped = Mapping::readable(&store.open(&placed.location).unwrap(), 3_000_000).unwrap();
    store.remove(&placed.location, placed.charged).unwrap();
    drop(store);

    let store = ram(ram_options(64 * MIB), &keeper);
    assert_eq!(store.usage().used, placed.charged);
    sweep(&store);
    assert_eq!(books(&store), (placed.charged, placed.charged, 1));
    assert!(mapped.bytes() == content);
    drop(mapped);
    sweep(&store);
    assert_eq!((books(&store), keeper.len()), ((0, 0, 0), 0));
}

#[test]
fn a_keeper_that_does_not_answer_is_asked_again() {
    let (keeper, store) = fresh(64 * MIB);
    let placed = put_whole(&store, &bytes(1, 3_000_000));
    let reader = store.open(&placed.location).unwrap();
    store.remove(&placed.location, placed.charged).unwrap();
    drop(reader);
    keeper.broken.store(true, Ordering::Relaxed);
    store.sweepable().unwrap();
    assert_eq!(books(&store), (placed.charged, placed.charged, 1));
    keeper.broken.store(false, Ordering::Relaxed);
    store.sweepable().unwrap();
    assert_eq!((books(&store), keeper.len()), ((0, 0, 0), 0));
}
