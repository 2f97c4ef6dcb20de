//! The main story over the local socket: allocate, write, commit, lease, read, release.

use std::os::unix::fs::FileExt;

use payload_core::Digest;
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;

use crate::support::local::held;
use crate::support::map::Map;
use crate::support::refusal::{outcome, reason};
use crate::support::samples::{abort, acquire, allocate, commit, content, fill, get, put, read, release, renew};
use crate::support::{World, used};

const SIZE: usize = 300_000;

#[test]
fn a_greeting_names_the_node_and_its_epoch() {
    let world = World::start();
    let hello = crate::support::local::Local::connect(world.socket()).hello().unwrap();
    let stats = world.stats();
    assert_eq!((hello.node_id, hello.epoch), (stats.node_id, stats.epoch));
    assert_eq!(hello.inline_max, 64 << 10);
    assert!(!hello.session_id.is_empty());
}

#[test]
fn bytes_written_through_a_mapping_are_read_by_another_session() {
    let world = World::start();
    let (writer, reader) = (world.session(), world.session());
    let bytes = content(SIZE, 7);
    let (allocation, fd) = writer.allocate(allocate(SIZE as u64)).unwrap();
    assert_eq!(allocation.tier(), v1::Tier::Ram);
    assert_eq!(allocation.location.as_ref().unwrap().length, SIZE as u64);
    fill(fd.unwrap(), &bytes);
    let request = v1::CommitRequest {
        digest: Digest::of(&bytes).to_string(),
        ..commit(&allocation.payload_id)
    };
    let payload = writer.commit(request.clone()).unwrap().payload.unwrap();
    assert_eq!(payload.state(), v1::State::Active);
    assert_eq!((payload.size, &payload.digest), (SIZE as u64, &request.digest));

    let held = reader.lease(&payload.payload_id);
    assert_eq!(held.read(), bytes);
    assert_eq!(held.lease.expires_in_ms, None);
    assert_eq!(held.lease.content, None);
    let descriptor = held.lease.descriptor.unwrap();
    assert_eq!((descriptor.size, descriptor.digest), (SIZE as u64, payload.digest));
}

#[test]
fn a_reader_gets_a_descriptor_that_cannot_write() {
    let world = World::start();
    let session = world.session();
    let payload = session.publish(&content(SIZE, 1));
    let fd = session.lease(&payload.payload_id).fd.unwrap();
    assert!(Map::writable(&fd, SIZE).is_err());
    assert!(std::fs::File::from(fd).write_at(b"x", 0).is_err());
}

#[test]
fn a_containers_descriptor_comes_once_until_it_is_forgotten() {
    let world = World::start();
    let session = world.session();
    let payload = session.publish(&content(SIZE, 1));
    let first = session.lease(&payload.payload_id);
    assert!(first.fd.is_some());
    let second = session.lease(&payload.payload_id);
    assert!(second.fd.is_none());
    assert_eq!(
        read(&second.lease, first.fd.as_ref().unwrap()),
        content(SIZE, 1),
        "what came with the first lease serves the second"
    );
    let container = first.lease.descriptor.unwrap().location.unwrap().container_id;
    let forget = v1::ForgetRequest {
        container_ids: vec![container],
    };
    session.forget(forget).unwrap();
    assert_eq!(session.lease(&payload.payload_id).read(), content(SIZE, 1));
    // Another session has its own count.
    assert!(world.session().lease(&payload.payload_id).fd.is_some());
}

#[test]
fn small_contents_come_inside_the_answer() {
    let world = World::start();
    let session = world.session();
    let payload_id = session.put_id(b"hello");
    let request = v1::AcquireRequest {
        inline_max: 5,
        ..acquire(&[&payload_id])
    };
    let held = session.acquire(request).unwrap().remove(0).unwrap();
    assert_eq!(held.lease.content.as_deref(), Some(&b"hello"[..]));
    assert!(held.fd.is_none());
    // One byte less, and it comes through a descriptor.
    let request = v1::AcquireRequest {
        inline_max: 4,
        ..acquire(&[&payload_id])
    };
    let held = session.acquire(request).unwrap().remove(0).unwrap();
    assert_eq!(held.lease.content, None);
    assert_eq!(held.read(), b"hello");
}

#[test]
fn a_descriptor_comes_once_unless_it_is_asked_for_again() {
    let world = World::start();
    let session = world.session();
    let payload_id = session.put_id(b"hello");
    let fds = |resend_descriptor| {
        let request = v1::AcquireRequest {
            resend_descriptor,
            ..acquire(&[&payload_id])
        };
        session.acquire(request).unwrap().remove(0).unwrap().fd.is_some()
    };
    assert_eq!(
        [fds(false), fds(false), fds(true), fds(false)],
        [true, false, true, false]
    );
}

