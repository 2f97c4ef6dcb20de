//! Batches over the local socket: order, failures of single items, and the limits of a message.

use payload_core::limits::{BATCH_ITEMS_MAX, MESSAGE_FDS_MAX, MESSAGE_SIZE_MAX};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;

use crate::support::World;
use crate::support::local::{Local, held};
use crate::support::refusal::{lease, outcome, reason};
use crate::support::samples::{acquire, content, read, release};

fn refs(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

fn publish_all(session: &Local, size: usize) -> Vec<String> {
    (0..BATCH_ITEMS_MAX)
        .map(|seed| session.put_id(&content(size, seed as u8)))
        .collect()
}

#[test]
fn results_come_in_the_order_of_the_request_each_with_its_own_outcome() {
    let world = World::start();
    let session = world.session();
    let (one, two) = (session.put_id(b"one"), session.put_id(b"two"));
    let nobody = "0190a000-0000-7000-8000-000000000000";
    let request = v1::AcquireRequest {
        inline_max: 100,
        ..acquire(&[&two, "no id", &one, nobody, &two])
    };
    let results = session.acquire(request).unwrap();
    let found: Vec<String> = results
        .iter()
        .map(|result| match result {
            Ok(held) => String::from_utf8(held.lease.content.clone().unwrap().to_vec()).unwrap(),
            Err(refusal) => refusal.reason.clone(),
        })
        .collect();
    assert_eq!(found, ["two", "BAD_ID", "one", "PAYLOAD_NOT_FOUND", "two"]);

    let leases: Vec<String> = results
        .into_iter()
        .filter_map(|result| Some(result.ok()?.lease.lease_id))
        .collect();
    let mut ids = refs(&leases);
    ids.insert(1, "no id");
    ids.push(&leases[0]);
    let answer = session.release(release(&ids)).unwrap();
    let outcomes: Vec<Option<String>> = answer
        .results
        .into_iter()
        .map(|result| outcome(result.failure).err().map(|refusal| refusal.reason))
        .collect();
    let not_found = Some("LEASE_NOT_FOUND".to_owned());
    assert_eq!(outcomes, [None, Some("BAD_ID".to_owned()), None, None, not_found]);
    assert_eq!(world.stats().leases, 0);
}

#[test]
fn a_batch_has_at_most_64_items_and_at_least_one() {
    let world = World::start();
    let session = world.session();
    let ids = publish_all(&session, 1);
    let results = session.acquire(acquire(&refs(&ids))).unwrap();
    assert_eq!(results.len(), BATCH_ITEMS_MAX);
    assert!(results.iter().all(Result::is_ok));
    let leases: Vec<String> = results
        .into_iter()
        .map(|result| result.unwrap().lease.lease_id)
        .collect();
    assert!(session.release(release(&refs(&leases))).is_ok());

    let mut many = ids;
    many.push(many[0].clone());
    assert_eq!(reason(session.acquire(acquire(&refs(&many)))), "BAD_REQUEST");
    assert_eq!(reason(session.release(release(&refs(&many)))), "BAD_REQUEST");
    assert_eq!(reason(session.acquire(acquire(&[]))), "BAD_REQUEST");
    assert_eq!(reason(session.renew(v1::RenewRequest::default())), "BAD_REQUEST");
    assert_eq!(reason(session.forget(v1::ForgetRequest::default())), "BAD_REQUEST");
}

#[test]
fn contents_that_do_not_fit_into_the_answer_come_through_descriptors() {
    let world = World::start();
    let session = world.session();
    let ids = publish_all(&session, 64 << 10);
    let request = v1::AcquireRequest {
        inline_max: 64 << 10,
        ..acquire(&refs(&ids))
    };
    let correlation_id = session.send(Request::Acquire(request));
    let received = session.answer();
    assert_eq!(received.message.correlation_id, correlation_id);
    assert!(received.size <= MESSAGE_SIZE_MAX, "{}", received.size);
    assert!(received.fds.len() <= MESSAGE_FDS_MAX, "{}", received.fds.len());
    let Some(Response::Acquire(response)) = received.message.response else {
        panic!("not an acquire");
    };
    let inline = response.results.iter().filter(|result| {
        let lease = lease((*result).clone()).unwrap();
        lease.content.is_some()
    });
    assert!(inline.count() >= 1, "some fit");
    let mut containers = std::collections::HashMap::new();
    for (seed, result) in held(response, received.fds).into_iter().enumerate() {
        let held = result.unwrap();
        let expected = content(64 << 10, seed as u8);
        if let Some(inline) = held.lease.content {
            assert_eq!(inline, expected);
            continue;
        }
        let container = &held
            .lease
            .descriptor
            .as_ref()
            .unwrap()
            .location
            .as_ref()
            .unwrap()
            .container_id;
        if let Some(fd) = held.fd {
            containers.insert(container.clone(), fd);
        }
        assert_eq!(read(&held.lease, &containers[container]), expected, "{seed}");
    }
}

#[test]
fn a_batch_of_64_large_payloads_carries_64_descriptors() {
    let world = World::start();
    let session = world.session();
    let ids: Vec<String> = (0..BATCH_ITEMS_MAX)
        .map(|seed| session.publish_on_disk(&content(70_000, seed as u8)).payload_id)
        .collect();
    let results = session.acquire(acquire(&refs(&ids))).unwrap();
    for (seed, result) in results.into_iter().enumerate() {
        assert_eq!(result.unwrap().read(), content(70_000, seed as u8));
    }
}
