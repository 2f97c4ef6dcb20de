//! Copies on their way: whose turn it is, how fast they go, how they are stopped, and what is left alone after failures.

use payload_core::tiering::{Keep, Watermarks};
use payload_core::{Durability, EventKind, Namespace, PayloadId, Reason, Span, Tier};
use payload_testkit::faulty::Moment;

use crate::common::calls::allocate_request;
use crate::common::{Rig, Setup, bytes, refusal, secs};

const MIB: u64 = 1 << 20;

fn put(rig: &Rig, count: u64) -> Vec<PayloadId> {
    let session = rig.session();
    let ids = (0..count).map(|seed| rig.put_large(&session, MIB, seed).id).collect();
    rig.close_session(&session);
    ids
}

fn spill(rig: &Rig, id: PayloadId) -> payload_core::Result<()> {
    rig.spill(&Namespace::default(), id, Tier::Disk).map(drop)
}

fn cancel(rig: &Rig, id: PayloadId) -> bool {
    rig.cancel_transfer(&Namespace::default(), &id.into()).unwrap()
}

fn keeps_in_ram(rig: &Rig, id: PayloadId) -> Vec<Keep> {
    let explained = rig.explain(&Namespace::default(), &id.into()).unwrap();
    let ram = explained.replicas.iter().find(|view| view.replica.tier() == Tier::Ram);
    ram.map(|view| view.keeps.clone()).unwrap_or_default()
}

/// Waits for what other threads bring about.
fn wait_until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[test]
fn a_copy_that_is_cancelled_leaves_the_payload_where_it_was_and_in_peace() {
    let rig = Setup::default().start();
    let ids = put(&rig, 1);
    assert!(!cancel(&rig, ids[0]), "nothing moves");
    let copying = rig.switch.hold_next("tier.copy_in");
    std::thread::scope(|scope| {
        let spilling = scope.spawn(|| spill(&rig, ids[0]));
        copying.wait_until_reached();
        assert!(cancel(&rig, ids[0]));
        copying.open();
        assert_eq!(refusal(spilling.join().unwrap()), Reason::Conflict);
    });
    assert!(!rig.kinds(ids[0]).contains(&EventKind::ReplicaAdded));
    assert_eq!(keeps_in_ram(&rig, ids[0]), [Keep::SetAside]);
    assert_eq!(rig.store(Tier::Disk).usage().used, 0);
    rig.advance(secs(30));
    assert_eq!(keeps_in_ram(&rig, ids[0]), []);
    spill(&rig, ids[0]).unwrap();
    assert!(!cancel(&rig, ids[0]), "what the row names is not taken back");
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_fetch_that_waits_can_be_cancelled() {
    let rig = Setup::default().start();
    let ids = put(&rig, 1);
    spill(&rig, ids[0]).unwrap();
    rig.prefetch(&Namespace::default(), ids[0], Tier::Ram).unwrap();
    assert!(cancel(&rig, ids[0]));
    rig.fetch_wishes();
    let row = rig.repository().get(ids[0]).unwrap().unwrap();
    assert_eq!(row.replicas.len(), 1);
}

#[test]
fn no_more_copies_are_made_at_a_time_than_there_are_movers() {
    let rig = Setup::default().with(|settings| settings.movers = 1).start();
    let ids = put(&rig, 2);
    let copying = rig.switch.hold_next("tier.copy_in");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| spill(&rig, ids[0]));
        copying.wait_until_reached();
        let calls = rig.switch.calls("tier.copy_in");
        let second = scope.spawn(|| spill(&rig, ids[1]));
        wait_until(|| rig.transfers().running.len() == 2);
        assert_eq!(rig.switch.calls("tier.copy_in"), calls, "the second waits for its turn");
        copying.open();
        first.join().unwrap().unwrap();
        second.join().unwrap().unwrap();
    });
}