#[test]
fn an_empty_payload_is_a_payload() {
    let world = World::start();
    let session = world.session();
    let (allocation, fd) = session.allocate(allocate(0)).unwrap();
    assert!(fd.is_none());
    session.commit(commit(&allocation.payload_id)).unwrap();
    let held = session.lease(&allocation.payload_id);
    assert_eq!(held.lease.content.as_deref(), Some(&b""[..]));
    let put = session.put_id(b"");
    assert_eq!(session.lease(&put).lease.content.as_deref(), Some(&b""[..]));
}

#[test]
fn a_commit_may_shrink_and_gives_the_rest_back() {
    let world = World::start();
    let session = world.session();
    let (allocation, fd) = session.allocate(allocate(8 << 20)).unwrap();
    let before = used(&world.stats(), v1::Tier::Ram);
    fill(fd.unwrap(), b"short");
    let request = v1::CommitRequest {
        size: Some(5),
        ..commit(&allocation.payload_id)
    };
    assert_eq!(session.commit(request).unwrap().payload.unwrap().size, 5);
    assert_eq!(session.lease(&allocation.payload_id).read(), b"short");
    assert!(used(&world.stats(), v1::Tier::Ram) < before / 2);
}

#[test]
fn disk_and_host_durability_have_their_replicas_on_disk() {
    let world = World::start();
    let session = world.session();
    let bytes = content(SIZE, 3);
    let on_disk = v1::AllocateRequest {
        tier: v1::Tier::Disk.into(),
        ..allocate(SIZE as u64)
    };
    let written_through = v1::AllocateRequest {
        durability: v1::Durability::Host.into(),
        ..allocate(SIZE as u64)
    };
    for (request, tiers) in [
        (on_disk, &[v1::Tier::Disk][..]),
        (written_through, &[v1::Tier::Ram, v1::Tier::Disk]),
    ] {
        let (allocation, fd) = session.allocate(request).unwrap();
        let file = std::fs::File::from(fd.unwrap());
        file.write_all_at(&bytes, 0).unwrap();
        drop(file);
        let payload = session.commit(commit(&allocation.payload_id)).unwrap().payload.unwrap();
        let found: Vec<v1::Tier> = payload.replicas.iter().map(v1::Replica::tier).collect();
        assert_eq!(found, tiers);
        assert_eq!(payload.durability(), v1::Durability::Host);
        assert_eq!(session.lease(&allocation.payload_id).read(), bytes);
    }
    let put = v1::PutRequest {
        tier: v1::Tier::Disk.into(),
        ..put(b"packed")
    };
    let payload = session.put(put).unwrap().payload.unwrap();
    assert_eq!(session.lease(&payload.payload_id).read(), b"packed");
}

#[test]
fn a_released_lease_is_gone_and_a_renewed_one_lasts_longer() {
    let world = World::start();
    let session = world.session();
    let payload_id = session.put_id(b"x");
    let request = v1::AcquireRequest {
        ttl_ms: Some(20_000),
        ..acquire(&[&payload_id])
    };
    let lease = session.acquire(request).unwrap().remove(0).unwrap().lease;
    assert!(lease.expires_in_ms.unwrap() <= 20_000);
    let renewed = session
        .renew(renew(&lease.lease_id, Some(100_000)))
        .unwrap()
        .results
        .remove(0);
    outcome(renewed.failure).unwrap();
    assert!(renewed.expires_in_ms.unwrap() > 20_000);
    assert_eq!(world.stats().leases, 1);

    let first = session.release(release(&[&lease.lease_id])).unwrap().results.remove(0);
    outcome(first.failure).unwrap();
    assert_eq!(world.stats().leases, 0);
    let second = session.release(release(&[&lease.lease_id])).unwrap().results.remove(0);
    assert_eq!(reason(outcome(second.failure)), "LEASE_NOT_FOUND");
}

#[test]
fn an_abort_gives_the_room_back_and_is_written_down() {
    let world = World::start();
    let session = world.session();
    let (allocation, fd) = session.allocate(allocate(32 << 20)).unwrap();
    drop(fd);
    assert!(used(&world.stats(), v1::Tier::Ram) >= 32 << 20);
    let request = v1::AbortRequest {
        reason: "changed my mind".to_owned(),
        ..abort(&allocation.payload_id)
    };
    session.abort(request).unwrap();
    assert_eq!(used(&world.stats(), v1::Tier::Ram), 0);
    assert_eq!(world.events(&allocation.payload_id), ["allocated", "aborted"]);
    let payload = world
        .grpc()
        .get_payload(get(&allocation.payload_id))
        .unwrap()
        .payload
        .unwrap();
    assert_eq!(payload.state(), v1::State::Aborted);
}

