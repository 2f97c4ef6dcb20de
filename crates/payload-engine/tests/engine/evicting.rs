//! RAM that is too small: what goes, what stays, who waits, and what is true if the server dies meanwhile.

use std::sync::Arc;

use payload_core::tiering::Watermarks;
use payload_core::{Durability, EventKind, Payload, PayloadId, Reason, Span, Tier};
use payload_engine::Holder;
use payload_testkit::faulty::Moment;

use crate::common::calls::{allocate_request, delete_request, fill, put_request};
use crate::common::{Rig, Setup, alice, bytes, refusal, secs, wait_until};

const MIB: u64 = 1 << 20;

/// RAM for ten payloads of a mebibyte: the ninth brings it to the high watermark, the tenth above.
fn small_ram() -> Setup {
    Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
}

/// Payloads of a mebibyte, each in a segment of its own.
fn put_many(rig: &Rig, holder: &Arc<Holder>, seeds: std::ops::Range<u64>) -> Vec<PayloadId> {
    seeds.map(|seed| rig.put_large(holder, MIB, seed).id).collect()
}

fn tiers(rig: &Rig, id: PayloadId) -> Vec<Tier> {
    let row = rig.repository().get(id).unwrap().unwrap();
    let mut tiers: Vec<Tier> = row.replicas.iter().map(payload_core::Replica::tier).collect();
    tiers.sort_unstable();
    tiers
}

fn in_ram(rig: &Rig, ids: &[PayloadId]) -> Vec<u64> {
    let here = |(_, id): &(u64, &PayloadId)| tiers(rig, **id).contains(&Tier::Ram);
    (0..).zip(ids).filter(here).map(|(at, _)| at).collect()
}

