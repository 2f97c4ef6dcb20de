//! Payloads that come up again: when asked for, when waited for, when hot; and that go down because somebody says so.

use std::sync::Arc;

use payload_core::{Durability, EventKind, Namespace, Payload, PayloadId, Reason, StateKind, Tier};
use payload_engine::{AcquireOptions, Grant, Holder, MinTier, Otherwise};
use payload_testkit::faulty::Moment;

use crate::common::calls::{allocate_request, fill};
use crate::common::{Rig, Setup, bytes, refusal, secs};

const MIB: u64 = 1 << 20;

fn default() -> Namespace {
    Namespace::default()
}

/// A payload that is on disk alone.
fn spilled(rig: &Rig, holder: &Arc<Holder>, seed: u64) -> PayloadId {
    let id = rig.put_large(holder, MIB, seed).id;
    let row = rig.spill(&default(), id, Tier::Disk).unwrap();
    assert_eq!(tiers(&row), [Tier::Disk]);
    id
}

fn tiers(row: &Payload) -> Vec<Tier> {
    let mut tiers: Vec<Tier> = row.replicas.iter().map(payload_core::Replica::tier).collect();
    tiers.sort_unstable();
    tiers
}

fn tiers_now(rig: &Rig, id: PayloadId) -> Vec<Tier> {
    tiers(&rig.repository().get(id).unwrap().unwrap())
}

fn lease_from(rig: &Rig, holder: &Arc<Holder>, id: PayloadId, otherwise: Otherwise) -> Grant {
    let options = AcquireOptions {
        min_tier: Some(MinTier {
            tier: Tier::Ram,
            otherwise,
        }),
        ..AcquireOptions::default()
    };
    rig.acquire(holder, &default(), id, options).unwrap()
}

#[test]
fn a_promotion_adds_a_replica_and_keeps_the_one_below() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    let below = rig.lease(&session, id).unwrap();
    let row = rig.promote(&default(), id, Tier::Ram).unwrap();
    assert_eq!(tiers(&row), [Tier::Ram, Tier::Disk]);
    let above = rig.lease(&session, id).unwrap();
    assert_eq!(
        (below.replica().tier(), above.replica().tier()),
        (Tier::Disk, Tier::Ram)
    );
    assert_eq!((rig.read(&below), rig.read(&above)), (bytes(1, MIB), bytes(1, MIB)));

    // Once more is nothing more.
    let copies = rig.switch.calls("tier.copy_in");
    assert_eq!(rig.promote(&default(), id, Tier::Ram).unwrap().version, row.version);
    assert_eq!(rig.switch.calls("tier.copy_in"), copies);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_spill_waits_for_the_leases_above_and_new_ones_are_below() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    let above = rig.lease(&session, id).unwrap();
    assert_eq!(
        tiers(&rig.spill(&default(), id, Tier::Disk).unwrap()),
        [Tier::Ram, Tier::Disk]
    );
    let below = rig.lease(&session, id).unwrap();
    assert_eq!(below.replica().tier(), Tier::Disk);
    assert_eq!((rig.read(&below), rig.read(&above)), (bytes(1, MIB), bytes(1, MIB)));
    rig.tick();
    assert_eq!(tiers_now(&rig, id), [Tier::Ram, Tier::Disk]);
    rig.release(&session, above.lease).unwrap();
    rig.tick();
    assert_eq!(tiers_now(&rig, id), [Tier::Disk]);
    assert_eq!(rig.kinds(id)[2..], [EventKind::ReplicaAdded, EventKind::ReplicaDropped]);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_spill_after_a_restart_waits_for_those_who_may_come_back() {
    let mut rig = Setup::default().start();
    let id = {
        let session = rig.session();
        rig.put_large(&session, MIB, 1).id
    };
    rig.restart();
    rig.spill(&default(), id, Tier::Disk).unwrap();
    rig.tick();
    assert_eq!(tiers_now(&rig, id), [Tier::Ram, Tier::Disk]);
    rig.advance(secs(10));
    assert_eq!(tiers_now(&rig, id), [Tier::Disk]);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_promotion_takes_a_spill_back_that_still_waits() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    let held = rig.lease(&session, id).unwrap();
    rig.spill(&default(), id, Tier::Disk).unwrap();
    rig.promote(&default(), id, Tier::Ram).unwrap();
    rig.release(&session, held.lease).unwrap();
    rig.tick();
    assert_eq!(tiers_now(&rig, id), [Tier::Ram, Tier::Disk]);
    assert_eq!(rig.lease(&session, id).unwrap().replica().tier(), Tier::Ram);
}

