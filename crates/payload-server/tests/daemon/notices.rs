//! What the server tells a session without being asked.

use payload_proto::v1;
use payload_proto::v1::notice::Notice;

use crate::support::World;
use crate::support::refusal::{outcome, reason};
use crate::support::samples::{acquire, content, delete, release, renew};

#[test]
fn the_holder_of_a_revoked_lease_is_told_and_others_are_not() {
    let world = World::start();
    let (holder, other) = (world.session(), world.session());
    let payload_id = holder.put_id(b"x");
    let lease = holder.lease(&payload_id).lease;
    let others = other.lease(&payload_id).lease;
    let grpc = world.grpc();
    let leases = grpc.list_leases(v1::ListLeasesRequest::default()).unwrap().leases;
    let serial = leases.iter().map(|lease| lease.lease_serial).min().unwrap();
    let request = v1::RevokeLeaseRequest {
        lease_serial: serial,
        reason: "maintenance".to_owned(),
    };
    grpc.revoke_lease(request.clone()).unwrap();

    let Notice::LeaseEnded(ended) = holder.notice() else {
        panic!("another notice");
    };
    assert_eq!(ended.lease_id, lease.lease_id);
    assert_eq!((&*ended.reason, &*ended.message), ("LEASE_REVOKED", "maintenance"));
    let renewed = holder.renew(renew(&lease.lease_id, None)).unwrap().results.remove(0);
    assert_eq!(reason(outcome(renewed.failure)), "LEASE_REVOKED");
    assert_eq!(reason(grpc.revoke_lease(request)), "LEASE_NOT_FOUND");
    let renewed = other.renew(renew(&others.lease_id, None)).unwrap().results.remove(0);
    outcome(renewed.failure).unwrap();
}

#[test]
fn a_holder_is_told_when_its_lease_runs_out() {
    let world = World::start();
    let session = world.session();
    let request = v1::AcquireRequest {
        ttl_ms: Some(1),
        ..acquire(&[&session.put_id(b"x")])
    };
    let lease = session.acquire(request).unwrap().remove(0).unwrap().lease;
    let Notice::LeaseEnded(ended) = session.notice() else {
        panic!("another notice");
    };
    assert_eq!(
        (ended.lease_id, &*ended.reason),
        (lease.lease_id.clone(), "LEASE_EXPIRED")
    );
    let renewed = session.renew(renew(&lease.lease_id, None)).unwrap().results.remove(0);
    assert_eq!(reason(outcome(renewed.failure)), "LEASE_EXPIRED");
}

#[test]
fn who_has_a_container_open_is_told_when_it_is_gone() {
    let world = World::start();
    let (reader, stranger) = (world.session(), world.session());
    let payload = reader.publish(&content(3 << 20, 1));
    let held = reader.lease(&payload.payload_id);
    let container = held
        .lease
        .descriptor
        .as_ref()
        .unwrap()
        .location
        .as_ref()
        .unwrap()
        .container_id
        .clone();
    world.grpc().delete_payload(delete(&payload.payload_id)).unwrap();
    reader.release(release(&[&held.lease.lease_id])).unwrap();
    let Notice::ContainersGone(gone) = reader.notice() else {
        panic!("another notice");
    };
    assert_eq!(gone.container_ids, [container]);
    // The stranger never had it: the next thing it hears is an answer.
    stranger.put_id(b"x");
}

#[test]
fn a_forced_deletion_revokes_every_lease() {
    let world = World::start();
    let sessions = [world.session(), world.session()];
    let payload_id = sessions[0].put_id(b"x");
    let leases: Vec<v1::Lease> = sessions
        .iter()
        .map(|session| session.lease(&payload_id).lease)
        .collect();
    let request = v1::DeletePayloadRequest {
        force: true,
        ..delete(&payload_id)
    };
    let deletion = world.grpc().delete_payload(request).unwrap();
    assert_eq!((deletion.state(), deletion.leases), (v1::State::Deleted, 0));
    for (session, lease) in sessions.iter().zip(leases) {
        let Notice::LeaseEnded(ended) = session.notice() else {
            panic!("another notice");
        };
        assert_eq!((ended.lease_id, &*ended.reason), (lease.lease_id, "LEASE_REVOKED"));
    }
}

#[test]
fn a_holder_of_very_many_leases_is_told_of_each_and_keeps_its_session() {
    let world = World::start();
    let session = world.session();
    let payload_id = session.put_id(b"x");
    let batch = acquire(&[&*payload_id; 64]);
    for _ in 0..100 {
        session.acquire(batch.clone()).unwrap();
    }
    assert_eq!(world.stats().leases, 6_400);
    let request = v1::DeletePayloadRequest {
        force: true,
        ..delete(&payload_id)
    };
    world.grpc().delete_payload(request).unwrap();
    let ended = (0..6_400).filter(|_| matches!(session.notice(), Notice::LeaseEnded(_)));
    assert_eq!(ended.count(), 6_400);
    session.put_id(b"the session goes on");
}
