//! What the contract does not say and the RAM tier promises: restarts, memory that is really there, limits.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, though not in a test module"
)]

mod common;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use payload_core::port::{FdStore, TierStore};
use payload_core::{Container, Location, Namespace, Reason};
use payload_testkit::tier::sample::{assert_bytes, bytes, put_whole, reserve, seal, sweep};
use payload_testkit::tier::{PLENTY, fds};
use payload_tier::{RamOptions, RamStore};

use crate::common::{MapKeeper, ids, ram, ram_options};

fn fresh(options: RamOptions) -> (Arc<MapKeeper>, RamStore) {
    let keeper = Arc::new(MapKeeper::default());
    let store = ram(options, &keeper);
    (keeper, store)
}

/// What the server does after it died: its store is gone, the keeper's descriptors are not.
fn restart(store: RamStore, keeper: &Arc<MapKeeper>) -> RamStore {
    drop(store);
    ram(ram_options(PLENTY), keeper)
}

#[test]
fn a_restarted_server_finds_everything_that_the_keeper_held() {
    let (keeper, store) = fresh(ram_options(PLENTY));
    let (big, small, half) = (bytes(1, 3_000_000), bytes(2, 5_000), bytes(3, 100_000));
    let whole = put_whole(&store, &big);
    let shared = store.store(&Namespace::default(), &small).unwrap();
    let shrunk = reserve(&store, 1 << 20);
    fds::write(&shrunk.writer, 0, &half);
    drop(shrunk.writer);
    let shrunk = shrunk.placed;
    seal(&store, &shrunk.location, 100_000).unwrap();
    let reserved = reserve(&store, 200_000);
    fds::write(&reserved.writer, 0, &half[..50_000]);
    drop(reserved.writer);
    let before = store.usage();

    let store = restart(store, &keeper);
    assert_eq!(store.usage(), before);
    assert_bytes(&store, &whole.location, &big);
    assert_bytes(&store, &shared.location, &small);
    assert_bytes(&store, &shrunk.location, &half);

    let location = reserved.placed.location;
    assert!(store.open(&location).is_err(), "it is not sealed yet");
    let writer = store.writer(&location).unwrap();
    fds::write(&writer, 50_000, &half[50_000..]);
    drop(writer);
    let charged = seal(&store, &location, 100_000).unwrap();
    assert_bytes(&store, &location, &half);

    store.remove(&location, charged).unwrap();
    for placed in [whole, shared] {
        store.remove(&placed.location, placed.charged).unwrap();
    }
    store.remove(&shrunk.location, 102_400).unwrap();
    sweep(&store);
    let usage = store.usage();
    assert_eq!((usage.used, usage.containers), (0, 0));
    assert_eq!(keeper.len(), 0);
}

#[test]
fn slabs_of_an_earlier_server_are_read_only() {
    let (keeper, store) = fresh(ram_options(PLENTY));
    let old = store.store(&Namespace::default(), b"old").unwrap();
    let store = restart(store, &keeper);
    let new = store.store(&Namespace::default(), b"new").unwrap();
    assert_ne!(old.location.container(), new.location.container());
    assert_bytes(&store, &old.location, b"old");
    assert_bytes(&store, &new.location, b"new");
}

#[test]
fn room_of_a_slab_that_nobody_got_is_not_read() {
    let (_keeper, store) = fresh(ram_options(PLENTY));
    let placed = store.store(&Namespace::default(), b"bytes").unwrap();
    store.check(&placed.location, 64).unwrap();
    let error = store.check(&placed.location, 65).unwrap_err();
    assert_eq!(error.reason(), Reason::BytesMissing);
}

#[test]
fn segments_without_rows_are_named_by_the_first_sweep_of_a_restarted_server() {
    let (keeper, store) = fresh(ram_options(PLENTY));
    let lost = put_whole(&store, &bytes(1, 100_000));
    let slab = store.store(&Namespace::default(), b"lost").unwrap();
    let known = put_whole(&store, &bytes(2, 100_000));
    let store = restart(store, &keeper);
    let mut named = store.sweepable().unwrap();
    named.retain(|container| *container != known.location.container());
    named.sort();
    let mut lost = [lost.location.container(), slab.location.container()];
    lost.sort();
    assert_eq!(named, lost);
    for container in named {
        store.drop_container(container).unwrap();
    }
    assert_eq!(store.usage().used, known.charged);
    assert_eq!(keeper.len(), 1);
}

#[test]
fn what_the_keeper_holds_and_no_server_made_is_given_up() {
    let keeper = Arc::new(MapKeeper::default());
    let file = tempfile::tempfile().unwrap();
    keeper.store(ids().segment(), file.as_fd()).unwrap();
    let memory = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
    keeper.store(ids().segment(), memory.as_fd()).unwrap();
    let store = ram(ram_options(PLENTY), &keeper);
    assert_eq!((store.usage().containers, keeper.len()), (0, 0));
}