#[test]
fn a_promotion_does_not_stand_behind_spills() {
    let rig = Setup::default().with(|settings| settings.movers = 1).start();
    let ids = put(&rig, 3);
    spill(&rig, ids[0]).unwrap();
    let copying = rig.switch.hold_next("tier.copy_in");
    std::thread::scope(|scope| {
        let spills = [1, 2].map(|at| {
            scope.spawn({
                let (rig, ids) = (&rig, &ids);
                move || spill(rig, ids[at])
            })
        });
        copying.wait_until_reached();
        let row = rig.promote(&Namespace::default(), ids[0], Tier::Ram).unwrap();
        assert_eq!(row.replicas.len(), 2);
        copying.open();
        spills.into_iter().for_each(|spill| spill.join().unwrap().unwrap());
    });
}

#[test]
fn fault_15_a_disk_that_does_not_answer_holds_up_nobody_who_does_not_need_it() {
    let rig = Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
    .with(|settings| settings.room_wait = secs(5))
    .start();
    let ids = put(&rig, 9);
    let session = rig.session();
    let request = allocate_request(2 * MIB, Tier::Ram, Durability::Volatile);
    let copying = rig.switch.hold_next("tier.copy_in");
    std::thread::scope(|scope| {
        let spilling = scope.spawn(|| spill(&rig, ids[0]));
        copying.wait_until_reached();
        for (seed, id) in (0..).zip(&ids) {
            assert_eq!(rig.content(&session, *id), bytes(seed, MIB), "moving or not");
        }
        let more = rig.put_large(&session, MIB / 2, 9).id;
        assert_eq!(rig.content(&session, more), bytes(9, MIB / 2));
        // What needs the room that does not come waits as long as it may, and no longer.
        let waiting = scope.spawn(|| rig.allocate(&session, &request));
        wait_until(|| rig.stats().unwrap().room_waiting == 1);
        rig.advance(secs(5));
        assert_eq!(refusal(waiting.join().unwrap()), Reason::TierFull);
        copying.open();
        spilling.join().unwrap().unwrap();
    });
}

#[test]
fn a_rate_lets_the_next_copy_start_when_the_last_has_had_its_time() {
    let rig = Setup::default()
        .with(|settings| settings.spill_rate = Some(MIB))
        .start();
    let ids = put(&rig, 2);
    spill(&rig, ids[0]).unwrap();
    let calls = rig.switch.calls("tier.copy_in");
    std::thread::scope(|scope| {
        let second = scope.spawn(|| spill(&rig, ids[1]));
        wait_until(|| !rig.transfers().running.is_empty());
        rig.clock.advance(Span::from_millis(999));
        rig.run_timers();
        assert_eq!(rig.switch.calls("tier.copy_in"), calls);
        rig.clock.advance(Span::from_millis(1));
        rig.run_timers();
        // It may have looked at the clock before that, and waited only after.
        wait_until(|| {
            rig.run_timers();
            second.is_finished()
        });
        second.join().unwrap().unwrap();
    });
}

#[test]
fn what_fails_three_times_is_left_alone_for_a_while_and_the_others_go() {
    let rig = Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
    .with(|settings| settings.watermarks.ram = Watermarks::new(50, 60).unwrap())
    .start();
    let ids = put(&rig, 10);
    for _ in 0..3 {
        rig.switch.fail_next("tier.copy_in", Moment::Before);
        spill(&rig, ids[0]).unwrap_err();
    }
    assert_eq!(keeps_in_ram(&rig, ids[0]), [Keep::SetAside]);
    rig.evict();
    let in_ram = |id: &PayloadId| {
        let row = rig.repository().get(*id).unwrap().unwrap();
        row.replicas.iter().any(|replica| replica.tier() == Tier::Ram)
    };
    assert!(
        in_ram(&ids[0]) && !in_ram(&ids[1]),
        "the oldest stays, and the next one goes"
    );
    rig.advance(secs(30));
    assert_eq!(keeps_in_ram(&rig, ids[0]), []);
    spill(&rig, ids[0]).unwrap();
    let session = rig.session();
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(rig.content(&session, *id), bytes(seed, MIB));
    }
}
