//! What a producer says about a payload, and what follows when RAM is short. Each field has a test that fails without it.

use std::sync::Arc;

use payload_core::port::Clock;
use payload_core::{Durability, EventKind, PayloadId, Policy, Priority, Reason, SpillTarget, StateKind, Tier};
use payload_engine::{AllocateRequest, Holder, PutRequest};

use crate::common::calls::{allocate_request, fill, put_request};
use crate::common::{Rig, Setup, bytes, refusal, secs};

const SIZE: u64 = 100_000;

/// RAM for ten payloads; the tenth brings it above its high watermark, and two have to go.
fn ten() -> Rig {
    Setup {
        ram: 10 * SIZE.next_multiple_of(4096),
        ..Setup::default()
    }
    .start()
}

fn request(policy: Policy) -> AllocateRequest {
    AllocateRequest {
        policy,
        ..allocate_request(SIZE, Tier::Ram, Durability::Volatile)
    }
}

fn put(rig: &Rig, holder: &Arc<Holder>, seed: u64, policy: Policy) -> PayloadId {
    let filled = fill(rig.allocate(holder, &request(policy)).unwrap(), seed);
    let row = rig.commit(holder, &filled.commit_request()).unwrap();
    assert_eq!(row.policy, policy);
    row.id
}

fn with_priority(priority: Priority) -> Policy {
    Policy {
        priority,
        ..Policy::default()
    }
}

/// Which of them have left RAM.
fn gone(rig: &Rig, ids: &[PayloadId]) -> Vec<usize> {
    let left = |id: &PayloadId| {
        let row = rig.repository().get(*id).unwrap().unwrap();
        !row.replicas.iter().any(|replica| replica.tier() == Tier::Ram)
    };
    (0..ids.len()).filter(|at| left(&ids[*at])).collect()
}

#[test]
fn low_goes_before_normal_and_normal_before_high_however_old_they_are() {
    for (first, then) in [(Priority::Low, Priority::Normal), (Priority::Normal, Priority::High)] {
        let rig = ten();
        let session = rig.session();
        let ids: Vec<PayloadId> = (0..10)
            .map(|seed| {
                let priority = if seed < 8 { then } else { first };
                put(&rig, &session, seed, with_priority(priority))
            })
            .collect();
        rig.evict();
        assert_eq!(gone(&rig, &ids), [8, 9], "{first} before {then}");
    }
}

#[test]
fn what_is_never_evicted_is_not_even_if_nothing_else_can_be() {
    let rig = ten();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..10)
        .map(|seed| put(&rig, &session, seed, with_priority(Priority::Never)))
        .collect();
    rig.evict();
    assert_eq!(gone(&rig, &ids), [0; 0]);
    let refused = rig.allocate(&session, &request(Policy::default()));
    assert_eq!(refusal(refused), Reason::TierFull);
}

#[test]
fn what_can_be_made_again_goes_before_others_of_its_priority() {
    let rig = ten();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..10)
        .map(|seed| {
            let policy = Policy {
                rederivable: seed >= 8,
                ..Policy::default()
            };
            put(&rig, &session, seed, policy)
        })
        .collect();
    rig.evict();
    assert_eq!(gone(&rig, &ids), [8, 9]);
}

#[test]
fn what_has_not_been_in_ram_for_long_enough_stays_and_goes_in_its_turn_then() {
    let rig = ten();
    let session = rig.session();
    let stays = Policy {
        min_residency: Some(secs(60)),
        ..Policy::default()
    };
    let ids: Vec<PayloadId> = (0..10)
        .map(|seed| put(&rig, &session, seed, if seed < 8 { stays } else { Policy::default() }))
        .collect();
    rig.evict();
    assert_eq!(gone(&rig, &ids), [8, 9]);
    rig.advance(secs(59));
    put(&rig, &session, 10, Policy::default());
    put(&rig, &session, 11, Policy::default());
    rig.evict();
    assert_eq!(gone(&rig, &ids), [8, 9], "what is new goes, since nothing else may");
    rig.advance(secs(1));
    let more: Vec<PayloadId> = (12..14).map(|seed| put(&rig, &session, seed, stays)).collect();
    rig.evict();
    assert_eq!((gone(&rig, &ids), gone(&rig, &more)), (vec![0, 1, 8, 9], vec![]));
}

#[test]
fn what_was_fetched_stays_for_as_long_again() {
    let rig = ten();
    let session = rig.session();
    let stays = Policy {
        min_residency: Some(secs(60)),
        ..Policy::default()
    };
    let fetched = put(&rig, &session, 0, stays);
    let default = payload_core::Namespace::default();
    rig.spill(&default, fetched, Tier::Disk).unwrap();
    rig.advance(secs(600));
    rig.promote(&default, fetched, Tier::Ram).unwrap();
    let ids: Vec<PayloadId> = (1..10)
        .map(|seed| put(&rig, &session, seed, Policy::default()))
        .collect();
    // For as long as it counts as used because it is new, it would stay anyhow.
    rig.advance(secs(30));
    rig.evict();
    assert_eq!((gone(&rig, &[fetched]), gone(&rig, &ids)), (vec![], vec![0, 1]));
    rig.advance(secs(30));
    let _more: Vec<PayloadId> = (12..14)
        .map(|seed| put(&rig, &session, seed, with_priority(Priority::High)))
        .collect();
    rig.evict();
    let left = gone(&rig, &ids).len() + gone(&rig, &[fetched]).len();
    assert_eq!(left, 4);
}

