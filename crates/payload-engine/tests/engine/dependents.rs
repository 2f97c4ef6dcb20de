//! Deleting what others descend from: left alone, refused, or deleted with all of it, but never the wrong way round.

use std::sync::Barrier;

use payload_core::{PayloadId, Reason, StateKind, limits};
use payload_engine::{DeleteRequest, Deletion, OnDependents};

use crate::common::calls::delete_request;
use crate::common::{Backend, Rig, Setup, alice, refusal};

/// A deletion that minds what descends from the payload.
fn end(id: PayloadId, dependents: OnDependents) -> DeleteRequest {
    DeleteRequest {
        dependents,
        ..delete_request(id)
    }
}

fn start(backend: Backend) -> Rig {
    Setup {
        backend,
        ..Setup::default()
    }
    .start()
}

/// root ← {left, right} ← last, and right ← own.
fn family(rig: &Rig) -> [PayloadId; 5] {
    let root = rig.put_derived(1, &[]).id;
    let (left, right) = (rig.put_derived(2, &[root]).id, rig.put_derived(3, &[root]).id);
    let last = rig.put_derived(4, &[left, right]).id;
    [root, left, right, last, rig.put_derived(5, &[right]).id]
}

fn states(rig: &Rig, ids: &[PayloadId]) -> Vec<StateKind> {
    ids.iter().map(|id| rig.state(*id)).collect()
}

fn all_deleted(deletion: &Deletion) -> bool {
    (deletion.state, deletion.dependents.left) == (StateKind::Deleted, 0)
}

#[test]
fn whoever_says_nothing_deletes_what_others_descend_from() {
    for backend in Backend::ALL {
        let rig = start(backend);
        let ids = family(&rig);
        assert!(all_deleted(&rig.remove(ids[0]).unwrap()));
        assert_eq!(states(&rig, &ids[1..]), [StateKind::Active; 4]);
        rig.check_at_rest();
    }
}

#[test]
fn a_payload_with_live_descendants_is_kept_on_request_with_its_leases() {
    for backend in Backend::ALL {
        let rig = start(backend);
        let ids = family(&rig);
        let session = rig.session();
        let grant = rig.lease(&session, ids[0]).unwrap();
        let mut request = end(ids[0], OnDependents::Refuse);
        request.force = true;
        assert_eq!(refusal(rig.delete(&alice(), &request)), Reason::PayloadHasDependents);
        assert_eq!(refusal(rig.try_delete(&request)), Reason::PayloadHasDependents);
        assert_eq!(rig.read(&grant).len(), 100);
        rig.release(&session, grant.lease).unwrap();
        // A grandchild is a descendant too, even when all between is gone.
        for id in [ids[1], ids[2], ids[4]] {
            rig.remove(id).unwrap();
        }
        assert_eq!(refusal(rig.delete(&alice(), &request)), Reason::PayloadHasDependents);
        rig.remove(ids[3]).unwrap();
        assert!(all_deleted(&rig.delete(&alice(), &request).unwrap()));
        rig.check_at_rest();
    }
}

#[test]
fn a_cascade_can_be_tried_and_then_takes_the_youngest_first() {
    for backend in Backend::ALL {
        let rig = start(backend);
        let ids = family(&rig);
        let [root, left, right, last, own] = ids;
        let request = end(root, OnDependents::Cascade);
        let tried = rig.try_delete(&request).unwrap().dependents;
        assert_eq!((tried.deleted, tried.left), (0, 4));
        let order: Vec<_> = tried.next.iter().map(|node| node.id).collect();
        let place = |id| order.iter().position(|found| *found == id).unwrap();
        assert!(place(last) < place(left) && place(last) < place(right) && place(own) < place(right));
        assert_eq!(states(&rig, &ids), [StateKind::Active; 5]);

        let deletion = rig.delete(&alice(), &request).unwrap();
        assert!(all_deleted(&deletion) && deletion.dependents.deleted == 4);
        assert_eq!(states(&rig, &ids), [StateKind::Deleted; 5]);
        let events = rig.history(last);
        let reason = events[1].record.reason.as_deref().unwrap();
        assert!(reason.contains(&root.to_string()), "{reason}");
        assert_eq!(refusal(rig.delete(&alice(), &request)), Reason::PayloadDeleted);
        rig.check_at_rest();
    }
}

