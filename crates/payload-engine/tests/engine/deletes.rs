//! Deletion: unleasable at once, the bytes only when nobody holds them.

use std::sync::Barrier;

use payload_core::{EventKind, Reason, StateKind};

use crate::common::calls::{bytes, delete_request};
use crate::common::{Backend, Setup, alice, bob, refusal};

#[test]
fn the_bytes_stay_until_the_last_lease_is_released() {
    for backend in Backend::ALL {
        let rig = Setup {
            backend,
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        let id = rig.put_large(&session, 3 << 20, 4).id;
        let (one, two) = (rig.lease(&session, id).unwrap(), rig.lease(&session, id).unwrap());
        let used = rig.stats().unwrap().tiers[0].usage.used;

        let deletion = rig.remove(id).unwrap();
        assert_eq!((deletion.state, deletion.leases), (StateKind::Deleting, 2));
        assert_eq!(refusal(rig.lease(&session, id)), Reason::PayloadDeleted);
        assert_eq!(refusal(rig.remove(id)), Reason::PayloadDeleted);
        rig.tick();
        assert_eq!(rig.read(&one), bytes(4, 3 << 20));
        rig.release(&session, one.lease).unwrap();
        rig.tick();
        assert_eq!(rig.stats().unwrap().tiers[0].usage.used, used);
        rig.check_invariants();

        rig.release(&session, two.lease).unwrap();
        drop((one, two));
        rig.tick();
        assert_eq!(rig.state(id), StateKind::Deleted);
        assert_eq!(rig.stats().unwrap().tiers[0].usage.used, 0);
        let kinds = rig.kinds(id);
        assert_eq!(kinds[2..], [EventKind::DeleteRequested, EventKind::Deleted]);
        rig.check_at_rest();
    }
}

#[test]
fn force_revokes_and_frees_at_once() {
    let rig = Setup::default().start();
    let (session, told) = rig.session_told();
    let remote = rig.remote(&bob());
    let id = rig.put_small(&session, 1).id;
    let grant = rig.lease(&session, id).unwrap();
    rig.lease(&remote, id).unwrap();
    let mut request = delete_request(id);
    request.force = true;
    let deletion = rig.delete(&alice(), &request).unwrap();
    assert_eq!((deletion.state, deletion.leases), (StateKind::Deleted, 0));
    assert_eq!(told.ended(), [(grant.lease, Reason::LeaseRevoked)]);
    assert_eq!(refusal(rig.release(&session, grant.lease)), Reason::LeaseRevoked);
    rig.tick();
    rig.check_at_rest();
}

#[test]
fn what_was_never_committed_cannot_be_deleted_and_a_retry_gets_the_first_answer() {
    let rig = Setup::default().start();
    let session = rig.session();
    let filled = rig.allocate_filled(&session, 100, 1);
    assert_eq!(refusal(rig.remove(filled.row.id)), Reason::PayloadNotCommitted);
    let id = rig.commit(&session, &filled.commit_request()).unwrap().id;
    let mut request = delete_request(id);
    request.request_id = Some("d1".parse().unwrap());
    let first = rig.delete(&alice(), &request).unwrap();
    assert_eq!(rig.delete(&alice(), &request).unwrap(), first);
    assert_eq!(rig.kinds(id).len(), 4);
    request.force = true;
    assert_eq!(refusal(rig.delete(&alice(), &request)), Reason::RequestIdReused);
    request.force = false;
    assert_eq!(refusal(rig.delete(&bob(), &request)), Reason::PayloadDeleted);
}

#[test]
fn sessions_are_told_of_segments_that_no_lease_will_name_again() {
    let rig = Setup::default().start();
    let (session, told) = rig.session_told();
    let id = rig.put_large(&session, 3 << 20, 1).id;
    let grant = rig.lease(&session, id).unwrap();
    let container = grant.replica().location.container();
    session.remember([container]);
    rig.release(&session, grant.lease).unwrap();
    let again = rig.lease(&session, id).unwrap();
    assert!(matches!(again.access, payload_engine::Access::Known));
    rig.release(&session, again.lease).unwrap();
    rig.remove(id).unwrap();
    assert_eq!(told.all(), [payload_engine::Notice::ContainersGone(vec![container])]);
}

#[test]
fn a_lease_granted_while_a_deletion_is_decided_keeps_the_bytes() {
    for backend in Backend::ALL {
        let rig = Setup {
            backend,
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        for seed in 0..100 {
            let row = rig.put_small(&session, seed);
            let start = Barrier::new(2);
            let grant = std::thread::scope(|scope| {
                let deleter = scope.spawn(|| {
                    start.wait();
                    rig.remove(row.id).unwrap()
                });
                start.wait();
                let grant = rig.lease(&session, row.id);
                let deletion = deleter.join().unwrap();
                assert_eq!(deletion.state == StateKind::Deleting, grant.is_ok());
                grant
            });
            rig.tick();
            if let Ok(grant) = grant {
                assert_eq!(rig.state(row.id), StateKind::Deleting);
                assert_eq!(rig.read(&grant), bytes(seed, 1000));
                let replica = row.replicas[0].location;
                rig.store(replica.tier()).check(&replica, row.size).unwrap();
                rig.release(&session, grant.lease).unwrap();
                rig.tick();
            }
            assert_eq!(rig.state(row.id), StateKind::Deleted);
        }
        rig.check_at_rest();
    }
}

#[test]
fn two_deletions_have_one_winner() {
    let rig = Setup::default().start();
    let session = rig.session();
    for seed in 0..50 {
        let id = rig.put_small(&session, seed).id;
        let start = Barrier::new(4);
        let won: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        usize::from(rig.remove(id).is_ok())
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
        assert_eq!(rig.kinds(id).len(), 3);
    }
    rig.quiesce();
    rig.check_at_rest();
}
