//! What is written behind: the commit does not wait for it, nothing drops what it rests on, and it comes whatever dies.

use std::sync::Arc;

use payload_core::tiering::Keep;
use payload_core::{
    Durability, EventKind, Namespace, Payload, PayloadId, Policy, Quota, Reason, Replica, SpillTarget, StateKind, Tier,
};
use payload_engine::{AllocateRequest, Holder, Plan, PutRequest};
use payload_testkit::faulty::Moment;

use crate::common::calls::{allocate_request, fill, put_request};
use crate::common::{Rig, Setup, bytes, refusal};

const MIB: u64 = 1 << 20;

fn behind(soon: Durability) -> Policy {
    Policy {
        write_behind: Some(soon),
        ..Policy::default()
    }
}

fn put_in(rig: &Rig, holder: &Arc<Holder>, seed: u64, tier: Tier, policy: Policy) -> Arc<Payload> {
    let request = AllocateRequest {
        policy,
        durability: None,
        ..allocate_request(MIB, tier, Durability::Volatile)
    };
    let filled = fill(rig.allocate(holder, &request).unwrap(), seed);
    rig.commit(holder, &filled.commit_request()).unwrap()
}

fn put(rig: &Rig, holder: &Arc<Holder>, seed: u64) -> Arc<Payload> {
    put_in(rig, holder, seed, Tier::Ram, behind(Durability::Host))
}

fn row(rig: &Rig, id: PayloadId) -> Payload {
    rig.repository().get(id).unwrap().unwrap()
}

fn tiers(row: &Payload) -> Vec<Tier> {
    let mut tiers: Vec<Tier> = row.replicas.iter().map(Replica::tier).collect();
    tiers.sort_unstable();
    tiers
}

fn owing(rig: &Rig) -> (usize, u64) {
    let stats = rig.stats().unwrap();
    (stats.owing, stats.owed_bytes)
}

#[test]
fn a_commit_is_answered_before_the_copy_which_then_makes_it_last() {
    let mut rig = Setup::default().start();
    let session = rig.session();
    let copies = rig.switch.calls("tier.copy_in");
    let committed = put(&rig, &session, 1);
    assert_eq!(rig.switch.calls("tier.copy_in"), copies, "nobody waits for it");
    assert_eq!(
        (committed.durability, tiers(&committed)),
        (Durability::Volatile, vec![Tier::Ram])
    );
    assert_eq!(owing(&rig), (1, MIB));

    assert_eq!(rig.write_behind().unwrap(), None);
    let now = row(&rig, committed.id);
    assert_eq!(
        (now.durability, tiers(&now)),
        (Durability::Host, vec![Tier::Ram, Tier::Disk])
    );
    assert_eq!(owing(&rig), (0, 0));
    let history = rig.history(committed.id);
    let last = &history.last().unwrap().record;
    assert_eq!(
        (last.kind, last.reason.as_deref()),
        (EventKind::ReplicaAdded, Some("write-behind"))
    );

    // What it promises now it keeps without the memory.
    rig.reboot();
    assert_eq!(rig.content(&rig.session(), committed.id), bytes(1, MIB));
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn small_ones_go_down_together() {
    let rig = Setup::default().start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..20)
        .map(|seed| {
            let request = PutRequest {
                policy: behind(Durability::Host),
                ..put_request(&bytes(seed, 5_000), Tier::Ram, Durability::Volatile)
            };
            rig.put(&session, &request).unwrap().id
        })
        .collect();
    let stores = rig.switch.calls("tier.store_all");
    rig.write_behind().unwrap();
    assert_eq!(rig.switch.calls("tier.store_all"), stores + 1);
    assert!(ids.iter().all(|id| row(&rig, *id).durability == Durability::Host));
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn what_owes_a_copy_is_not_evicted_until_it_is_made_and_says_so() {
    let rig = Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
    .with(|settings| settings.write_behind_max = 100)
    .start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..10).map(|seed| put(&rig, &session, seed).id).collect();
    let copies = rig.switch.calls("tier.copy_in");
    rig.evict();
    assert!(ids.iter().all(|id| tiers(&row(&rig, *id)) == [Tier::Ram]));
    let explained = rig.explain(&Namespace::default(), &ids[0].into()).unwrap();
    assert_eq!(explained.replicas[0].keeps, [Keep::WriteBehind]);
    assert_eq!(explained.plan, Plan::WrittenBehind(Tier::Disk));
    let waiting = rig.transfers();
    assert_eq!((waiting.queued_total, waiting.queued[0].why), (10, "write-behind"));

    rig.write_behind().unwrap();
    assert_eq!(rig.switch.calls("tier.copy_in"), copies + 10);
    rig.evict();
    let gone = ids.iter().filter(|id| tiers(&row(&rig, **id)) == [Tier::Disk]);
    assert_eq!(gone.count(), 2, "down to the low watermark");
    assert_eq!(rig.switch.calls("tier.copy_in"), copies + 10, "each is clean");
}

