//! The object tier: what goes into the bucket, how it comes back, and what is true if something goes wrong on the way.

use std::sync::Arc;

use payload_core::port::ObjectStore;
use payload_core::{
    Durability, ErrorKind, Namespace, Payload, PayloadId, Reason, Replica, Span, SpillTarget, StateKind, Tier,
};
use payload_engine::{AcquireOptions, Holder, Impairment};
use payload_testkit::faulty::Moment;

use crate::common::calls::{allocate_request, fill, put_request};
use crate::common::{Rig, Setup, bytes};

const MIB: u64 = 1 << 20;

fn default() -> Namespace {
    Namespace::default()
}

fn tiers(row: &Payload) -> Vec<Tier> {
    let mut tiers: Vec<Tier> = row.replicas.iter().map(Replica::tier).collect();
    tiers.sort_unstable();
    tiers
}

fn tiers_of(rig: &Rig, id: PayloadId) -> Vec<Tier> {
    tiers(&rig.repository().get(id).unwrap().unwrap())
}

/// A payload of a mebibyte that is in the bucket alone.
fn spilled(rig: &Rig, session: &Arc<Holder>, seed: u64) -> PayloadId {
    let id = rig.put_large(session, MIB, seed).id;
    let row = rig.spill(&default(), id, Tier::Object).unwrap();
    assert_eq!(tiers(&row), [Tier::Object]);
    id
}

fn on_disk(rig: &Rig, session: &Arc<Holder>, seed: u64) -> PayloadId {
    let request = allocate_request(MIB, Tier::Disk, Durability::Host);
    let filled = fill(rig.allocate(session, &request).unwrap(), seed);
    rig.commit(session, &filled.commit_request()).unwrap().id
}

/// Disk for ten payloads of a mebibyte.
fn small_disk() -> Setup {
    Setup {
        disk: 10 * MIB,
        ..Setup::with_bucket()
    }
}

#[track_caller]
fn come_to_rest(rig: &Rig, session: &Arc<Holder>) {
    rig.close_session(session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_payload_goes_down_to_the_bucket_and_comes_back_when_it_is_read() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    for (seed, size) in [(1, 0), (2, 1_000), (3, MIB), (4, 3 * MIB + 77)] {
        let request = allocate_request(size, Tier::Ram, Durability::Volatile);
        let filled = fill(rig.allocate(&session, &request).unwrap(), seed);
        let id = rig.commit(&session, &filled.commit_request()).unwrap().id;
        let (puts, reads) = (rig.switch.calls("bucket.put"), rig.switch.calls("bucket.read"));
        assert_eq!(tiers(&rig.spill(&default(), id, Tier::Object).unwrap()), [Tier::Object]);
        assert_eq!(rig.content(&session, id), filled.content);
        assert_eq!(tiers_of(&rig, id), [Tier::Ram, Tier::Object], "the one below stays");
        assert_eq!(rig.switch.calls("bucket.put"), puts + 1);
        assert_eq!(rig.switch.calls("bucket.read"), reads + u64::from(size > 0));
    }
    assert_eq!(rig.switch.calls("bucket.stat") + rig.switch.calls("bucket.list"), 0);
    come_to_rest(&rig, &session);
}

#[test]
fn what_is_held_stays_until_it_is_released_and_new_leases_are_below() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    let held = rig.lease(&session, id).unwrap();
    rig.spill(&default(), id, Tier::Object).unwrap();
    assert_eq!(tiers_of(&rig, id), [Tier::Ram, Tier::Object]);
    assert_eq!(rig.read(&held), bytes(1, MIB));
    rig.release(&session, held.lease).unwrap();
    rig.run_drains();
    assert_eq!(tiers_of(&rig, id), [Tier::Object]);
    come_to_rest(&rig, &session);
}

