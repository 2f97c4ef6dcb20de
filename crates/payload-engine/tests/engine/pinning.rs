//! Pins: what stays in its tier however short the room there is, for how long, and how much of it there may be.

use std::sync::Arc;

use payload_core::tiering::Keep;
use payload_core::{EventKind, Namespace, Payload, PayloadId, Pin, Reason, Result, Span, StateKind, Tier};
use payload_engine::{Holder, PinRequest};
use payload_testkit::faulty::Moment;

use crate::common::{Backend, Rig, Setup, alice, bytes, refusal, secs};

const MIB: u64 = 1 << 20;

/// RAM for ten payloads of a mebibyte, of which five may be pinned; the tenth brings it above its high watermark, and two
/// have to go.
fn setup() -> Setup {
    Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
}

fn full(rig: &Rig, holder: &Arc<Holder>) -> Vec<PayloadId> {
    (0..10).map(|seed| rig.put_large(holder, MIB, seed).id).collect()
}

/// Others come, until everything that may go is gone.
fn replace_all(rig: &Rig, holder: &Arc<Holder>) {
    for seed in 100..120 {
        rig.put_large(holder, MIB, seed);
        rig.evict();
    }
}

fn pin(rig: &Rig, id: PayloadId, tier: Tier, term: Option<Span>) -> Result<Arc<Payload>> {
    let request = PinRequest {
        namespace: Namespace::default(),
        payload: id.into(),
        tier,
        term,
    };
    rig.pin(&alice(), &request)
}

fn pin_in_ram(rig: &Rig, id: PayloadId) -> Arc<Payload> {
    pin(rig, id, Tier::Ram, None).unwrap()
}

fn unpin(rig: &Rig, id: PayloadId) -> Arc<Payload> {
    rig.unpin(&alice(), &Namespace::default(), &id.into(), None).unwrap()
}

fn row(rig: &Rig, id: PayloadId) -> Payload {
    rig.repository().get(id).unwrap().unwrap()
}

fn in_ram(rig: &Rig, id: PayloadId) -> bool {
    row(rig, id).replicas.iter().any(|replica| replica.tier() == Tier::Ram)
}

fn pins(row: &Payload) -> Vec<(Tier, Pin)> {
    let replicas = row.replicas.iter();
    replicas
        .filter_map(|replica| Some((replica.tier(), replica.pin?)))
        .collect()
}

#[test]
fn what_is_pinned_stays_and_what_is_unpinned_goes_in_its_turn() {
    for backend in Backend::ALL {
        let rig = Setup { backend, ..setup() }.start();
        let session = rig.session();
        let ids = full(&rig, &session);
        assert_eq!(pins(&pin_in_ram(&rig, ids[0])), [(Tier::Ram, Pin::Unlimited)]);
        assert_eq!(pins(&row(&rig, ids[0])), [(Tier::Ram, Pin::Unlimited)]);
        rig.evict();
        assert!(in_ram(&rig, ids[0]), "it is the oldest, and would have been the first");
        assert!(!in_ram(&rig, ids[1]) && !in_ram(&rig, ids[2]));
        let explained = rig.explain(&Namespace::default(), &ids[0].into()).unwrap();
        assert_eq!(explained.replicas[0].keeps, [Keep::Pinned]);

        assert_eq!(pins(&unpin(&rig, ids[0])), []);
        replace_all(&rig, &session);
        assert!(!in_ram(&rig, ids[0]));
        let kinds = [
            EventKind::Allocated,
            EventKind::Committed,
            EventKind::Pinned,
            EventKind::Unpinned,
            EventKind::ReplicaAdded,
            EventKind::ReplicaDropped,
        ];
        assert_eq!(rig.kinds(ids[0]), kinds);
    }
}

#[test]
fn what_is_pinned_is_no_candidate_until_it_is_unpinned() {
    let rig = setup().start();
    let session = rig.session();
    let ids = full(&rig, &session);
    let candidates = || rig.tiers().unwrap()[0].pressure.as_ref().unwrap().candidates;
    let all = candidates();
    pin_in_ram(&rig, ids[0]);
    assert_eq!(candidates(), all - 1);
    unpin(&rig, ids[0]);
    assert_eq!(candidates(), all);
}