#[test]
fn what_comes_on_top_of_the_bound_is_written_through() {
    let rig = Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
    .with(|settings| settings.write_behind_max = 20)
    .start();
    let session = rig.session();
    let promised: Vec<Durability> = (0..4).map(|seed| put(&rig, &session, seed).durability).collect();
    let (later, at_once) = (Durability::Volatile, Durability::Host);
    assert_eq!(promised, [later, later, at_once, at_once]);
    assert_eq!(owing(&rig), (2, 2 * MIB));
    let small = PutRequest {
        policy: behind(Durability::Host),
        ..put_request(b"small", Tier::Ram, Durability::Volatile)
    };
    assert_eq!(rig.put(&session, &small).unwrap().durability, at_once);
    rig.write_behind().unwrap();
    assert_eq!(put(&rig, &session, 9).durability, later, "there is room again");
}

#[test]
fn a_copy_by_anybody_pays_and_an_end_cancels() {
    let rig = Setup::default().start();
    let session = rig.session();
    let (spilled, deleted) = (put(&rig, &session, 1).id, put(&rig, &session, 2).id);
    rig.spill(&Namespace::default(), spilled, Tier::Disk).unwrap();
    assert_eq!(row(&rig, spilled).durability, Durability::Host);
    assert_eq!(owing(&rig), (1, MIB));
    rig.remove(deleted).unwrap();
    assert_eq!(owing(&rig), (0, 0));
    let copies = rig.switch.calls("tier.copy_in");
    assert_eq!(rig.write_behind().unwrap(), None);
    assert_eq!(rig.switch.calls("tier.copy_in"), copies);
}

#[test]
fn what_falls_back_to_where_it_was_to_go_owes_nothing() {
    let rig = Setup {
        ram: MIB,
        ..Setup::default()
    }
    .start();
    let session = rig.session();
    let _full = rig.put_large(&session, MIB, 0);
    let request = AllocateRequest {
        tier: None,
        durability: None,
        policy: behind(Durability::Host),
        ..allocate_request(MIB, Tier::Ram, Durability::Volatile)
    };
    let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
    let committed = rig.commit(&session, &filled.commit_request()).unwrap();
    assert_eq!(
        (committed.durability, tiers(&committed)),
        (Durability::Host, vec![Tier::Disk])
    );
    assert_eq!(owing(&rig), (0, 0));
}

