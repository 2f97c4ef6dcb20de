//! Sessions: what they held is back when they close, what others hold is not theirs, and nobody gets more than a share.

use std::sync::Barrier;

use payload_core::{Durability, EventKind, Namespace, Reason, StateKind, Tier};
use payload_engine::{AllocationClaim, Peer};

use crate::common::calls::{allocate_request, bytes, fill};
use crate::common::{Backend, Setup, Told, alice, bob, refusal};

const NS: fn() -> Namespace = Namespace::default;

#[test]
fn fault_16_a_closed_session_holds_nothing() {
    let rig = Setup::memory().start();
    let (dying, other) = (rig.session(), rig.session());
    let id = rig.put_small(&dying, 1).id;
    for _ in 0..3 {
        rig.lease(&dying, id).unwrap();
    }
    let kept = rig.lease(&other, id).unwrap();
    rig.remove(id).unwrap();
    rig.close_session(&dying);
    rig.close_session(&dying);
    rig.tick();
    assert_eq!((rig.stats().unwrap().leases, rig.state(id)), (1, StateKind::Deleting));
    assert_eq!(rig.read(&kept), bytes(1, 1000));
    rig.close_session(&other);
    rig.tick();
    assert_eq!((rig.stats().unwrap().sessions, rig.state(id)), (0, StateKind::Deleted));
    rig.check_at_rest();
    assert_eq!(
        refusal(rig.lease(&dying, rig.put_small(&rig.session(), 2).id)),
        Reason::SessionNotFound
    );
    assert_eq!(rig.stats().unwrap().leases, 0);
}

#[test]
fn fault_17_the_allocations_of_a_closed_session_are_aborted_with_an_event() {
    for backend in Backend::ALL {
        let rig = Setup {
            backend,
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        let half_written = rig.allocate_filled(&session, 3 << 20, 1).row.id;
        let small = rig.allocate_filled(&session, 0, 1).row.id;
        let committed = rig.put_large(&session, 100, 2).id;
        rig.close_session(&session);
        for id in [half_written, small] {
            assert_eq!(rig.kinds(id), [EventKind::Allocated, EventKind::WriterDied]);
        }
        assert_eq!(rig.state(committed), StateKind::Active);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn fault_17_a_commit_in_flight_beats_the_close_or_loses_to_it_whole() {
    let rig = Setup::memory().start();
    for seed in 0..200 {
        let session = rig.session();
        let filled = rig.allocate_filled(&session, 2_000, seed);
        let start = Barrier::new(2);
        let committed = std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                rig.close_session(&session);
            });
            start.wait();
            rig.commit(&session, &filled.commit_request())
        });
        let expected = match committed {
            Ok(_) => StateKind::Active,
            Err(_) => StateKind::Aborted,
        };
        assert_eq!(rig.state(filled.row.id), expected);
        assert_eq!(rig.stats().unwrap().allocations, 0);
    }
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn an_allocation_made_while_its_session_closes_leaves_nothing() {
    let rig = Setup::memory().with(|s| s.caps.allocations_per_principal = 1).start();
    for seed in 0..200 {
        let session = rig.session();
        let start = Barrier::new(2);
        let id = std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                rig.close_session(&session);
            });
            start.wait();
            rig.allocate_filled(&session, 2_000, seed).row.id
        });
        assert_eq!(
            (rig.state(id), rig.stats().unwrap().allocations),
            (StateKind::Aborted, 0)
        );
    }
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn fault_26_one_principal_reaches_its_caps_and_another_does_not_notice() {
    let rig = Setup::memory()
        .with(|s| {
            s.caps.sessions_per_principal = 3;
            s.caps.leases_per_principal = 5;
            s.caps.allocations_per_principal = 4;
        })
        .start();
    let open = |principal| rig.open_session(&principal, Peer::default(), Box::new(Told::default()));
    // Twice: what was given back can be had again, and no more.
    for _ in 0..2 {
        let greedy: Vec<_> = (0..3).map(|_| open(alice()).unwrap()).collect();
        let refused = open(alice()).unwrap_err();
        assert_eq!(refused.reason(), Reason::TooManySessions);
        assert!(refused.retry_delay().is_some());
        let modest = open(bob()).unwrap();
        let remote = rig.remote(&alice());

        let id = rig.put_small(&modest, 1).id;
        let leases: Vec<_> = greedy
            .iter()
            .cycle()
            .take(5)
            .map(|session| rig.lease(session, id).unwrap())
            .collect();
        for holder in greedy.iter().chain([&remote]) {
            assert_eq!(refusal(rig.lease(holder, id)), Reason::TooManyLeases);
        }
        rig.lease(&modest, id).unwrap();
        rig.release(&greedy[0], leases[0].lease).unwrap();
        rig.lease(&greedy[1], id).unwrap();

        let request = allocate_request(100, Tier::Ram, Durability::Volatile);
        let open: Vec<_> = (0..4)
            .map(|_| fill(rig.allocate(&greedy[2], &request).unwrap(), 1))
            .collect();
        assert_eq!(refusal(rig.allocate(&greedy[0], &request)), Reason::TooManyAllocations);
        assert_eq!(refusal(rig.allocate(&remote, &request)), Reason::TooManyAllocations);
        let theirs = rig.allocate(&modest, &request).unwrap();
        rig.commit(&greedy[2], &open[0].commit_request()).unwrap();
        rig.abort(&greedy[2], &NS(), open[1].row.id, None, "".into()).unwrap();
        rig.allocate(&greedy[0], &request).unwrap();
        rig.allocate(&greedy[0], &request).unwrap();
        assert_eq!(refusal(rig.allocate(&greedy[1], &request)), Reason::TooManyAllocations);
        drop(theirs);

        greedy
            .iter()
            .chain([&modest])
            .for_each(|session| rig.close_session(session));
        let stats = rig.stats().unwrap();
        assert_eq!((stats.sessions, stats.leases, stats.allocations), (0, 0, 0));
    }
}

