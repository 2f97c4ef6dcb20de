//! Leases: how long they last, who ends them, and that exactly one wins when two try.

use std::sync::Barrier;

use payload_core::port::Clock;
use payload_core::{Namespace, Reason, StateKind};
use payload_engine::AcquireOptions;

use crate::common::calls::delete_request;
use crate::common::{Setup, alice, bob, bytes, refusal, secs};

const NS: fn() -> Namespace = Namespace::default;

#[test]
fn terms_are_the_default_or_what_was_asked_up_to_the_maximum() {
    let rig = Setup::memory().start();
    let (local, remote) = (rig.session(), rig.remote(&alice()));
    let id = rig.put_small(&local, 1).id;
    let term = |holder, ttl| {
        let options = AcquireOptions {
            ttl,
            ..AcquireOptions::default()
        };
        rig.acquire(holder, &NS(), id, options).map(|grant| grant.expires_in)
    };
    assert_eq!(term(&local, None).unwrap(), None);
    assert_eq!(term(&remote, None).unwrap(), Some(secs(30)));
    for holder in [&local, &remote] {
        assert_eq!(term(holder, Some(secs(120))).unwrap(), Some(secs(120)));
        assert_eq!(refusal(term(holder, Some(secs(121)))), Reason::BadDuration);
    }
    rig.advance(secs(120));
    assert_eq!(rig.stats().unwrap().leases, 1, "only the lease without a term is left");
    rig.close_session(&local);
    rig.quiesce();
    assert_eq!(rig.stats().unwrap().leases, 0);
}

#[test]
fn a_lease_ends_at_its_term_and_its_holder_is_told() {
    let rig = Setup::memory().start();
    let (session, told) = rig.session_told();
    let id = rig.put_small(&session, 1).id;
    let grant = rig.lease_for(&session, id, secs(5)).unwrap();
    rig.advance(secs(4));
    assert_eq!((rig.stats().unwrap().leases, told.ended()), (1, vec![]));
    rig.advance(secs(1));
    assert_eq!(told.ended(), [(grant.lease, Reason::LeaseExpired)]);
    assert_eq!(refusal(rig.release(&session, grant.lease)), Reason::LeaseExpired);
    assert_eq!(refusal(rig.renew_for(&session, &grant, None)), Reason::LeaseExpired);
    assert_eq!(rig.stats().unwrap().leases, 0);
}

#[test]
fn renewing_moves_the_end_and_never_back() {
    let rig = Setup::memory().start();
    let holder = rig.remote(&alice());
    let id = rig.put_small(&holder, 1).id;
    let grant = rig.lease_for(&holder, id, secs(10)).unwrap();
    for _ in 0..5 {
        rig.advance(secs(9));
        assert_eq!(rig.renew_for(&holder, &grant, Some(secs(10))).unwrap(), Some(secs(10)));
    }
    assert_eq!(rig.renew_for(&holder, &grant, Some(secs(1))).unwrap(), Some(secs(10)));
    rig.advance(secs(9));
    assert_eq!(rig.stats().unwrap().leases, 1);
    rig.advance(secs(1));
    assert_eq!(rig.stats().unwrap().leases, 0);
    assert_eq!(refusal(rig.renew_for(&holder, &grant, None)), Reason::LeaseExpired);
}

#[test]
fn a_local_hold_has_a_maximum_if_one_is_set() {
    let rig = Setup::memory()
        .with(|s| s.lease_terms.local_hold_max = Some(secs(300)))
        .start();
    let (session, told) = rig.session_told();
    let id = rig.put_small(&session, 1).id;
    let unbounded = rig.lease(&session, id).unwrap();
    assert_eq!(unbounded.expires_in, Some(secs(300)));
    let renewed = rig.lease_for(&session, id, secs(100)).unwrap();
    for _ in 0..5 {
        rig.advance(secs(50));
        rig.renew_for(&session, &renewed, Some(secs(100))).unwrap();
    }
    rig.advance(secs(50));
    let mut ended = told.ended();
    ended.sort_by_key(|(lease, _)| *lease);
    let mut expected = [
        (unbounded.lease, Reason::LeaseExpired),
        (renewed.lease, Reason::LeaseExpired),
    ];
    expected.sort_by_key(|(lease, _)| *lease);
    assert_eq!(ended, expected);
}

