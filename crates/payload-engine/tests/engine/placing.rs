//! Where new payloads go when the tier they are meant for has no room, and what is said about it.

use payload_core::placement::Fallback;
use payload_core::{Durability, Namespace, PayloadRef, Policy, Priority, Reason, SpillTarget, Tier};
use payload_engine::{AllocateRequest, PutRequest};

use crate::common::calls::{allocate_request, bytes, fill, put_request, secs};
use crate::common::{Rig, Setup, refusal, wait_until};

const MIB: u64 = 1 << 20;

/// RAM for four payloads of a MiB, all of which are held by producers that do not commit.
fn full_ram() -> (Rig, std::sync::Arc<payload_engine::Holder>) {
    let rig = Setup {
        ram: 4 * MIB,
        ..Setup::default()
    }
    .start();
    let session = rig.session();
    for _ in 0..4 {
        rig.allocate(&session, &allocate_request(MIB, Tier::Ram, Durability::Volatile))
            .unwrap();
    }
    (rig, session)
}

fn anywhere(size: u64) -> AllocateRequest {
    AllocateRequest {
        tier: None,
        durability: None,
        ..allocate_request(size, Tier::Ram, Durability::Volatile)
    }
}

#[test]
fn what_names_no_tier_falls_back_to_disk_and_is_like_any_other() {
    let (rig, session) = full_ram();
    let filled = fill(rig.allocate(&session, &anywhere(MIB)).unwrap(), 7);
    assert_eq!(filled.row.tier, Tier::Disk);
    let row = rig.commit(&session, &filled.commit_request()).unwrap();
    assert_eq!((row.durability, row.replicas.len()), (Durability::Volatile, 1));
    assert_eq!(row.replicas[0].tier(), Tier::Disk);
    assert_eq!(rig.content(&session, row.id), bytes(7, MIB));

    let explained = rig.explain(&Namespace::default(), &PayloadRef::from(row.id)).unwrap();
    let arrival = explained.replicas[0].arrival.as_ref().unwrap();
    assert_eq!(
        arrival.reason.as_deref(),
        Some("fell back: tier ram is full"),
        "it says why it is there"
    );
    rig.close_session(&session);
    rig.quiesce();
    rig.check_invariants();
}

#[test]
fn a_small_payload_falls_back_too_and_the_event_says_why() {
    let (rig, session) = full_ram();
    let put = PutRequest {
        tier: None,
        durability: None,
        ..put_request(&bytes(1, 60_000), Tier::Ram, Durability::Volatile)
    };
    let rows: Vec<_> = (0..40).map(|_| rig.put(&session, &put).unwrap()).collect();
    let last = rows.last().unwrap();
    assert_eq!(last.tier, Tier::Disk);
    assert_eq!(rig.content(&session, last.id), bytes(1, 60_000));
    let explained = rig.explain(&Namespace::default(), &PayloadRef::from(last.id)).unwrap();
    let arrival = explained.replicas[0].arrival.as_ref().unwrap();
    assert_eq!(arrival.reason.as_deref(), Some("fell back: tier ram is full"));
}

#[test]
fn a_tier_that_was_named_is_had_or_refused_unless_the_request_says_otherwise() {
    let (rig, session) = full_ram();
    let named = allocate_request(MIB, Tier::Ram, Durability::Volatile);
    assert_eq!(refusal(rig.allocate(&session, &named)), Reason::TierFull);
    let may = AllocateRequest {
        fallback: Some(Fallback::NextTier),
        ..named
    };
    assert_eq!(rig.allocate(&session, &may).unwrap().row.tier, Tier::Disk);
    let must = AllocateRequest {
        fallback: Some(Fallback::Refuse),
        ..anywhere(MIB)
    };
    assert_eq!(refusal(rig.allocate(&session, &must)), Reason::TierFull);
}

#[test]
fn what_is_larger_than_ram_goes_to_disk_or_is_refused_for_good() {
    let (rig, session) = full_ram();
    assert_eq!(rig.allocate(&session, &anywhere(5 * MIB)).unwrap().row.tier, Tier::Disk);
    let named = allocate_request(5 * MIB, Tier::Ram, Durability::Volatile);
    assert_eq!(refusal(rig.allocate(&session, &named)), Reason::BadSize);
    let disk = rig.stats().unwrap().tiers[1].usage.capacity;
    assert_eq!(refusal(rig.allocate(&session, &anywhere(disk + 1))), Reason::BadSize);
}

#[test]
fn what_would_rather_end_or_stays_for_ever_does_not_fall_back() {
    let (rig, session) = full_ram();
    for (priority, spill_to) in [
        (Priority::Normal, SpillTarget::Void),
        (Priority::Never, SpillTarget::Disk),
    ] {
        let policy = Policy {
            priority,
            spill_to,
            ..Policy::default()
        };
        let request = AllocateRequest {
            policy,
            ..anywhere(MIB)
        };
        assert_eq!(refusal(rig.allocate(&session, &request)), Reason::TierFull);
    }
}

#[test]
fn a_wait_comes_before_the_fallback() {
    let rig = Setup {
        ram: 4 * MIB,
        ..Setup::default()
    }
    .with(|settings| settings.room_wait = secs(5))
    .start();
    let session = rig.session();
    for _ in 0..4 {
        rig.allocate(&session, &allocate_request(MIB, Tier::Ram, Durability::Volatile))
            .unwrap();
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.allocate(&session, &anywhere(MIB)));
        wait_until(|| rig.stats().unwrap().room_waiting == 1);
        rig.advance(secs(5));
        assert_eq!(waiting.join().unwrap().unwrap().row.tier, Tier::Disk);
    });
}