#[test]
fn above_the_high_watermark_the_oldest_are_spilled_down_to_the_low_one() {
    let rig = small_ram().start();
    let session = rig.session();
    let mut ids = put_many(&rig, &session, 0..9);
    rig.evict();
    assert_eq!(in_ram(&rig, &ids).len(), 9, "at the watermark nothing goes");
    ids.extend(put_many(&rig, &session, 9..10));
    rig.evict();
    assert_eq!(in_ram(&rig, &ids), [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(
        rig.kinds(ids[0])[2..],
        [EventKind::ReplicaAdded, EventKind::ReplicaDropped]
    );
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(rig.content(&session, *id), bytes(seed, MIB), "readable wherever it is");
    }
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn ten_times_more_than_fits_is_written_and_read_back() {
    let rig = Setup {
        ram: 4 * MIB,
        ..Setup::default()
    }
    .start();
    let session = rig.session();
    // Of every size: packed, and in segments of their own.
    let sizes = [0, 100, 50_000, 65_536, 100_000, 300_000];
    let ids: Vec<(PayloadId, Vec<u8>)> = (0..400)
        .map(|seed| {
            let content = bytes(seed, sizes[seed as usize % sizes.len()]);
            let id = match content.len() {
                0..=65_536 => {
                    let request = put_request(&content, Tier::Ram, Durability::Volatile);
                    rig.put(&session, &request).unwrap().id
                }
                _ => rig.put_large(&session, content.len() as u64, seed).id,
            };
            rig.evict();
            (id, content)
        })
        .collect();
    for (id, content) in &ids {
        assert_eq!(rig.content(&session, *id), *content);
    }
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
    for (id, _) in ids {
        rig.remove(id).unwrap();
    }
    rig.quiesce();
    rig.check_at_rest();
    let stats = rig.stats().unwrap();
    assert!(
        stats.tiers.iter().all(|tier| tier.usage.used == tier.usage.pool),
        "{stats:?}"
    );
}

#[test]
fn a_lease_keeps_its_replica_and_the_evictor_takes_the_next() {
    let rig = small_ram().start();
    let session = rig.session();
    let ids = put_many(&rig, &session, 0..10);
    let held = rig.lease(&session, ids[0]).unwrap();
    rig.evict();
    assert_eq!(in_ram(&rig, &ids), [0, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(rig.read(&held), bytes(0, MIB));

    // Once it is let go it is a candidate like any other.
    rig.release(&session, held.lease).unwrap();
    // Memory that somebody still has open stays charged.
    drop(held);
    let more = put_many(&rig, &session, 10..12);
    assert_eq!(more.len(), 2);
    rig.evict();
    for seed in 12..30 {
        rig.put_large(&session, MIB, seed);
        rig.evict();
    }
    assert_eq!(tiers(&rig, ids[0]), [Tier::Disk]);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn readers_that_keep_what_was_evicted_do_not_cost_the_others_their_place() {
    let rig = small_ram().start();
    let session = rig.session();
    let ids = put_many(&rig, &session, 0..10);
    let kept: Vec<_> = ids
        .iter()
        .map(|id| {
            let grant = rig.lease(&session, *id).unwrap();
            rig.release(&session, grant.lease).unwrap();
            grant
        })
        .collect();
    rig.evict();
    assert_eq!(in_ram(&rig, &ids).len(), 8);
    for (seed, grant) in (0..).zip(&kept) {
        assert_eq!(rig.read(grant), bytes(seed, MIB));
    }
    assert!(
        rig.store(Tier::Ram).usage().zombie > 0,
        "memory that is still open stays charged"
    );
}

#[test]
fn everything_held_stops_eviction_but_nothing_else_and_a_release_starts_it_again() {
    let rig = small_ram().start();
    let session = rig.session();
    let ids = put_many(&rig, &session, 0..10);
    let leases: Vec<_> = ids.iter().map(|id| rig.lease(&session, *id).unwrap()).collect();
    rig.evict();
    assert_eq!(in_ram(&rig, &ids).len(), 10);
    rig.release(&session, leases[4].lease).unwrap();
    rig.release(&session, leases[7].lease).unwrap();
    rig.evict();
    assert_eq!(in_ram(&rig, &ids), [0, 1, 2, 3, 5, 6, 8, 9]);
}

#[test]
fn what_is_read_stays_longer_than_what_is_not() {
    let rig = small_ram().start();
    let session = rig.session();
    let ids = put_many(&rig, &session, 0..9);
    for _ in 0..3 {
        rig.content(&session, ids[0]);
        rig.content(&session, ids[3]);
    }
    for seed in 9..20 {
        rig.put_large(&session, MIB, seed);
        rig.evict();
    }
    assert_eq!(in_ram(&rig, &ids), [0, 3]);
}

#[test]
fn what_has_a_copy_is_dropped_without_another() {
    let rig = small_ram().start();
    let session = rig.session();
    let request = allocate_request(MIB, Tier::Ram, Durability::Host);
    let ids: Vec<PayloadId> = (0..10)
        .map(|seed| {
            let filled = fill(rig.allocate(&session, &request).unwrap(), seed);
            rig.commit(&session, &filled.commit_request()).unwrap().id
        })
        .collect();
    let copies = rig.switch.calls("tier.copy_in");
    rig.evict();
    assert_eq!(in_ram(&rig, &ids).len(), 8);
    assert_eq!(rig.switch.calls("tier.copy_in"), copies);
    assert_eq!(rig.kinds(ids[0])[2..], [EventKind::ReplicaDropped]);
}

#[test]
fn nothing_is_evicted_that_an_earlier_session_may_come_back_for() {
    let mut rig = small_ram().start();
    let session = rig.session();
    let ids = put_many(&rig, &session, 0..10);
    rig.restart();
    rig.evict();
    assert_eq!(in_ram(&rig, &ids).len(), 10);
    rig.advance(secs(10));
    rig.evict();
    assert_eq!(in_ram(&rig, &ids).len(), 8);
}

#[test]
fn a_request_waits_for_the_room_that_the_evictor_makes() {
    let rig = small_ram().with(|settings| settings.room_wait = secs(5)).start();
    let session = rig.session();
    let ids = put_many(&rig, &session, 0..10);
    let leases: Vec<_> = ids.iter().map(|id| rig.lease(&session, *id).unwrap()).collect();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.put_large(&session, 3 * MIB, 99));
        wait_until(|| rig.stats().unwrap().room_waiting == 1);
        rig.evict();
        assert!(!waiting.is_finished(), "everything is held");
        leases
            .into_iter()
            .for_each(|lease| rig.release(&session, lease.lease).unwrap());
        wait_until(|| {
            rig.evict();
            waiting.is_finished()
        });
        let row = waiting.join().unwrap();
        assert_eq!(rig.content(&session, row.id), bytes(99, 3 * MIB));
    });
    // The tier held ten; with the newcomer's three it is down to its low watermark.
    assert_eq!(in_ram(&rig, &ids).len(), 5);
}

#[test]
fn fault_14_a_wait_for_room_ends_when_its_time_does_or_a_deletion_makes_some() {
    let rig = small_ram().with(|settings| settings.room_wait = secs(5)).start();
    let session = rig.session();
    let ids = put_many(&rig, &session, 0..10);
    let mut leases: Vec<_> = ids.iter().map(|id| rig.lease(&session, *id).unwrap()).collect();
    let request = allocate_request(MIB, Tier::Ram, Durability::Volatile);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| rig.allocate(&session, &request));
        wait_until(|| rig.stats().unwrap().room_waiting == 1);
        rig.advance(secs(4));
        let second = scope.spawn(|| rig.allocate(&session, &request));
        wait_until(|| rig.stats().unwrap().room_waiting == 2);
        assert!(!first.is_finished());
        rig.advance(secs(1));
        let refused = first.join().unwrap().unwrap_err();
        assert_eq!(refused.reason(), Reason::TierFull);
        assert!(refused.retry_delay().is_some(), "it says when to come again");

        // Whoever has the memory open would keep it from others.
        leases.remove(3);
        let forced = payload_engine::DeleteRequest {
            force: true,
            ..delete_request(ids[3])
        };
        rig.delete(&alice(), &forced).unwrap();
        second.join().unwrap().unwrap();
    });
    assert_eq!(rig.stats().unwrap().room_waiting, 0);
    assert_eq!(in_ram(&rig, &ids).len(), 9);
}