#[test]
fn the_same_again_changes_nothing_and_another_term_replaces_the_first() {
    let rig = setup().start();
    let id = rig.put_large(&rig.session(), MIB, 1).id;
    let pinned = pin_in_ram(&rig, id);
    assert_eq!(pin_in_ram(&rig, id).version, pinned.version);
    let again = pin(&rig, id, Tier::Ram, Some(secs(60))).unwrap();
    assert!(matches!(pins(&again)[..], [(Tier::Ram, Pin::Until(_))]));
    let unpinned = unpin(&rig, id);
    assert_eq!(unpin(&rig, id).version, unpinned.version);
}

#[test]
fn a_pin_ends_at_its_moment_and_not_before() {
    let rig = setup().start();
    let session = rig.session();
    let ids = full(&rig, &session);
    pin(&rig, ids[0], Tier::Ram, Some(secs(60))).unwrap();
    rig.advance(secs(59));
    rig.evict();
    assert!(in_ram(&rig, ids[0]));
    rig.advance(secs(1));
    assert_eq!(pins(&row(&rig, ids[0])), []);
    let history = rig.history(ids[0]);
    let last = &history.last().unwrap().record;
    assert_eq!((last.kind, last.actor.as_str()), (EventKind::Unpinned, "server:pins"));
    replace_all(&rig, &session);
    assert!(!in_ram(&rig, ids[0]));
}

#[test]
fn a_pin_whose_end_cannot_be_written_ends_as_soon_as_it_can() {
    let rig = setup().start();
    let id = rig.put_large(&rig.session(), MIB, 1).id;
    pin(&rig, id, Tier::Ram, Some(secs(60))).unwrap();
    rig.clock.advance(secs(60));
    rig.switch.fail_next("repository.commit", Moment::Before);
    assert_eq!(rig.end_pins(), Some(secs(1)));
    assert_eq!(pins(&row(&rig, id)).len(), 1);
    assert_eq!(rig.end_pins(), None);
    assert_eq!(pins(&row(&rig, id)), []);
}

#[test]
fn pins_survive_a_restart_with_their_ends_and_their_bound() {
    for tier in [Tier::Ram, Tier::Disk] {
        let mut rig = Setup {
            disk: 10 * MIB,
            ..setup()
        }
        .start();
        let session = rig.session();
        let ids: Vec<PayloadId> = (0..6)
            .map(|seed| rig.put_large(&session, MIB / 2 * 3, seed).id)
            .collect();
        for id in &ids[..3] {
            pin(&rig, *id, tier, Some(secs(3600))).unwrap();
        }
        rig.restart();
        rig.quiesce();
        assert_eq!(pins(&row(&rig, ids[0])).len(), 1);
        assert_eq!(refusal(pin(&rig, ids[3], tier, None)), Reason::PinLimit);
        rig.advance(secs(3600));
        assert_eq!(pins(&row(&rig, ids[0])), []);
        pin(&rig, ids[3], tier, None).unwrap();
    }
}

#[test]
fn what_is_elsewhere_is_copied_there_first() {
    let rig = setup().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    rig.spill(&Namespace::default(), id, Tier::Disk).unwrap();
    assert!(!in_ram(&rig, id));
    assert_eq!(pins(&pin_in_ram(&rig, id)), [(Tier::Ram, Pin::Unlimited)]);
    let other = rig.put_large(&session, MIB, 2).id;
    let row = pin(&rig, other, Tier::Disk, None).unwrap();
    assert_eq!(
        (pins(&row), row.replicas.len()),
        (vec![(Tier::Disk, Pin::Unlimited)], 2)
    );
    assert_eq!(rig.content(&session, id), bytes(1, MIB));
    assert_eq!(rig.content(&session, other), bytes(2, MIB));
}

#[test]
fn only_a_part_of_a_tier_can_be_pinned_and_what_ends_gives_its_part_back() {
    let rig = setup().start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..7).map(|seed| rig.put_large(&session, MIB, seed).id).collect();
    for id in &ids[..5] {
        pin_in_ram(&rig, *id);
    }
    assert_eq!(refusal(pin(&rig, ids[5], Tier::Ram, None)), Reason::PinLimit);
    assert_eq!(rig.stats().unwrap().tiers[0].pinned, 5 * MIB);
    // One that is pinned already needs no more for another term.
    pin(&rig, ids[4], Tier::Ram, Some(secs(60))).unwrap();
    rig.remove(ids[0]).unwrap();
    assert_eq!(rig.state(ids[0]), StateKind::Deleted);
    pin_in_ram(&rig, ids[5]);
    assert_eq!(refusal(pin(&rig, ids[6], Tier::Ram, None)), Reason::PinLimit);
    unpin(&rig, ids[1]);
    pin_in_ram(&rig, ids[6]);
}