#[test]
fn a_release_counts_once_and_only_for_the_holder() {
    let rig = Setup::memory().start();
    let (one, two) = (rig.session(), rig.session());
    let id = rig.put_small(&one, 1).id;
    let grant = rig.lease(&one, id).unwrap();
    assert_eq!(refusal(rig.release(&two, grant.lease)), Reason::LeaseNotFound);
    assert_eq!(refusal(rig.renew_for(&two, &grant, None)), Reason::LeaseNotFound);
    assert_eq!(
        refusal(rig.release(&rig.remote(&bob()), grant.lease)),
        Reason::LeaseNotFound
    );
    assert_eq!(rig.stats().unwrap().leases, 1);
    rig.release(&one, grant.lease).unwrap();
    assert_eq!(refusal(rig.release(&one, grant.lease)), Reason::LeaseNotFound);
    assert_eq!(refusal(rig.renew_for(&one, &grant, None)), Reason::LeaseNotFound);
    assert_eq!(rig.stats().unwrap().leases, 0);
}

#[test]
fn an_operator_sees_leases_and_revokes_one() {
    let rig = Setup::memory().start();
    let (session, told) = rig.session_told();
    let id = rig.put_small(&session, 1).id;
    let (kept, revoked) = (
        rig.lease(&session, id).unwrap(),
        rig.lease_for(&session, id, secs(60)).unwrap(),
    );
    rig.clock.advance(secs(7));
    let views = rig.list_leases(Some(id), 0, 10);
    assert_eq!(views.len(), 2);
    let view = views.iter().find(|view| view.serial == revoked.lease.serial()).unwrap();
    assert_eq!((view.payload, view.age, view.expires_in), (id, secs(7), Some(secs(53))));
    assert_eq!((view.peer.pid, &view.principal), (42, &alice()));

    rig.revoke(revoked.lease.serial(), "make room").unwrap();
    assert_eq!(refusal(rig.revoke(revoked.lease.serial(), "")), Reason::LeaseNotFound);
    assert_eq!(told.ended(), [(revoked.lease, Reason::LeaseRevoked)]);
    assert_eq!(refusal(rig.renew_for(&session, &revoked, None)), Reason::LeaseRevoked);
    assert_eq!(refusal(rig.release(&session, revoked.lease)), Reason::LeaseRevoked);
    rig.release(&session, kept.lease).unwrap();
}

#[test]
fn fault_20_the_wall_clock_changes_no_lease() {
    let day = 24 * 3600 * 1_000_000;
    for jump in [-day, day] {
        let rig = Setup::memory().start();
        let (session, told) = rig.session_told();
        let remote = rig.remote(&alice());
        let id = rig.put_small(&session, 1).id;
        let local = rig.lease_for(&session, id, secs(60)).unwrap();
        let afar = rig.lease_for(&remote, id, secs(60)).unwrap();
        let wall = payload_core::Timestamp::from_micros(rig.clock.wall().as_micros() + jump);
        rig.clock.set_wall(wall);
        rig.tick();
        assert_eq!(rig.stats().unwrap().leases, 2, "no lease is shorter than its term");
        assert_eq!(rig.renew_for(&remote, &afar, Some(secs(90))).unwrap(), Some(secs(90)));
        rig.advance(secs(59));
        assert_eq!(rig.stats().unwrap().leases, 2);
        rig.advance(secs(1));
        assert_eq!(
            told.ended(),
            [(local.lease, Reason::LeaseExpired)],
            "no lease is longer"
        );
        rig.advance(secs(30));
        assert_eq!(rig.stats().unwrap().leases, 0);
    }
}

