//! Time to live and time to commit, by the wall clock.

use payload_core::{Durability, EventKind, Reason, StateKind, Tier};

use crate::common::calls::{allocate_request, bytes, fill, put_request};
use crate::common::{Backend, Setup, refusal, secs};

#[test]
fn the_time_to_live_counts_from_the_commit() {
    for backend in Backend::ALL {
        let rig = Setup {
            backend,
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        let mut request = allocate_request(1_000, Tier::Ram, Durability::Volatile);
        request.ttl = Some(secs(60));
        let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
        rig.advance(secs(100));
        let id = rig.commit(&session, &filled.commit_request()).unwrap().id;
        let mut put = put_request(&bytes(1, 10), Tier::Ram, Durability::Volatile);
        put.ttl = Some(secs(60));
        let small = rig.put(&session, &put).unwrap().id;
        rig.advance(secs(59));
        assert_eq!(rig.content(&session, id), filled.content);
        assert_eq!(rig.state(small), StateKind::Active);

        rig.clock.advance(secs(1));
        assert_eq!(
            refusal(rig.lease(&session, id)),
            Reason::PayloadExpired,
            "before any sweep"
        );
        rig.tick();
        for id in [id, small] {
            assert_eq!(rig.state(id), StateKind::Deleted);
            let kinds = rig.kinds(id);
            assert_eq!(kinds[kinds.len() - 2..], [EventKind::Expired, EventKind::Deleted]);
        }
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn a_live_lease_keeps_the_bytes_of_an_expired_payload() {
    let rig = Setup::default().start();
    let session = rig.session();
    let mut put = put_request(&bytes(1, 1_000), Tier::Ram, Durability::Volatile);
    put.ttl = Some(secs(60));
    let id = rig.put(&session, &put).unwrap().id;
    let grant = rig.lease_for(&session, id, secs(100)).unwrap();
    rig.advance(secs(60));
    assert_eq!(rig.state(id), StateKind::Deleting);
    assert_eq!(refusal(rig.renew_for(&session, &grant, None)), Reason::PayloadDeleted);
    assert_eq!(rig.read(&grant), bytes(1, 1_000));
    rig.check_invariants();
    rig.release(&session, grant.lease).unwrap();
    rig.tick();
    assert_eq!(rig.state(id), StateKind::Deleted);
    rig.check_at_rest();
}

#[test]
fn fault_06_sweeping_again_adds_nothing() {
    for backend in Backend::ALL {
        let rig = Setup {
            backend,
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        let mut put = put_request(&bytes(1, 10), Tier::Ram, Durability::Volatile);
        put.ttl = Some(secs(1));
        let ids: Vec<_> = (0..600).map(|_| rig.put(&session, &put).unwrap().id).collect();
        let held = rig.lease(&session, ids[7]).unwrap();
        rig.clock.advance(secs(1));
        for _ in 0..3 {
            assert_eq!(rig.expire_due().unwrap(), None, "nothing is left to wait for");
            rig.run_drains();
        }
        rig.release(&session, held.lease).unwrap();
        rig.tick();
        for id in ids {
            assert_eq!(
                rig.kinds(id),
                [EventKind::Committed, EventKind::Expired, EventKind::Deleted]
            );
        }
        rig.check_at_rest();
    }
}

#[test]
fn an_allocation_that_takes_too_long_is_aborted() {
    let rig = Setup::default().start();
    let session = rig.session();
    let mut request = allocate_request(1_000, Tier::Ram, Durability::Volatile);
    let default = fill(rig.allocate(&session, &request).unwrap(), 1);
    request.timeout = Some(secs(30));
    let own = fill(rig.allocate(&session, &request).unwrap(), 1);
    assert_eq!(rig.expire_due().unwrap(), Some(secs(30)));
    rig.advance(secs(30));
    assert_eq!(
        rig.kinds(own.row.id),
        [EventKind::Allocated, EventKind::AllocationTimedOut]
    );
    assert_eq!(
        refusal(rig.commit(&session, &own.commit_request())),
        Reason::PayloadAborted
    );
    assert_eq!(rig.stats().unwrap().allocations, 1);
    rig.advance(secs(570));
    assert_eq!(
        refusal(rig.commit(&session, &default.commit_request())),
        Reason::PayloadAborted
    );
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn nonsense_durations_are_refused() {
    let rig = Setup::memory().start();
    let session = rig.session();
    for span in [std::time::Duration::ZERO, std::time::Duration::MAX] {
        let mut request = allocate_request(1_000, Tier::Ram, Durability::Volatile);
        request.ttl = Some(span);
        assert_eq!(refusal(rig.allocate(&session, &request)), Reason::BadDuration);
        (request.ttl, request.timeout) = (None, Some(span));
        assert_eq!(refusal(rig.allocate(&session, &request)), Reason::BadDuration);
        let mut put = put_request(b"x", Tier::Ram, Durability::Volatile);
        put.ttl = Some(span);
        assert_eq!(refusal(rig.put(&session, &put)), Reason::BadDuration);
    }
    assert!(rig.rows().is_empty());
}