#[test]
fn a_pin_that_was_not_written_takes_nothing_of_the_bound() {
    let rig = setup().start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..6).map(|seed| rig.put_large(&session, MIB, seed).id).collect();
    rig.switch.fail_next("repository.commit", Moment::Before);
    assert_eq!(refusal(pin(&rig, ids[5], Tier::Ram, None)), Reason::Internal);
    for id in &ids[..5] {
        pin_in_ram(&rig, *id);
    }
    assert_eq!(refusal(pin(&rig, ids[5], Tier::Ram, None)), Reason::PinLimit);
}

#[test]
fn a_pin_of_which_nobody_heard_counts_once() {
    let rig = setup().start();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..6).map(|seed| rig.put_large(&session, MIB, seed).id).collect();
    rig.switch.fail_next("repository.commit", Moment::After);
    pin(&rig, ids[0], Tier::Ram, None).unwrap_err();
    assert_eq!(pins(&row(&rig, ids[0])), [(Tier::Ram, Pin::Unlimited)]);
    for id in &ids[..5] {
        pin_in_ram(&rig, *id);
    }
    assert_eq!(refusal(pin(&rig, ids[5], Tier::Ram, None)), Reason::PinLimit);
}

#[test]
fn a_pin_that_comes_while_the_payload_is_being_spilled_keeps_it() {
    let rig = setup().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    let copying = rig.switch.hold_next("tier.copy_in");
    std::thread::scope(|scope| {
        let spilling = scope.spawn(|| rig.spill(&Namespace::default(), id, Tier::Disk));
        copying.wait_until_reached();
        pin_in_ram(&rig, id);
        copying.open();
        assert_eq!(refusal(spilling.join().unwrap()), Reason::PayloadPinned);
    });
    assert!(in_ram(&rig, id));
}

#[test]
fn a_spill_by_hand_is_refused_and_a_lease_from_it_goes_on() {
    let rig = setup().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    pin_in_ram(&rig, id);
    let spilled = rig.spill(&Namespace::default(), id, Tier::Disk);
    assert_eq!(refusal(spilled), Reason::PayloadPinned);
    // One that was to leave when its last lease ends stays, if it is pinned before that.
    unpin(&rig, id);
    let held = rig.lease(&session, id).unwrap();
    rig.spill(&Namespace::default(), id, Tier::Disk).unwrap();
    pin_in_ram(&rig, id);
    rig.release(&session, held.lease).unwrap();
    rig.quiesce();
    assert!(in_ram(&rig, id));
}

#[test]
fn a_pin_keeps_bytes_where_they_are_and_not_from_ending() {
    let rig = setup().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    pin_in_ram(&rig, id);
    rig.remove(id).unwrap();
    rig.quiesce();
    assert_eq!(rig.state(id), StateKind::Deleted);
    assert_eq!(refusal(pin(&rig, id, Tier::Ram, None)), Reason::PayloadDeleted);
    assert_eq!(pins(&unpin(&rig, id)), []);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn kill_at_every_step_of_a_pin() {
    for moment in [Moment::Before, Moment::After] {
        let steps = (0..40)
            .find(|number| !killed_in_pin(*number, moment))
            .expect("the pin does not end");
        assert!(steps >= 4, "only {steps} steps");
    }
}

/// Pins what has to be copied first, and dies at one call to the outside; false if there are not so many.
fn killed_in_pin(number: u64, moment: Moment) -> bool {
    let mut rig = setup().start();
    let session = rig.session();
    let id = rig.put_large(&session, MIB, 1).id;
    rig.spill(&Namespace::default(), id, Tier::Disk).unwrap();
    rig.sweep().unwrap();
    rig.switch.kill_at(number, moment);
    let pinned = pin(&rig, id, Tier::Ram, None).is_ok();
    let killed = rig.switch.is_dead();
    rig.restart();
    let now = row(&rig, id);
    assert!(
        !pinned || pins(&now) == [(Tier::Ram, Pin::Unlimited)],
        "what was acknowledged holds"
    );
    let bytes_pinned = if pins(&now).is_empty() { 0 } else { MIB };
    assert_eq!(
        rig.stats().unwrap().tiers[0].pinned,
        bytes_pinned,
        "kill {number} {moment:?}"
    );
    assert_eq!(rig.content(&rig.session(), id), bytes(1, MIB));
    assert_eq!(pins(&unpin(&rig, id)), []);
    assert_eq!(rig.stats().unwrap().tiers[0].pinned, 0);
    rig.quiesce();
    rig.check_at_rest();
    killed
}
