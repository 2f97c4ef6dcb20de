//! Small payloads that go down together: what they share, and what each has for itself.

use payload_core::{Durability, Namespace, PayloadId, StateKind, Tier};
use payload_testkit::faulty::Moment;

use crate::common::calls::put_request;
use crate::common::{Rig, Setup, bytes};

const SIZE: u64 = 60_000;

fn put_small(rig: &Rig, seeds: std::ops::Range<u64>) -> Vec<PayloadId> {
    let session = rig.session();
    let put = |seed| {
        let request = put_request(&bytes(seed, SIZE), Tier::Ram, Durability::Volatile);
        rig.put(&session, &request).unwrap().id
    };
    seeds.map(put).collect()
}

fn spill(rig: &Rig, ids: &[PayloadId]) -> Vec<payload_core::Result<Vec<Tier>>> {
    let moved = rig.spill_all(&Namespace::default(), ids, Tier::Disk);
    let tiers =
        |row: std::sync::Arc<payload_core::Payload>| row.replicas.iter().map(payload_core::Replica::tier).collect();
    moved.into_iter().map(|row| row.map(tiers)).collect()
}

#[test]
fn many_small_payloads_are_written_in_one_go() {
    let rig = Setup::default().start();
    let ids = put_small(&rig, 0..40);
    for tiers in spill(&rig, &ids) {
        assert_eq!(tiers.unwrap(), [Tier::Disk]);
    }
    assert_eq!(rig.switch.calls("tier.store_all"), 1);
    assert_eq!(rig.switch.calls("tier.copy_in"), 0);
    let session = rig.session();
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(rig.content(&session, *id), bytes(seed, SIZE));
    }
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn what_is_wrong_with_one_is_its_own_matter() {
    let rig = Setup::default().start();
    let mut ids = put_small(&rig, 0..10);
    rig.remove(ids[3]).unwrap();
    ids.push(PayloadId::from_parts(7, [7; 10]));
    let moved = spill(&rig, &ids);
    for (at, tiers) in moved.into_iter().enumerate() {
        assert_eq!(tiers.is_ok(), ![3, 10].contains(&at), "{at}: {tiers:?}");
    }
}

#[test]
fn one_that_is_named_twice_is_copied_once() {
    let rig = Setup::default().start();
    let ids = put_small(&rig, 0..3);
    let twice: Vec<PayloadId> = ids.iter().chain(&ids).copied().collect();
    for tiers in spill(&rig, &twice) {
        assert_eq!(tiers.unwrap(), [Tier::Disk]);
    }
    assert_eq!(rig.switch.calls("tier.store_all") + rig.switch.calls("tier.copy_in"), 1);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_write_that_fails_leaves_all_of_them_in_ram() {
    let rig = Setup::default().start();
    let ids = put_small(&rig, 0..10);
    rig.switch.fail_next("tier.store_all", Moment::Before);
    for moved in spill(&rig, &ids) {
        moved.unwrap_err();
    }
    for tiers in spill(&rig, &ids) {
        assert_eq!(tiers.unwrap(), [Tier::Disk]);
    }
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn fault_03_kill_at_every_step_of_a_spill_of_many() {
    for moment in [Moment::Before, Moment::After] {
        for number in 0.. {
            let mut rig = Setup::default().with(|settings| settings.movers = 1).start();
            let ids = put_small(&rig, 0..3);
            rig.switch.kill_at(number, moment);
            let _killed = spill(&rig, &ids);
            let killed = rig.switch.is_dead();
            rig.restart();
            let session = rig.session();
            for (seed, id) in (0..).zip(&ids) {
                assert_eq!(rig.state(*id), StateKind::Active);
                assert_eq!(
                    rig.content(&session, *id),
                    bytes(seed, SIZE),
                    "kill {number} {moment:?}"
                );
            }
            rig.close_session(&session);
            rig.quiesce();
            rig.check_at_rest();
            if !killed {
                assert!(number > 8, "only {number} steps");
                break;
            }
        }
    }
}
