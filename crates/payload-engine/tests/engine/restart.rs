//! Restarts: what was acknowledged is there, who held something takes it up again, and what nobody takes up is freed.

use std::sync::Barrier;

use payload_core::{Durability, EventKind, Namespace, Reason, StateKind, Tier};
use payload_engine::{AllocationClaim, LeaseClaim};

use crate::common::calls::{allocate_request, bytes, delete_request, fill, has_writer, put_request};
use crate::common::{Backend, Rig, Setup, alice, bob, refusal, secs};

const NS: fn() -> Namespace = Namespace::default;

fn each_backend(test: impl Fn(Rig)) {
    for backend in Backend::ALL {
        test(
            Setup {
                backend,
                ..Setup::default()
            }
            .start(),
        );
    }
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    each_backend(|mut rig| {
        let session = rig.session();
        let mut kept = Vec::new();
        for (tier, durability) in [
            (Tier::Ram, Durability::Volatile),
            (Tier::Ram, Durability::Host),
            (Tier::Disk, Durability::Host),
        ] {
            if durability > rig.repository().strongest() {
                continue;
            }
            for size in [0, 700, 40_000] {
                let content = bytes(size, size);
                kept.push((
                    rig.put(&session, &put_request(&content, tier, durability)).unwrap().id,
                    content,
                ));
            }
            let filled = fill(
                rig.allocate(&session, &allocate_request(3 << 20, tier, durability))
                    .unwrap(),
                5,
            );
            kept.push((
                rig.commit(&session, &filled.commit_request()).unwrap().id,
                filled.content,
            ));
        }
        for _ in 0..2 {
            let found = rig.restart();
            assert_eq!(
                (found.lost, found.degraded, found.allocations, found.deletions),
                (0, 0, 0, 0)
            );
            let session = rig.session();
            for (id, content) in &kept {
                assert_eq!(rig.content(&session, *id), *content);
            }
            rig.close_session(&session);
            rig.quiesce();
            rig.check_at_rest();
        }
        for (id, _) in &kept {
            rig.remove(*id).unwrap();
        }
        rig.quiesce();
        rig.check_at_rest();
        assert!(rig.stats().unwrap().tiers.iter().all(|tier| tier.usage.used == 0));
    });
}

#[test]
fn fault_21_a_local_lease_is_reclaimed_within_the_grace_and_not_after() {
    each_backend(|mut rig| {
        let old = rig.session();
        let row = rig.put_large(&old, 3 << 20, 8);
        let grant = rig.lease(&old, row.id).unwrap();
        let mapped = grant.access;
        let claim = LeaseClaim {
            lease: grant.lease,
            payload: row.id,
            replica: grant.replica,
        };
        rig.restart();
        let session = rig.session();
        rig.check_resumable(&session, old.session).unwrap();
        assert_eq!(
            refusal(rig.check_resumable(&session, session.session)),
            Reason::SessionNotFound
        );

        // A deletion waits, although the new server does not know the lease yet.
        assert_eq!(rig.remove(row.id).unwrap().state, StateKind::Deleting);
        rig.tick();
        assert_eq!(rig.state(row.id), StateKind::Deleting);
        rig.advance(secs(9));
        let again = rig.reclaim_lease(&session, &NS(), claim).unwrap();
        assert_eq!(again.replica, grant.replica);
        assert_ne!(again.lease, grant.lease);
        rig.advance(secs(1));
        assert_eq!(
            rig.state(row.id),
            StateKind::Deleting,
            "the grace is over, the lease is not"
        );
        assert_eq!(rig.read(&again), bytes(8, 3 << 20));
        assert_eq!(
            refusal(rig.check_resumable(&session, old.session)),
            Reason::SessionNotFound
        );
        assert_eq!(refusal(rig.reclaim_lease(&session, &NS(), claim)), Reason::LeaseExpired);
        rig.release(&session, again.lease).unwrap();
        rig.tick();
        assert_eq!(rig.state(row.id), StateKind::Deleted);
        // Whoever never came back still sees its own bytes.
        let late = payload_engine::Grant {
            access: mapped,
            ..again
        };
        assert_eq!(rig.read(&late), bytes(8, 3 << 20));
        rig.close_session(&session);
        rig.check_at_rest();
    });
}

#[test]
fn fault_21_without_a_claim_the_bytes_go_when_the_grace_is_over() {
    each_backend(|mut rig| {
        let session = rig.session();
        let (before, after) = (rig.put_small(&session, 1).id, rig.put_small(&session, 2).id);
        rig.lease(&session, before).unwrap();
        rig.lease(&session, after).unwrap();
        rig.remove(before).unwrap();
        assert_eq!(rig.restart().deletions, 1);
        rig.tick();
        rig.remove(after).unwrap();
        let fresh = rig.put_small(&rig.session(), 3).id;
        assert_eq!(
            rig.remove(fresh).unwrap().state,
            StateKind::Deleted,
            "what is new is not held by anybody unknown"
        );
        rig.advance(secs(9));
        assert_eq!(
            (rig.state(before), rig.state(after)),
            (StateKind::Deleting, StateKind::Deleting)
        );
        rig.advance(secs(1));
        assert_eq!(
            (rig.state(before), rig.state(after)),
            (StateKind::Deleted, StateKind::Deleted)
        );
        rig.check_at_rest();
    });
}