#[test]
fn a_file_goes_when_the_host_cannot_forget_any_more_that_its_row_does_without() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    let synced = || rig.switch.calls("repository.commit synced");
    let before = synced();
    rig.spill(&default(), id, Tier::Disk).unwrap();
    assert_eq!(synced(), before, "memory and row end together");
    rig.spill(&default(), id, Tier::Object).unwrap();
    assert_eq!(tiers_of(&rig, id), [Tier::Object]);
    assert!(
        synced() > before,
        "a file outlives the host, and so must the row that knows better"
    );
    come_to_rest(&rig, &session);
}

#[test]
fn durability_object_is_acknowledged_when_the_bucket_has_it_and_survives_the_host() {
    let mut rig = Setup::with_bucket().start();
    let session = rig.session();
    let request = allocate_request(MIB, Tier::Ram, Durability::Object);
    let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
    let id = rig.commit(&session, &filled.commit_request()).unwrap().id;
    let small = rig.put(&session, &put_request(&bytes(2, 100), Tier::Ram, Durability::Object));
    let small = small.unwrap().id;
    assert_eq!(
        tiers_of(&rig, id),
        [Tier::Ram, Tier::Object],
        "readable in RAM all the while"
    );
    rig.reboot();
    let session = rig.session();
    assert_eq!(tiers_of(&rig, id), [Tier::Object]);
    assert_eq!(rig.content(&session, id), filled.content);
    assert_eq!(rig.content(&session, small), bytes(2, 100));
    come_to_rest(&rig, &session);
}

#[test]
fn a_writer_with_durability_object_is_told_when_the_bucket_does_not_answer() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    let request = allocate_request(MIB, Tier::Ram, Durability::Object);
    let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
    rig.bucket.go_down();
    for _ in 0..5 {
        let error = rig.commit(&session, &filled.commit_request()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let error = rig.commit(&session, &filled.commit_request()).unwrap_err();
    assert!(error.retry_delay().is_some());
    assert_eq!(rig.switch.calls("bucket.put"), 3, "a bucket that is down is left alone");
    rig.bucket.come_back();
    rig.advance(Span::from_secs(1));
    let id = rig.commit(&session, &filled.commit_request()).unwrap().id;
    assert_eq!(tiers_of(&rig, id), [Tier::Ram, Tier::Object]);
    come_to_rest(&rig, &session);
}

#[test]
fn a_full_disk_is_emptied_into_the_bucket() {
    let rig = small_disk().start();
    let session = rig.session();
    let ids: Vec<_> = (0..10).map(|seed| on_disk(&rig, &session, seed)).collect();
    rig.evict_from(Tier::Disk);
    let gone = ids.iter().filter(|id| tiers_of(&rig, **id) == [Tier::Object]).count();
    assert_eq!(gone, 2, "down to the low watermark");
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(rig.content(&session, *id), bytes(seed, MIB));
    }
    come_to_rest(&rig, &session);
}

#[test]
fn a_disk_below_its_mark_makes_room_for_what_memory_cannot_keep() {
    let rig = Setup {
        ram: 10 * MIB,
        ..small_disk()
    };
    let rig = rig.start();
    let session = rig.session();
    let below: Vec<PayloadId> = (0..8).map(|seed| on_disk(&rig, &session, seed)).collect();
    let above: Vec<PayloadId> = (10..13).map(|seed| rig.put_large(&session, 3 * MIB, seed).id).collect();
    rig.put_large(&session, MIB / 2, 13);
    assert_eq!(rig.missing(Tier::Disk), 0);
    assert!(rig.missing(Tier::Ram) > 0);
    assert!(rig.make_room(Tier::Ram).unwrap().is_some(), "there is no room below");
    rig.evict_from(Tier::Disk);
    assert!(below.iter().any(|id| tiers_of(&rig, *id) == [Tier::Object]));
    rig.evict();
    assert!(above.iter().any(|id| tiers_of(&rig, *id) == [Tier::Disk]));
    assert_eq!(rig.missing(Tier::Ram), 0);
    come_to_rest(&rig, &session);
}