#[test]
fn a_commit_in_the_future_has_been_there_for_long_enough() {
    let rig = ten();
    let session = rig.session();
    let stays = Policy {
        min_residency: Some(secs(60)),
        ..Policy::default()
    };
    let ids: Vec<PayloadId> = (0..10).map(|seed| put(&rig, &session, seed, stays)).collect();
    rig.evict();
    assert_eq!(gone(&rig, &ids), [0; 0]);
    rig.clock.set_wall(rig.clock.wall().before(secs(86_400)));
    rig.advance(secs(60));
    rig.evict();
    assert_eq!(gone(&rig, &ids).len(), 2);
}

#[test]
fn what_may_not_sink_below_a_tier_stays_in_it_unless_somebody_spills_it() {
    let rig = ten();
    let session = rig.session();
    let in_ram = Policy {
        min_tier: Some(Tier::Ram),
        ..Policy::default()
    };
    let on_disk = Policy {
        min_tier: Some(Tier::Disk),
        ..Policy::default()
    };
    let ids: Vec<PayloadId> = (0..10)
        .map(|seed| put(&rig, &session, seed, if seed < 8 { in_ram } else { on_disk }))
        .collect();
    rig.evict();
    assert_eq!(gone(&rig, &ids), [8, 9]);
    rig.spill(&payload_core::Namespace::default(), ids[0], Tier::Disk)
        .unwrap();
    assert_eq!(gone(&rig, &ids), [0, 8, 9]);
}

#[test]
fn what_spills_to_the_void_ends_and_takes_nothing_up() {
    let rig = ten();
    let session = rig.session();
    let void = Policy {
        spill_to: SpillTarget::Void,
        ..Policy::default()
    };
    let ids: Vec<PayloadId> = (0..10).map(|seed| put(&rig, &session, seed, void)).collect();
    let held = rig.lease(&session, ids[0]).unwrap();
    let copies = rig.switch.calls("tier.copy_in");
    rig.evict();
    assert_eq!(gone(&rig, &ids), [1, 2], "one is held");
    assert_eq!(rig.switch.calls("tier.copy_in"), copies);
    assert_eq!(rig.kinds(ids[1])[2..], [EventKind::Discarded, EventKind::Deleted]);
    assert_eq!(rig.state(ids[1]), StateKind::Deleted);
    assert_eq!(refusal(rig.lease(&session, ids[1])), Reason::PayloadDeleted);
    assert_eq!(rig.read(&held), bytes(0, SIZE));
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn what_spills_to_the_void_and_has_a_copy_below_only_leaves_ram() {
    let rig = ten();
    let session = rig.session();
    let void = Policy {
        spill_to: SpillTarget::Void,
        ..Policy::default()
    };
    let ids: Vec<PayloadId> = (0..10).map(|seed| put(&rig, &session, seed, void)).collect();
    let default = payload_core::Namespace::default();
    rig.spill(&default, ids[0], Tier::Disk).unwrap();
    rig.promote(&default, ids[0], Tier::Ram).unwrap();
    rig.evict();
    assert_eq!(rig.content(&session, ids[0]), bytes(0, SIZE));
}

#[test]
fn contradictions_are_refused_before_anything_is_reserved() {
    let rig = ten();
    let session = rig.session();
    let void = |priority| Policy {
        priority,
        spill_to: SpillTarget::Void,
        ..Policy::default()
    };
    let durable = AllocateRequest {
        durability: Some(Durability::Host),
        ..request(void(Priority::Low))
    };
    let put = |policy, durability| PutRequest {
        policy,
        ..put_request(b"x", Tier::Ram, durability)
    };
    assert_eq!(refusal(rig.allocate(&session, &durable)), Reason::PolicyContradiction);
    assert_eq!(
        refusal(rig.allocate(&session, &request(void(Priority::Never)))),
        Reason::PolicyContradiction
    );
    assert_eq!(
        refusal(rig.put(&session, &put(void(Priority::High), Durability::Host))),
        Reason::PolicyContradiction
    );
    assert!(rig.rows().is_empty());
    rig.put(&session, &put(void(Priority::High), Durability::Volatile))
        .unwrap();
}

#[test]
fn a_policy_is_there_after_a_restart() {
    let mut rig = ten();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..10)
        .map(|seed| {
            let priority = if seed < 8 { Priority::High } else { Priority::Low };
            put(&rig, &session, seed, with_priority(priority))
        })
        .collect();
    rig.restart();
    rig.quiesce();
    rig.evict();
    assert_eq!(gone(&rig, &ids), [8, 9]);
}