#[test]
fn a_server_that_was_killed_goes_on_where_it_was() {
    let mut rig = Setup::with_bucket().start();
    let session = rig.session();
    let in_ram = put(&rig, &session, 1).id;
    // Nothing of it is in memory, so only what it owes makes the next server look at it.
    let on_disk = put_in(&rig, &session, 2, Tier::Disk, behind(Durability::Object)).id;
    rig.restart();
    assert_eq!(owing(&rig), (2, 2 * MIB));
    rig.write_behind().unwrap();
    assert_eq!(row(&rig, in_ram).durability, Durability::Host);
    assert_eq!(row(&rig, on_disk).durability, Durability::Object);
    assert_eq!(tiers(&row(&rig, on_disk)), [Tier::Disk, Tier::Object]);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn what_fails_lets_the_others_go_first_and_is_tried_again() {
    let rig = Setup::default().with(|settings| settings.movers = 1).start();
    let session = rig.session();
    let ids = [1, 2].map(|seed| put(&rig, &session, seed).id);
    rig.switch.fail_next("tier.copy_in", Moment::Before);
    assert_eq!(
        rig.write_behind().unwrap(),
        None,
        "the second was copied, and so the first came again"
    );
    assert!(ids.iter().all(|id| row(&rig, *id).durability == Durability::Host));

    put(&rig, &session, 3);
    let pauses: Vec<_> = (0..3)
        .map(|_| {
            rig.switch.fail_next("tier.copy_in", Moment::Before);
            rig.write_behind().unwrap().expect("nothing was copied")
        })
        .collect();
    assert!(pauses.is_sorted() && pauses[0] < pauses[2], "{pauses:?}");
    assert_eq!(owing(&rig), (1, MIB));
    rig.advance(payload_core::Span::from_secs(30));
    assert_eq!(rig.write_behind().unwrap(), None);
    assert_eq!(owing(&rig), (0, 0));
}

#[test]
fn a_bucket_that_is_away_keeps_nothing_but_what_goes_there() {
    let rig = Setup::with_bucket().start();
    let session = rig.session();
    rig.bucket.go_down();
    let far = put_in(&rig, &session, 1, Tier::Ram, behind(Durability::Object)).id;
    let near = put(&rig, &session, 2).id;
    rig.write_behind().unwrap().expect("it is tried again later");
    assert_eq!(row(&rig, far).durability, Durability::Volatile);
    assert_eq!(row(&rig, near).durability, Durability::Host);
    assert_eq!(rig.content(&session, far), bytes(1, MIB));
}

#[test]
fn what_contradicts_itself_or_cannot_be_is_refused() {
    let rig = Setup::default().start();
    let session = rig.session();
    let ask = |durability, policy| {
        let request = AllocateRequest {
            policy,
            ..allocate_request(MIB, Tier::Ram, durability)
        };
        refusal(rig.allocate(&session, &request))
    };
    let void = Policy {
        spill_to: SpillTarget::Void,
        ..behind(Durability::Host)
    };
    assert_eq!(
        ask(Durability::Host, behind(Durability::Host)),
        Reason::PolicyContradiction
    );
    assert_eq!(ask(Durability::Volatile, void), Reason::PolicyContradiction);
    assert_eq!(
        ask(Durability::Volatile, behind(Durability::Object)),
        Reason::TierNotConfigured
    );
    assert!(rig.rows().is_empty());
}

#[test]
fn fault_03_kill_at_every_step_of_a_write_behind() {
    for moment in [Moment::Before, Moment::After] {
        let steps = (0..40)
            .find(|number| !killed_behind(*number, moment))
            .expect("it does not end");
        assert!(steps >= 4, "only {steps} steps");
    }
}

/// Writes behind and dies at one call to the outside; false if there are not so many.
fn killed_behind(number: u64, moment: Moment) -> bool {
    let mut rig = Setup::default().with(|settings| settings.movers = 1).start();
    let session = rig.session();
    let ids = [1, 2].map(|seed| put(&rig, &session, seed).id);
    rig.switch.kill_at(number, moment);
    let _killed = rig.write_behind();
    let killed = rig.switch.is_dead();
    rig.restart();
    rig.write_behind().unwrap();
    for (seed, id) in (1..).zip(ids) {
        let now = row(&rig, id);
        assert_eq!(
            (now.state.kind(), now.durability),
            (StateKind::Active, Durability::Host)
        );
        assert_eq!(tiers(&now), [Tier::Ram, Tier::Disk], "kill {number} {moment:?}");
        assert_eq!(rig.content(&rig.session(), id), bytes(seed, MIB));
    }
    rig.quiesce();
    rig.check_at_rest();
    killed
}

#[test]
fn a_quota_without_room_for_the_second_copy_refuses_the_payload() {
    let rig = Setup::default().start();
    let session = rig.session();
    let quota = Quota {
        bytes: Some(3 * MIB),
        payloads: None,
    };
    rig.update_namespace(&Namespace::default(), quota, None).unwrap();
    let ask = |size| {
        let request = AllocateRequest {
            policy: behind(Durability::Host),
            ..allocate_request(size, Tier::Ram, Durability::Volatile)
        };
        rig.allocate(&session, &request)
    };
    assert_eq!(refusal(ask(2 * MIB)), Reason::QuotaExceeded);
    ask(MIB).unwrap();
}