#[test]
fn small_payloads_share_objects_and_an_object_goes_with_the_last_of_them() {
    let rig = Setup {
        ram: 2 * MIB,
        ..Setup::with_bucket()
    };
    let rig = rig.start();
    let session = rig.session();
    let put = |seed| {
        let mut request = put_request(&bytes(seed, 10_000), Tier::Ram, Durability::Volatile);
        request.policy.spill_to = SpillTarget::Object;
        rig.put(&session, &request).unwrap().id
    };
    let mut ids = Vec::new();
    while rig.missing(Tier::Ram) == 0 {
        ids.push(put(ids.len() as u64));
    }
    rig.evict();
    let gone: Vec<_> = ids.iter().filter(|id| tiers_of(&rig, **id) == [Tier::Object]).collect();
    assert!(gone.len() > 10, "{} of {} have gone", gone.len(), ids.len());
    let puts = rig.switch.calls("bucket.put") as usize;
    assert!(puts * 5 <= gone.len(), "{puts} requests for {} payloads", gone.len());
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(rig.content(&session, *id), bytes(seed, 10_000));
    }
    rig.check_invariants();
    let objects = rig.bucket.keys().len();
    for id in &ids[1..] {
        rig.remove(*id).unwrap();
    }
    rig.quiesce();
    assert!(rig.bucket.keys().len() <= objects);
    rig.remove(ids[0]).unwrap();
    rig.quiesce();
    assert_eq!(rig.bucket.keys(), []);
    come_to_rest(&rig, &session);
}

/// They went down together, and one request brings them back together; whoever is wrong, or has no room, stays alone with it.
#[test]
fn small_payloads_of_one_object_come_back_with_one_request() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..40).map(|seed| rig.put_small(&session, seed).id).collect();
    let contents: Vec<_> = ids.iter().map(|id| rig.content(&session, *id)).collect();
    for moved in rig.spill_all(&default(), &ids, Tier::Object) {
        assert_eq!(tiers(&moved.unwrap()), [Tier::Object]);
    }
    rig.remove(ids[7]).unwrap();
    let reads = rig.switch.calls("bucket.read");
    let moved = rig.promote_all(&default(), &ids, Tier::Ram);
    for (at, row) in moved.into_iter().enumerate() {
        match at {
            7 => assert_eq!(row.unwrap_err().reason(), Reason::PayloadDeleted),
            _ => assert_eq!(tiers(&row.unwrap()), [Tier::Ram, Tier::Object]),
        }
    }
    assert_eq!(rig.switch.calls("bucket.read"), reads + 1);
    for (at, id) in ids.iter().enumerate().filter(|(at, _)| *at != 7) {
        assert_eq!(rig.content(&session, *id), contents[at]);
    }
    assert_eq!(rig.switch.calls("bucket.read"), reads + 1);
    come_to_rest(&rig, &session);
}

/// A promotion of many to disk moves nothing down that is above, and each waits for room by itself.
#[test]
fn what_is_in_memory_stays_there_when_many_are_promoted_to_disk() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..6).map(|seed| rig.put_small(&session, seed).id).collect();
    for moved in rig.spill_all(&default(), &ids[3..], Tier::Object) {
        moved.unwrap();
    }
    let moved = rig.promote_all(&default(), &ids, Tier::Disk);
    for (at, row) in moved.into_iter().enumerate() {
        let expected: &[Tier] = if at < 3 {
            &[Tier::Ram]
        } else {
            &[Tier::Disk, Tier::Object]
        };
        assert_eq!(tiers(&row.unwrap()), expected, "{at}");
    }
    come_to_rest(&rig, &session);
}