#[test]
fn a_cascade_does_not_wait_for_leases() {
    let rig = Setup::default().start();
    let ids = family(&rig);
    let session = rig.session();
    let grant = rig.lease(&session, ids[3]).unwrap();
    let deletion = rig.delete(&alice(), &end(ids[0], OnDependents::Cascade)).unwrap();
    assert!(all_deleted(&deletion));
    assert_eq!(rig.state(ids[3]), StateKind::Deleting);
    rig.release(&session, grant.lease).unwrap();
    rig.tick();
    assert_eq!(rig.state(ids[3]), StateKind::Deleted);
    rig.check_at_rest();
}

#[test]
fn fault_50_a_large_cascade_goes_on_from_call_to_call() {
    let rig = Setup::memory().start();
    let root = rig.put_derived(1, &[]).id;
    let many = limits::CASCADE_MAX + 3;
    for seed in 0..many {
        rig.put_derived(seed as u64, &[root]);
    }
    let mut request = end(root, OnDependents::Cascade);
    request.request_id = Some("c1".parse().unwrap());
    let tried = rig.try_delete(&request).unwrap().dependents;
    assert_eq!((tried.left, tried.next.len()), (many as u64, limits::CASCADE_MAX));
    let first = rig.delete(&alice(), &request).unwrap();
    assert_eq!((first.state, first.dependents.left), (StateKind::Active, 3));
    assert_eq!(first.dependents.deleted, limits::CASCADE_MAX as u64);
    let second = rig.delete(&alice(), &request).unwrap();
    assert!(all_deleted(&second) && second.dependents.deleted == 3);
    assert!(
        all_deleted(&rig.delete(&alice(), &request).unwrap()),
        "a retry gets the first answer"
    );
    rig.check_at_rest();
}

#[test]
fn the_impact_of_a_loss_is_counted_through_tombstones() {
    for backend in Backend::ALL {
        let rig = start(backend);
        let [root, left, right, last, own] = family(&rig);
        rig.remove(right).unwrap();
        let impact = rig.impact(&Default::default(), root, 2).unwrap();
        assert_eq!((impact.live, impact.live_bytes, impact.ended), (3, 300, 1));
        assert!(impact.complete);
        let nearest: Vec<_> = impact.nearest.iter().map(|node| node.id).collect();
        assert_eq!(nearest, [left, last.min(own)]);
        assert_eq!(rig.impact(&Default::default(), last, 0).unwrap().live, 0);
        assert_eq!(refusal(rig.impact(&Default::default(), root, 1_001)), Reason::BadSize);
        let nobody = PayloadId::from_parts(7, [7; 10]);
        assert_eq!(
            refusal(rig.impact(&Default::default(), nobody, 0)),
            Reason::PayloadNotFound
        );
    }
}

/// Children are published while their parent is deleted with all that descends from it: what is left in the end was published
/// to a tombstone.
#[test]
fn children_that_come_during_a_cascade_go_with_it_or_come_too_late() {
    let rig = Setup::default().start();
    for round in 0..10 {
        let root = rig.put_derived(round, &[]).id;
        let start = Barrier::new(5);
        std::thread::scope(|scope| {
            for number in 1..5 {
                let (rig, start) = (&rig, &start);
                scope.spawn(move || {
                    start.wait();
                    let child = rig.put_derived(100 * number + round, &[root]).id;
                    rig.put_derived(1_000 * number + round, &[child]);
                });
            }
            start.wait();
            let deletion = rig.delete(&alice(), &end(root, OnDependents::Cascade));
            match deletion {
                Ok(deletion) => assert!(all_deleted(&deletion)),
                Err(error) => assert_eq!(error.reason(), Reason::PayloadHasDependents),
            }
        });
        if rig.state(root) == StateKind::Active {
            assert!(all_deleted(
                &rig.delete(&alice(), &end(root, OnDependents::Cascade)).unwrap()
            ));
        }
    }
    rig.check_invariants();
}