#[test]
fn fault_21_a_remote_lease_keeps_its_full_term() {
    each_backend(|mut rig| {
        let holder = rig.remote(&alice());
        let row = rig.put_small(&holder, 1);
        let (renewed, silent) = (
            rig.lease_for(&holder, row.id, secs(120)).unwrap(),
            rig.put_small(&holder, 2).id,
        );
        rig.lease_for(&holder, silent, secs(120)).unwrap();
        rig.restart();
        let (holder, other) = (rig.remote(&alice()), rig.remote(&bob()));
        rig.remove(silent).unwrap();
        rig.advance(secs(119));
        assert_eq!(rig.state(silent), StateKind::Deleting);
        assert_eq!(refusal(rig.renew_for(&other, &renewed, None)), Reason::LeaseNotFound);
        assert_eq!(
            rig.renew_for(&holder, &renewed, Some(secs(60))).unwrap(),
            Some(secs(60))
        );
        rig.advance(secs(1));
        assert_eq!(rig.state(silent), StateKind::Deleted);
        assert_eq!(rig.remove(row.id).unwrap().state, StateKind::Deleting);
        rig.release(&holder, renewed.lease).unwrap();
        rig.tick();
        rig.check_at_rest();

        // After a later start nobody can come back any more, once its hold is over.
        let id = rig.put_small(&holder, 3).id;
        let lease = rig.lease_for(&holder, id, secs(120)).unwrap();
        rig.restart();
        rig.advance(secs(120));
        let holder = rig.remote(&alice());
        assert_eq!(refusal(rig.renew_for(&holder, &lease, None)), Reason::LeaseExpired);
    });
}

#[test]
fn an_inherited_lease_that_is_renewed_by_many_at_once_counts_once() {
    const LEASES: usize = 50;
    let mut rig = Setup::default()
        .with(|s| s.caps.leases_per_principal = 2 * LEASES)
        .start();
    let holder = rig.remote(&alice());
    // On disk, so that after the restart the row must be read, and those who wait for that go on together.
    let put = put_request(b"cold", Tier::Disk, Durability::Host);
    let leases: Vec<_> = (0..LEASES)
        .map(|_| {
            let id = rig.put(&holder, &put).unwrap().id;
            rig.lease_for(&holder, id, secs(60)).unwrap()
        })
        .collect();
    rig.restart();
    let holder = rig.remote(&alice());
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for lease in &leases {
                    start.wait();
                    rig.renew_for(&holder, lease, Some(secs(60))).unwrap();
                }
            });
        }
    });
    assert_eq!(rig.stats().unwrap().leases, LEASES);
    for lease in &leases {
        rig.release(&holder, lease.lease).unwrap();
    }
    assert_eq!(rig.stats().unwrap().leases, 0);
    (0..2 * LEASES).for_each(|_| drop(rig.lease(&holder, leases[0].row.id).unwrap()));
}

#[test]
fn without_remote_leases_before_nobody_waits_for_them() {
    let mut rig = Setup::default().start();
    let session = rig.session();
    let id = rig.put_small(&session, 1).id;
    rig.restart();
    rig.remove(id).unwrap();
    rig.advance(secs(10));
    assert_eq!(rig.state(id), StateKind::Deleted);
}

#[test]
fn open_allocations_are_taken_up_again_and_committed() {
    each_backend(|mut rig| {
        let old = rig.session();
        let request = allocate_request(100_000, Tier::Ram, Durability::Volatile);
        let (by_claim, by_token) = (
            rig.allocate(&old, &request).unwrap(),
            rig.allocate(&old, &request).unwrap(),
        );
        let lost = rig.allocate_filled(&old, 100_000, 1).row.id;
        let by_token = fill(by_token, 7);
        assert_eq!(rig.restart().allocations, 3);

        let session = rig.session();
        let claim = AllocationClaim {
            payload: by_claim.row.id,
            token: by_claim.token,
        };
        assert_eq!(
            refusal(rig.reclaim_allocation(&rig.remote(&bob()), &NS(), claim)),
            Reason::AllocationNotOwned
        );
        drop(by_claim);
        let by_claim = fill(rig.reclaim_allocation(&session, &NS(), claim).unwrap(), 6);
        assert_eq!(rig.stats().unwrap().allocations, 1);
        for filled in [&by_claim, &by_token] {
            rig.commit(&session, &filled.commit_request()).unwrap();
            assert_eq!(rig.content(&session, filled.row.id), filled.content);
        }
        rig.advance(secs(9));
        assert_eq!(rig.state(lost), StateKind::Allocated);
        rig.advance(secs(1));
        assert_eq!(rig.kinds(lost), [EventKind::Allocated, EventKind::WriterDied]);
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    });
}

#[test]
fn a_retry_after_the_restart_gets_the_first_answer() {
    each_backend(|mut rig| {
        let session = rig.session();
        let mut put = put_request(&bytes(1, 500), Tier::Ram, Durability::Volatile);
        put.request_id = Some("p".parse().unwrap());
        let mut allocate = allocate_request(500, Tier::Ram, Durability::Volatile);
        allocate.request_id = Some("a".parse().unwrap());
        let small = rig.put(&session, &put).unwrap().id;
        let open = rig.allocate(&session, &allocate).unwrap().row.id;
        rig.restart();
        let session = rig.session();
        assert_eq!(rig.put(&session, &put).unwrap().id, small);
        let again = rig.allocate(&session, &allocate).unwrap();
        assert_eq!(again.row.id, open);
        assert!(has_writer(&again), "an allocation that nobody owns is the retrier's");
        let filled = fill(again, 3);
        rig.commit(&session, &filled.commit_request()).unwrap();
        let mut delete = delete_request(small);
        delete.request_id = Some("d".parse().unwrap());
        rig.delete(&alice(), &delete).unwrap();
        rig.restart();
        rig.delete(&alice(), &delete).unwrap();
        rig.quiesce();
        rig.check_at_rest();
    });
}