#[test]
fn of_those_that_come_back_together_the_damaged_one_is_lost_alone() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..10).map(|seed| rig.put_small(&session, seed).id).collect();
    rig.spill_all(&default(), &ids, Tier::Object)
        .into_iter()
        .for_each(|moved| drop(moved.unwrap()));
    let [object] = &rig.bucket.keys()[..] else {
        panic!("one object")
    };
    let row = rig.repository().get(ids[3]).unwrap().unwrap();
    let mut bytes = Vec::new();
    let size = rig.bucket.stat(object).unwrap().unwrap().size;
    rig.bucket
        .read(object, 0..size, &mut |at, piece| {
            bytes.resize(bytes.len().max(at as usize + piece.len()), 0);
            bytes[at as usize..at as usize + piece.len()].copy_from_slice(piece);
            Ok(())
        })
        .unwrap();
    bytes[row.replicas[0].location.offset() as usize] ^= 1;
    rig.bucket.tamper(object, Some(bytes));
    let moved = rig.promote_all(&default(), &ids, Tier::Ram);
    for (at, row) in moved.into_iter().enumerate() {
        assert_eq!(row.is_ok(), at != 3, "{at}: {row:?}");
    }
    assert_eq!(rig.state(ids[3]), StateKind::Lost);
    come_to_rest(&rig, &session);
}

#[test]
fn what_was_put_on_disk_before_a_restart_is_found_when_room_is_short() {
    let mut rig = small_disk().start();
    let session = rig.session();
    let ids: Vec<_> = (0..10).map(|seed| on_disk(&rig, &session, seed)).collect();
    rig.restart();
    rig.quiesce();
    rig.evict_from(Tier::Disk);
    let gone = ids.iter().filter(|id| tiers_of(&rig, **id) == [Tier::Object]).count();
    assert_eq!(gone, 2, "down to the low watermark");
    let session = rig.session();
    come_to_rest(&rig, &session);
}

#[test]
fn without_a_bucket_a_full_disk_refuses_and_keeps_what_it_has() {
    let rig = Setup {
        object: None,
        ..small_disk()
    };
    let rig = rig.with(|settings| settings.room_wait = Span::from_secs(10)).start();
    let session = rig.session();
    let ids: Vec<_> = (0..10).map(|seed| on_disk(&rig, &session, seed)).collect();
    rig.evict_from(Tier::Disk);
    let request = allocate_request(MIB, Tier::Disk, Durability::Host);
    let refused = rig.allocate(&session, &request).unwrap_err();
    assert_eq!(
        refused.reason(),
        Reason::TierFull,
        "at once: waiting would bring nothing"
    );
    let stays = ids.iter().all(|id| tiers_of(&rig, *id) == [Tier::Disk]);
    assert!(stays);
    let error = rig.spill(&default(), ids[0], Tier::Object).unwrap_err();
    assert_eq!(error.reason(), Reason::TierNotConfigured);
}

#[test]
fn a_bucket_that_is_down_for_a_minute_harms_nobody_and_loses_nothing() {
    let rig = Setup {
        ram: 10 * MIB,
        disk: 40 * MIB,
        ..Setup::with_bucket()
    };
    let rig = rig.start();
    let session = rig.session();
    rig.bucket.go_down();
    let mut ids = Vec::new();
    for round in 0..30 {
        ids.push(rig.put_large(&session, MIB, round).id);
        rig.evict();
        let _paused = rig.make_room(Tier::Disk).unwrap();
        rig.advance(Span::from_secs(2));
    }
    let stats = rig.stats().unwrap();
    let object = stats.tiers.iter().find(|tier| tier.tier == Tier::Object).unwrap();
    assert_eq!(
        (object.usage.unavailable, object.replicas),
        (false, 0),
        "nobody has had to ask"
    );
    ids.extend((30..47).map(|seed| {
        let id = rig.put_large(&session, MIB, seed).id;
        rig.evict();
        let _paused = rig.make_room(Tier::Disk).unwrap();
        id
    }));
    assert_eq!(rig.degraded(), [(Tier::Object, Impairment::Silent)]);
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(rig.content(&session, *id), bytes(seed, MIB), "readable all the while");
    }
    rig.bucket.come_back();
    rig.advance(Span::from_secs(60));
    rig.evict();
    rig.evict_from(Tier::Disk);
    assert_eq!(rig.degraded(), []);
    let in_bucket = ids
        .iter()
        .filter(|id| tiers_of(&rig, **id).contains(&Tier::Object))
        .count();
    assert!(in_bucket > 0, "what could not go down has gone now");
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(rig.content(&session, *id), bytes(seed, MIB));
    }
    come_to_rest(&rig, &session);
}