#[test]
fn fault_22_no_lease_is_renewed_once_its_payload_is_deleting() {
    let rig = Setup::memory().start();
    let holder = rig.remote(&alice());
    let id = rig.put_small(&holder, 1).id;
    let grant = rig.lease(&holder, id).unwrap();
    assert_eq!(rig.remove(id).unwrap().state, StateKind::Deleting);
    assert_eq!(refusal(rig.renew_for(&holder, &grant, None)), Reason::PayloadDeleted);
    assert_eq!(rig.state(id), StateKind::Deleting);
    rig.advance(secs(30));
    assert_eq!(rig.state(id), StateKind::Deleted);
    rig.check_at_rest();
}

#[test]
fn fault_22_a_renewal_and_the_expiry_of_one_lease_have_one_winner() {
    let rig = Setup::memory().start();
    let holder = rig.remote(&alice());
    let id = rig.put_small(&holder, 1).id;
    for _ in 0..300 {
        let grant = rig.lease_for(&holder, id, secs(10)).unwrap();
        rig.clock.advance(secs(9));
        let start = Barrier::new(3);
        let renewed = std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                rig.clock.advance(secs(1));
                rig.run_timers();
            });
            scope.spawn(|| {
                start.wait();
                rig.run_timers();
            });
            start.wait();
            rig.renew_for(&holder, &grant, Some(secs(10)))
        });
        match renewed {
            Ok(_) => rig
                .release(&holder, grant.lease)
                .expect("a lease that was renewed is there"),
            Err(error) => assert_eq!(error.reason(), Reason::LeaseExpired),
        }
        rig.run_timers();
        assert_eq!(rig.stats().unwrap().leases, 0);
    }
}

#[test]
fn fault_22_renewal_forced_deletion_and_revocation_race_to_a_clean_end() {
    let rig = Setup::memory().start();
    for seed in 0..200 {
        let (session, told) = rig.session_told();
        let id = rig.put_small(&session, seed).id;
        let grant = rig.lease_for(&session, id, secs(10)).unwrap();
        let start = Barrier::new(4);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                let mut request = delete_request(id);
                request.force = true;
                rig.delete(&alice(), &request).unwrap();
            });
            scope.spawn(|| {
                start.wait();
                let _either = rig.revoke(grant.lease.serial(), "");
            });
            scope.spawn(|| {
                start.wait();
                for _ in 0..20 {
                    // Whoever comes too late gets no lease that would hold the deletion up.
                    if let Ok(late) = rig.lease(&session, id) {
                        let _either = rig.renew_for(&session, &late, Some(secs(10)));
                    }
                }
            });
            start.wait();
            let _either = rig.renew_for(&session, &grant, Some(secs(10)));
        });
        assert_eq!(rig.stats().unwrap().leases, 0, "a forced deletion leaves no lease");
        rig.run_drains();
        assert_eq!(rig.state(id), StateKind::Deleted);
        assert_eq!(
            told.ended().iter().filter(|(lease, _)| *lease == grant.lease).count(),
            1
        );
        rig.close_session(&session);
    }
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn the_quick_path_grants_what_is_in_memory_and_leaves_the_rest_to_the_other() {
    let rig = Setup::default().start();
    let session = rig.session();
    let content = bytes(3, 900);
    let options = AcquireOptions {
        inline_max: 1 << 20,
        ..AcquireOptions::default()
    };
    let on_disk = crate::common::calls::put_request(&content, payload_core::Tier::Disk, payload_core::Durability::Host);
    let disk = rig.put(&session, &on_disk).unwrap().id;
    let ram = rig.put_small(&session, 3).id;
    let grant = rig.acquire_quick(&session, &NS(), ram, options).unwrap().unwrap();
    assert_eq!(rig.read(&grant), bytes(3, 1000));
    rig.release(&session, grant.lease).unwrap();
    assert!(rig.acquire_quick(&session, &NS(), disk, options).is_none());
    assert_eq!(rig.stats().unwrap().leases, 0);
    let unknown = payload_core::PayloadId::from_parts(5, [5; 10]);
    assert!(rig.acquire_quick(&session, &NS(), unknown, options).is_none());
}