#[test]
fn an_acquire_waits_for_the_commit_while_the_session_goes_on() {
    let world = World::start();
    let (writer, reader) = (world.session(), world.session());
    let (allocation, fd) = writer.allocate(allocate(SIZE as u64)).unwrap();
    let waiting = v1::AcquireRequest {
        wait_ms: 600_000,
        ..acquire(&[&allocation.payload_id])
    };
    let waiting = reader.send(Request::Acquire(waiting));
    // Requests behind the one that waits are answered; so it does wait.
    let other = reader.send(Request::Put(put(b"meanwhile")));
    assert_eq!(reader.answer().message.correlation_id, other);

    fill(fd.unwrap(), &content(SIZE, 5));
    writer.commit(commit(&allocation.payload_id)).unwrap();
    let (response, fds) = reader.await_answer(waiting).unwrap();
    let Response::Acquire(response) = response else {
        panic!("{response:?}");
    };
    assert_eq!(held(response, fds).remove(0).unwrap().read(), content(SIZE, 5));
}

#[test]
fn a_waiting_acquire_hears_of_the_abort_and_of_its_deadline() {
    let world = World::start();
    let (writer, reader) = (world.session(), world.session());
    let (allocation, _fd) = writer.allocate(allocate(100)).unwrap();
    let wait = |wait_ms| v1::AcquireRequest {
        wait_ms,
        ..acquire(&[&allocation.payload_id])
    };
    let answer = reader.acquire(wait(1)).unwrap().remove(0);
    assert_eq!(reason(answer), "WAIT_TIMED_OUT");
    // The first item uses the time up; nothing is left for the second one.
    let (second, _fd) = writer.allocate(allocate(100)).unwrap();
    let both = v1::AcquireRequest {
        wait_ms: 1,
        ..acquire(&[&allocation.payload_id, &second.payload_id])
    };
    for answer in reader.acquire(both).unwrap() {
        assert_eq!(reason(answer), "WAIT_TIMED_OUT");
    }

    let waiting = reader.send(Request::Acquire(wait(600_000)));
    let other = reader.send(Request::Put(put(b"meanwhile")));
    assert_eq!(reader.answer().message.correlation_id, other);
    writer.abort(abort(&allocation.payload_id)).unwrap();
    let Ok((Response::Acquire(response), fds)) = reader.await_answer(waiting) else {
        panic!("the batch is answered as a whole");
    };
    assert_eq!(reason(held(response, fds).remove(0)), "PAYLOAD_ABORTED");
}

#[test]
fn a_retry_with_the_same_request_id_gets_the_first_answer() {
    let world = World::start();
    let session = world.session();
    let request = v1::AllocateRequest {
        request_id: "a1".to_owned(),
        ..allocate(SIZE as u64)
    };
    let (first, fd) = session.allocate(request.clone()).unwrap();
    let (again, again_fd) = session.allocate(request.clone()).unwrap();
    assert_eq!(first.payload_id, again.payload_id);
    assert_eq!(first.allocation_token, again.allocation_token);
    assert!(again_fd.is_some());
    drop((fd, again_fd));
    assert_eq!(world.stats().allocations, 1);

    let request = v1::CommitRequest {
        request_id: "c1".to_owned(),
        ..commit(&first.payload_id)
    };
    let committed = session.commit(request.clone()).unwrap();
    assert_eq!(session.commit(request).unwrap(), committed);
    assert_eq!(world.events(&first.payload_id), ["allocated", "committed"]);

    let request = v1::PutRequest {
        request_id: "p1".to_owned(),
        ..put(b"once")
    };
    let payload = session.put(request.clone()).unwrap();
    assert_eq!(session.put(request).unwrap(), payload);
}

#[test]
fn an_allocation_whose_descriptor_is_lost_is_found_again_by_its_token() {
    let world = World::start();
    let session = world.session();
    let (allocation, fd) = session.allocate(allocate(SIZE as u64)).unwrap();
    let lease = session.lease(&session.put_id(b"x")).lease;
    fill(fd.unwrap(), &content(SIZE, 9));
    // Only a restarted server has anything to reclaim: while it runs, the session's own things are still its own.
    let request = v1::ReclaimRequest {
        leases: vec![v1::LeaseRef {
            lease_id: lease.lease_id,
            ..Default::default()
        }],
        allocations: vec![v1::AllocationRef {
            payload_id: allocation.payload_id.clone(),
            allocation_token: allocation.allocation_token,
        }],
        ..Default::default()
    };
    let (response, _) = session.reclaim(request).unwrap();
    assert_eq!(response.leases.len(), 1);
    assert_eq!(response.allocations.len(), 1);
    session.commit(commit(&allocation.payload_id)).unwrap();
}

#[test]
fn a_quick_commit_does_not_meet_the_servers_own_descriptor() {
    let world = World::start();
    let publish = |seed| {
        let session = world.session();
        for _ in 0..50 {
            session.publish_on_disk(&content(100, seed));
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..6 {
            scope.spawn(move || publish(seed));
        }
    });
}