#[test]
fn fault_45_a_thousand_readers_of_what_is_in_the_bucket_make_one_request() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    let reads = rig.switch.calls("bucket.read");
    std::thread::scope(|scope| {
        for _ in 0..1_000 {
            scope.spawn(|| {
                let grant = rig
                    .acquire(&session, &default(), id, AcquireOptions::default())
                    .unwrap();
                assert_eq!(rig.read(&grant), bytes(1, MIB));
                rig.release(&session, grant.lease).unwrap();
            });
        }
    });
    assert_eq!(rig.switch.calls("bucket.read"), reads + 1);
    come_to_rest(&rig, &session);
}

#[test]
fn fault_36_an_upload_whose_answer_was_lost_is_removed_and_made_again() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    rig.switch.fail_next("bucket.put", Moment::After);
    rig.spill(&default(), id, Tier::Object).unwrap_err();
    assert_eq!((tiers_of(&rig, id), rig.bucket.keys().len()), (vec![Tier::Ram], 1));
    rig.quiesce();
    assert_eq!(rig.bucket.keys(), [], "no row names it");
    rig.spill(&default(), id, Tier::Object).unwrap();
    assert_eq!(rig.content(&session, id), bytes(1, MIB));
    come_to_rest(&rig, &session);
}

#[test]
fn fault_39_an_object_that_vanished_or_changed_is_never_read_as_the_payload() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    for tampered in [None, Some(bytes(9, MIB)), Some(bytes(1, 1_000))] {
        let lost = spilled(&rig, &session, 1);
        let kept = rig.put_large(&session, MIB, 2).id;
        for key in rig.bucket.keys() {
            rig.bucket.tamper(&key, tampered.clone());
        }
        let error = rig.lease(&session, lost).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::DataLoss | ErrorKind::Aborted),
            "{error}"
        );
        assert_eq!(rig.state(lost), StateKind::Lost);
        assert_eq!(rig.content(&session, kept), bytes(2, MIB));
    }
    come_to_rest(&rig, &session);
    assert_eq!(rig.bucket.list(None, 10).unwrap(), []);
}

/// Kills at every call to the outside that `operation` makes; `check` says what must be true of the payload afterwards.
fn each_kill(prepare: impl Fn(&Rig, &Arc<Holder>) -> PayloadId, operation: impl Fn(&Rig, PayloadId) -> bool) -> u64 {
    let mut kills = 0;
    for moment in [Moment::Before, Moment::After] {
        for number in 0..60 {
            let mut rig = Setup::with_bucket().start();
            let session = rig.session();
            let id = prepare(&rig, &session);
            rig.switch.kill_at(number, moment);
            let done = operation(&rig, id);
            let killed = rig.switch.is_dead();
            assert!(done || killed);
            rig.restart();
            let session = rig.session();
            assert!(!tiers_of(&rig, id).is_empty(), "never without a replica");
            assert_eq!(rig.content(&session, id), bytes(1, MIB));
            come_to_rest(&rig, &session);
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    kills
}

#[test]
fn fault_03_kill_at_every_step_of_a_spill_to_the_bucket() {
    let spill = |rig: &Rig, id| {
        let spilled = rig.spill(&default(), id, Tier::Object).is_ok();
        let swept = rig.sweep().is_ok();
        spilled && (swept || rig.switch.is_dead())
    };
    assert!(each_kill(|rig, session| rig.put_large(session, MIB, 1).id, spill) >= 8);
    assert!(each_kill(|rig, session| on_disk(rig, session, 1), spill) >= 8);
}

#[test]
fn fault_04_kill_at_every_step_of_a_promotion_from_the_bucket() {
    for to in [Tier::Ram, Tier::Disk] {
        let promote = |rig: &Rig, id| rig.promote(&default(), id, to).is_ok();
        assert!(each_kill(|rig, session| spilled(rig, session, 1), promote) >= 4);
    }
}