#[test]
fn directions_that_lead_nowhere_are_refused() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    assert_eq!(refusal(rig.promote(&default(), id, Tier::Disk)), Reason::BadRequest);
    assert_eq!(refusal(rig.prefetch(&default(), id, Tier::Disk)), Reason::BadRequest);
    assert_eq!(refusal(rig.spill(&default(), id, Tier::Ram)), Reason::BadRequest);
    let open = rig.allocate_filled(&session, MIB, 1).row.id;
    let elsewhere: Namespace = "elsewhere".parse().unwrap();
    for (namespace, id, reason) in [
        (default(), open, Reason::PayloadNotCommitted),
        (elsewhere, id, Reason::PayloadNotFound),
    ] {
        assert_eq!(refusal(rig.promote(&namespace, id, Tier::Ram)), reason);
        assert_eq!(refusal(rig.prefetch(&namespace, id, Tier::Ram)), reason);
        assert_eq!(refusal(rig.spill(&namespace, id, Tier::Disk)), reason);
    }
}

#[test]
fn fault_45_many_readers_of_one_cold_payload_make_one_copy() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    let copies = rig.switch.calls("tier.copy_in");
    // The first copy fails: whoever made it hears of that, and the next in line makes another.
    rig.switch.fail_next("tier.copy_in", Moment::Before);
    let options = AcquireOptions {
        min_tier: Some(MinTier {
            tier: Tier::Ram,
            otherwise: Otherwise::Wait,
        }),
        ..AcquireOptions::default()
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| rig.acquire(&session, &default(), id, options)))
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert_eq!(rig.switch.calls("tier.copy_in"), copies + 2);
    let (granted, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((granted.len(), failed.len()), (49, 1));
    for grant in granted {
        let grant = grant.unwrap();
        assert_eq!(grant.replica().tier(), Tier::Ram);
        assert_eq!(rig.read(&grant), bytes(1, MIB));
    }
}

#[test]
fn who_takes_what_there_is_gets_it_now_and_the_next_gets_better() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    let first = lease_from(&rig, &session, id, Otherwise::TakeWhatThereIs);
    assert_eq!(first.replica().tier(), Tier::Disk);
    rig.fetch_wishes();
    let second = lease_from(&rig, &session, id, Otherwise::TakeWhatThereIs);
    assert_eq!(second.replica().tier(), Tier::Ram);
}

#[test]
fn what_is_prefetched_is_there_when_it_is_read() {
    let rig = Setup::default().start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..5).map(|seed| spilled(&rig, &session, seed)).collect();
    for id in &ids {
        let row = rig.prefetch(&default(), *id, Tier::Ram).unwrap();
        assert_eq!(tiers(&row), [Tier::Disk], "nobody waits for it");
    }
    rig.fetch_wishes();
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(tiers_now(&rig, *id), [Tier::Ram, Tier::Disk]);
        assert_eq!(rig.content(&session, *id), bytes(seed, MIB));
    }
}

#[test]
fn what_is_read_again_is_fetched_and_what_is_read_once_is_not() {
    let rig = Setup::default().start();
    let session = rig.session();
    let (once, twice) = (spilled(&rig, &session, 1), spilled(&rig, &session, 2));
    for id in [once, twice, twice] {
        rig.content(&session, id);
    }
    rig.fetch_wishes();
    assert_eq!(tiers_now(&rig, once), [Tier::Disk]);
    assert_eq!(tiers_now(&rig, twice), [Tier::Ram, Tier::Disk]);
}