#[test]
fn who_waits_when_the_server_stops_is_sent_away() {
    let rig = small_ram().with(|settings| settings.room_wait = secs(5)).start();
    let session = rig.session();
    let ids = put_many(&rig, &session, 0..10);
    let _leases: Vec<_> = ids.iter().map(|id| rig.lease(&session, *id).unwrap()).collect();
    let request = allocate_request(MIB, Tier::Ram, Durability::Volatile);
    let workers = payload_engine::Workers::start(&rig).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.allocate(&session, &request));
        wait_until(|| rig.stats().unwrap().room_waiting == 1);
        drop(workers);
        assert_eq!(refusal(waiting.join().unwrap()), Reason::ShuttingDown);
    });
}

#[test]
fn fault_13_a_full_disk_leaves_what_is_in_ram_there_and_is_tried_again() {
    let rig = Setup {
        disk: 2 * MIB,
        ..small_ram()
    }
    .start();
    let session = rig.session();
    let request = allocate_request(2 * MIB, Tier::Disk, Durability::Host);
    let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
    let on_disk = rig.commit(&session, &filled.commit_request()).unwrap().id;
    let ids = put_many(&rig, &session, 0..10);
    let pauses: Vec<Span> = (0..20).map(|_| rig.make_room(Tier::Ram).unwrap().unwrap()).collect();
    assert!(pauses.is_sorted() && pauses[19] > pauses[0], "{pauses:?}");
    assert_eq!(in_ram(&rig, &ids).len(), 10);
    let request = allocate_request(MIB, Tier::Ram, Durability::Volatile);
    assert_eq!(refusal(rig.allocate(&session, &request)), Reason::TierFull);
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(rig.content(&session, *id), bytes(seed, MIB));
    }
    rig.remove(on_disk).unwrap();
    rig.evict();
    assert_eq!(in_ram(&rig, &ids).len(), 8);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_copy_that_fails_is_made_again() {
    let rig = small_ram().start();
    let session = rig.session();
    let ids = put_many(&rig, &session, 0..10);
    rig.switch.fail_next("tier.copy_in", Moment::Before);
    rig.switch.fail_next("tier.copy_in", Moment::Before);
    rig.make_room(Tier::Ram).unwrap().expect("both copies failed");
    assert_eq!(in_ram(&rig, &ids).len(), 10);
    rig.evict();
    assert_eq!(in_ram(&rig, &ids).len(), 8);
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(rig.content(&session, *id), bytes(seed, MIB));
    }
}