#[test]
fn fault_26_the_server_has_a_cap_of_its_own() {
    let rig = Setup::memory().with(|s| s.caps.sessions = 2).start();
    let open = |principal| rig.open_session(&principal, Peer::default(), Box::new(Told::default()));
    let one = open(alice()).unwrap();
    let _two = open(bob()).unwrap();
    for _ in 0..60 {
        assert_eq!(refusal(open(alice())), Reason::TooManySessions);
    }
    rig.close_session(&one);
    open(alice()).unwrap();
}

#[test]
fn fault_53_what_one_session_holds_is_of_no_use_to_another() {
    let rig = Setup::memory().start();
    let victim = rig.session();
    let thieves = [
        rig.session(),
        rig.open_session(&bob(), Peer::default(), Box::new(Told::default()))
            .unwrap(),
        rig.remote(&alice()),
        rig.remote(&bob()),
    ];
    let id = rig.put_small(&victim, 1).id;
    let grant = rig.lease(&victim, id).unwrap();
    let filled = rig.allocate_filled(&victim, 500, 2);
    let claim = AllocationClaim {
        payload: filled.row.id,
        token: filled.token,
    };
    for thief in &thieves {
        assert_eq!(refusal(rig.release(thief, grant.lease)), Reason::LeaseNotFound);
        assert_eq!(refusal(rig.renew_for(thief, &grant, None)), Reason::LeaseNotFound);
        assert_eq!(
            refusal(rig.check_resumable(thief, victim.session)),
            Reason::SessionNotFound
        );
        let lease = payload_engine::LeaseClaim {
            lease: grant.lease,
            payload: id,
            replica: grant.replica,
        };
        rig.reclaim_lease(thief, &NS(), lease).unwrap_err();
        assert_eq!(
            refusal(rig.commit(thief, &filled.commit_request())),
            Reason::AllocationNotOwned
        );
        let stolen = Some(filled.token);
        let abort = rig.abort(thief, &NS(), filled.row.id, stolen, "".into());
        assert_eq!(refusal(abort), Reason::AllocationNotOwned);
        assert_eq!(
            refusal(rig.reclaim_allocation(thief, &NS(), claim)),
            Reason::AllocationNotOwned
        );
    }
    assert_eq!(rig.stats().unwrap().leases, 1);
    rig.commit(&victim, &filled.commit_request()).unwrap();
    rig.release(&victim, grant.lease).unwrap();
}

#[test]
fn an_allocation_made_from_afar_moves_to_a_session_of_the_same_principal() {
    let rig = Setup::memory().start();
    let (remote, session, other) = (rig.remote(&alice()), rig.session(), rig.session());
    let request = allocate_request(500, Tier::Ram, Durability::Volatile);
    let mut allocation = rig.allocate(&remote, &request).unwrap();
    let claim = AllocationClaim {
        payload: allocation.row.id,
        token: allocation.token,
    };
    allocation.filling = rig.reclaim_allocation(&session, &NS(), claim).unwrap().filling;
    assert_eq!(rig.stats().unwrap().allocations, 1);
    let filled = fill(allocation, 3);
    assert_eq!(
        refusal(rig.reclaim_allocation(&other, &NS(), claim)),
        Reason::AllocationNotOwned
    );
    assert_eq!(
        refusal(rig.commit(&remote, &filled.commit_request())),
        Reason::AllocationNotOwned
    );
    let row = rig.commit(&session, &filled.commit_request()).unwrap();
    assert_eq!(rig.content(&session, row.id), filled.content);
    assert_eq!(rig.stats().unwrap().allocations, 0);
}