#[test]
fn what_was_just_fetched_is_not_given_up_before_it_has_settled_in() {
    let rig = Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
    .start();
    let session = rig.session();
    let id = spilled(&rig, &session, 99);
    rig.promote(&default(), id, Tier::Ram).unwrap();
    for seed in 0..20 {
        rig.put_large(&session, MIB, seed);
        rig.evict();
    }
    assert_eq!(tiers_now(&rig, id), [Tier::Ram, Tier::Disk]);
    rig.advance(secs(5));
    let more = allocate_request(MIB, Tier::Ram, Durability::Volatile);
    let held: Vec<_> = std::iter::from_fn(|| rig.allocate(&session, &more).ok()).collect();
    for row in rig.rows() {
        if row.id != id && row.state.kind() == StateKind::Active {
            rig.lease(&session, row.id).unwrap();
        }
    }
    rig.evict();
    assert_eq!(tiers_now(&rig, id), [Tier::Disk], "nothing else may go: {held:?}");
}

#[test]
fn fault_46_reading_a_little_more_than_fits_does_not_thrash() {
    const SIZE: u64 = 100_000;
    let rig = Setup {
        ram: 10 * SIZE.next_multiple_of(4096),
        ..Setup::default()
    }
    .start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..12)
        .map(|seed| {
            let id = rig.put_large(&session, SIZE, seed).id;
            rig.evict();
            id
        })
        .collect();
    // Round and round: everything is as hot as everything else.
    for _round in 0..20 {
        for (seed, id) in (0..).zip(&ids) {
            assert_eq!(rig.content(&session, *id), bytes(seed, SIZE));
            rig.fetch_wishes();
            rig.evict();
        }
    }
    let copies = rig.switch.calls("tier.copy_in");
    assert!(copies <= 2 * 12, "{copies} copies of a working set of 12 payloads");

    // But what is really hotter than the rest comes up, wherever it is.
    let below = *ids.iter().find(|id| tiers_now(&rig, **id) == [Tier::Disk]).unwrap();
    for _ in 0..50 {
        rig.content(&session, below);
    }
    rig.fetch_wishes();
    rig.evict();
    assert_eq!(tiers_now(&rig, below), [Tier::Ram, Tier::Disk]);
}

#[test]
fn fault_10_rotten_bytes_are_never_brought_up() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = spilled(&rig, &session, 1);
    rot(&rig);
    assert_eq!(refusal(rig.promote(&default(), id, Tier::Ram)), Reason::BytesCorrupt);
    assert_eq!(rig.state(id), StateKind::Lost);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

/// Other bytes are where the one file on disk was.
fn rot(rig: &Rig) {
    let mut dirs = vec![rig.disk_dir()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                std::fs::remove_file(&path).unwrap();
                std::fs::write(&path, bytes(2, MIB)).unwrap();
            }
        }
    }
}

#[test]
fn fault_04_kill_at_every_step_of_promote() {
    for size in [100_000, 60_000] {
        for moment in [Moment::Before, Moment::After] {
            let steps = (0..40)
                .find(|number| !killed_in_promotion(size, *number, moment))
                .expect("the promotion does not end");
            assert!(steps >= 4, "only {steps} steps");
        }
    }
}

/// Promotes and dies at one call to the outside; false if there are not so many.
fn killed_in_promotion(size: u64, number: u64, moment: Moment) -> bool {
    let mut rig = Setup::default().start();
    let session = rig.session();
    let id = {
        let request = allocate_request(size, Tier::Ram, Durability::Volatile);
        let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
        rig.commit(&session, &filled.commit_request()).unwrap().id
    };
    rig.spill(&default(), id, Tier::Disk).unwrap();
    rig.sweep().unwrap();
    rig.switch.kill_at(number, moment);
    let promoted = rig.promote(&default(), id, Tier::Ram);
    let killed = rig.switch.is_dead();
    assert!(killed || promoted.is_ok());
    rig.restart();
    assert!(tiers_now(&rig, id).contains(&Tier::Disk), "the lower one stays");
    let session = rig.session();
    assert_eq!(rig.content(&session, id), bytes(1, size));
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
    killed
}