#[test]
fn a_deletion_during_the_copy_wins_and_leaves_nothing() {
    let rig = small_ram().start();
    let session = rig.session();
    let ids = put_many(&rig, &session, 0..10);
    std::thread::scope(|scope| {
        let evicting = scope.spawn(|| rig.make_room(Tier::Ram));
        for id in &ids {
            rig.remove(*id).unwrap();
        }
        evicting.join().unwrap().unwrap();
    });
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
    let stats = rig.stats().unwrap();
    assert!(
        stats.tiers.iter().all(|tier| tier.usage.used == tier.usage.pool),
        "{stats:?}"
    );
}

#[test]
fn fault_03_kill_at_every_step_of_spill() {
    // Three payloads in segments of their own, and slabs of packed ones, whose steps are the same and more.
    for (size, ram, moment) in [
        (100_000, 310_000, Moment::Before),
        (100_000, 310_000, Moment::After),
        (60_000, MIB, Moment::After),
    ] {
        let steps = (0..100)
            .find(|number| !killed_in_spill(size, ram, *number, moment))
            .expect("the eviction does not end");
        assert!(steps > 8, "only {steps} steps");
    }
}

/// Evicts about half of RAM and dies at one call to the outside; false if there are not so many.
fn killed_in_spill(size: u64, ram: u64, number: u64, moment: Moment) -> bool {
    let setup = Setup {
        ram,
        ..Setup::default()
    };
    let mut rig = setup
        .with(|settings| {
            settings.movers = 1;
            settings.watermarks.ram = Watermarks::new(55, 70).unwrap();
        })
        .start();
    let session = rig.session();
    let rows = fill_up(&rig, &session, size);
    rig.switch.kill_at(number, moment);
    let _killed = rig.make_room(Tier::Ram);
    let killed = rig.switch.is_dead();
    rig.restart();
    // Whenever the kill came, every byte must be there, in at least one tier.
    let session = rig.session();
    for (seed, row) in (0..).zip(&rows) {
        assert_eq!(
            rig.content(&session, row.id),
            bytes(seed, size),
            "kill {number} {moment:?}"
        );
    }
    rig.close_session(&session);
    rig.quiesce();
    rig.evict();
    rig.check_at_rest();
    killed
}

/// Payloads of a size until RAM takes no more.
fn fill_up(rig: &Rig, holder: &Arc<Holder>, size: u64) -> Vec<Arc<Payload>> {
    let put = |seed| match size {
        ..=65_536 => rig.put(
            holder,
            &put_request(&bytes(seed, size), Tier::Ram, Durability::Volatile),
        ),
        _ => {
            let request = allocate_request(size, Tier::Ram, Durability::Volatile);
            let filled = fill(rig.allocate(holder, &request)?, seed);
            rig.commit(holder, &filled.commit_request())
        }
    };
    (0..).map_while(|seed| put(seed).ok()).collect()
}