#[test]
fn every_segment_is_with_the_keeper_before_it_is_handed_out() {
    let (keeper, store) = fresh(ram_options(PLENTY));
    let reserved = reserve(&store, 100_000);
    drop(reserved.writer);
    assert_eq!(keeper.len(), 1);
    store.store(&Namespace::default(), b"in a slab").unwrap();
    assert_eq!(keeper.len(), 2);
    store.store(&Namespace::default(), &bytes(1, 3_000_000)).unwrap();
    assert_eq!(keeper.len(), 3);

    keeper.broken.store(true, Ordering::Relaxed);
    let before = store.usage();
    let errors = [
        store.reserve(&Namespace::default(), 100_000, None).unwrap_err(),
        store.store(&"other".parse().unwrap(), b"bytes").unwrap_err(),
        store.store(&Namespace::default(), &bytes(1, 3_000_000)).unwrap_err(),
        store.remove(&reserved.placed.location, 102_400).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.reason(), Reason::KeeperUnavailable);
    }
    assert_eq!(store.usage(), before, "nothing was made, and nothing was lost");
    keeper.broken.store(false, Ordering::Relaxed);
    store.remove(&reserved.placed.location, 102_400).unwrap();
    assert_eq!(keeper.len(), 2);
}

#[test]
fn fault_14_reserved_memory_is_really_there() {
    let (_keeper, store) = fresh(ram_options(8 << 20));
    let reserved = reserve(&store, 8 << 20);
    let allocated = |fd| rustix::fs::fstat(fd).unwrap().st_blocks * 512;
    assert_eq!(allocated(&reserved.writer), 8 << 20);
    // A full tier is no trouble for whoever has a reservation.
    let full = store.reserve(&Namespace::default(), 1, None).unwrap_err();
    assert_eq!(full.reason(), Reason::TierFull);
    fds::Mapping::writable(&reserved.writer, 8 << 20)
        .unwrap()
        .fill(&bytes(1, 8 << 20));

    seal(&store, &reserved.placed.location, 4_097).unwrap();
    assert_eq!(allocated(&reserved.writer), 8_192, "the tail is given back");
}

#[test]
fn fault_14_a_refused_commit_keeps_its_reservation() {
    let (_keeper, store) = fresh(ram_options(PLENTY));
    let reserved = reserve(&store, 1 << 20);
    let mapping = fds::Mapping::writable(&reserved.writer, 1 << 20).unwrap();
    let error = seal(&store, &reserved.placed.location, 4_096).unwrap_err();
    assert_eq!(error.reason(), Reason::WriterMapped);
    assert_eq!(rustix::fs::fstat(&reserved.writer).unwrap().st_blocks * 512, 1 << 20);
    drop(mapping);
}

#[test]
fn fault_14_slabs_are_really_there() {
    let (_keeper, store) = fresh(ram_options(8 << 20));
    let placed = store.store(&Namespace::default(), b"bytes").unwrap();
    let slab = store.open(&placed.location).unwrap();
    assert_eq!(rustix::fs::fstat(slab).unwrap().st_blocks * 512, 1 << 20);
}

#[test]
fn fault_14_the_rest_of_the_machine_keeps_its_memory() {
    let (keeper, store) = fresh(RamOptions {
        memory_reserve: 1 << 60,
        ..ram_options(PLENTY)
    });
    let errors = [
        store.reserve(&Namespace::default(), 100_000, None).unwrap_err(),
        store.store(&Namespace::default(), b"bytes").unwrap_err(),
        store.store(&Namespace::default(), &bytes(1, 3_000_000)).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.reason(), Reason::MemoryShort);
    }
    assert_eq!((store.usage().used, keeper.len()), (0, 0));
}

#[test]
fn fault_26_the_number_of_segments_is_limited() {
    let (keeper, store) = fresh(RamOptions {
        segments_max: 3,
        ..ram_options(PLENTY)
    });
    let placed = put_whole(&store, &bytes(1, 100_000));
    store.store(&Namespace::default(), b"two").unwrap();
    put_whole(&store, &bytes(3, 100_000));
    for _ in 0..10 {
        let error = store.reserve(&Namespace::default(), 100_000, None).unwrap_err();
        assert_eq!(error.reason(), Reason::SegmentsExhausted);
        let error = store.store(&"other".parse().unwrap(), b"bytes").unwrap_err();
        assert_eq!(error.reason(), Reason::SegmentsExhausted);
    }
    store.store(&Namespace::default(), b"a slab takes more").unwrap();
    store.remove(&placed.location, placed.charged).unwrap();
    store.reserve(&Namespace::default(), 100_000, None).unwrap();
    assert_eq!((store.usage().containers, keeper.len()), (3, 3));
}

#[test]
fn slabs_grow_with_their_namespace() {
    let (_keeper, store) = fresh(ram_options(PLENTY));
    let bytes = bytes(1, 64 << 10);
    let mut slabs: Vec<Container> = Vec::new();
    let mut sizes = Vec::new();
    for _ in 0..(23 << 20) / bytes.len() {
        let location = store.store(&Namespace::default(), &bytes).unwrap().location;
        assert!(matches!(location, Location::Slab { .. }));
        if slabs.last() != Some(&location.container()) {
            slabs.push(location.container());
            sizes.push(rustix::fs::fstat(store.open(&location).unwrap()).unwrap().st_size >> 20);
        }
    }
    assert_eq!(sizes, [1, 2, 4, 8, 8]);
}
