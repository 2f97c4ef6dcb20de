//! The gRPC door, over TCP and over its unix socket: every call of every service, health and reflection.

use payload_core::Digest;
use payload_proto::v1;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::World;
use crate::support::grpc::Grpc;
use crate::support::refusal::{lease, outcome, reason};
use crate::support::samples::{abort, acquire, allocate, commit, content, delete, get, put, release, renew};

/// Both ways to the gRPC door, with the principal that each makes of us.
fn doors(world: &World) -> [(Grpc, String); 2] {
    let uid = rustix::process::geteuid().as_raw();
    [
        (world.grpc(), "loopback".to_owned()),
        (Grpc::unix(&world.daemon.endpoint().grpc_socket), format!("uid:{uid}")),
    ]
}

#[test]
fn the_whole_story_of_a_small_payload() {
    let world = World::start();
    for (grpc, principal) in doors(&world) {
        let request = v1::PutRequest {
            labels: [("kind".to_owned(), "frame".to_owned())].into(),
            ..put(b"hello")
        };
        let payload = grpc.put(request).unwrap().payload.unwrap();
        assert_eq!((payload.state(), payload.size), (v1::State::Active, 5));
        assert_eq!(payload.digest, Digest::of(b"hello").to_string());
        assert_eq!((&*payload.owner, &*payload.labels["kind"]), (&*principal, "frame"));
        let found = grpc.get_payload(get(&payload.payload_id)).unwrap().payload.unwrap();
        assert_eq!(found, payload);

        let request = v1::AcquireRequest {
            inline_max: 1_024,
            ..acquire(&[&payload.payload_id, "nonsense"])
        };
        let mut results = grpc.acquire(request).unwrap().results;
        assert_eq!(reason(lease(results.remove(1))), "BAD_ID");
        let held = lease(results.remove(0)).unwrap();
        assert_eq!(held.content.as_deref(), Some(&b"hello"[..]));
        assert!(
            held.expires_in_ms.unwrap() <= 30_000,
            "the default term of remote leases"
        );

        let renewed = grpc
            .renew(renew(&held.lease_id, Some(60_000)))
            .unwrap()
            .results
            .remove(0);
        assert!(renewed.expires_in_ms.unwrap() > 30_000);
        let request = v1::ListLeasesRequest {
            payload_id: payload.payload_id.clone(),
            ..Default::default()
        };
        let info = grpc.list_leases(request).unwrap().leases.remove(0);
        let holder = info.holder.unwrap();
        assert_eq!(
            (holder.principal, &*holder.kind, holder.pid),
            (principal.clone(), "remote", 0)
        );

        let released = grpc.release(release(&[&held.lease_id])).unwrap().results.remove(0);
        outcome(released.failure).unwrap();
        let request = v1::DeletePayloadRequest {
            reason: "done".to_owned(),
            ..delete(&payload.payload_id)
        };
        assert_eq!(grpc.delete_payload(request).unwrap().state(), v1::State::Deleted);
        let request = v1::ListEventsRequest {
            payload_id: payload.payload_id,
            ..Default::default()
        };
        let events = grpc.list_events(request).unwrap().events;
        let kinds: Vec<&str> = events.iter().map(|event| &*event.kind).collect();
        assert_eq!(kinds, ["committed", "delete_requested", "deleted"]);
        assert_eq!((&*events[1].actor, &*events[1].reason), (&*principal, "done"));
        let versions: Vec<u64> = events.iter().map(|event| event.version).collect();
        assert_eq!(versions, [1, 2, 3]);
    }
}

#[test]
fn allocations_are_made_committed_and_aborted_from_afar() {
    let world = World::start();
    for (grpc, _) in doors(&world) {
        let allocation = grpc.allocate(allocate(1_000)).unwrap();
        assert_eq!(allocation.fd, None);
        let payload = grpc.commit(commit(&allocation.payload_id)).unwrap().payload.unwrap();
        assert_eq!((payload.state(), payload.size), (v1::State::Active, 1_000));
        let allocation = grpc.allocate(allocate(1_000)).unwrap();
        grpc.abort(abort(&allocation.payload_id)).unwrap();
        assert_eq!(world.events(&allocation.payload_id), ["allocated", "aborted"]);
    }
    assert_eq!(world.stats().allocations, 0);
}

#[test]
fn a_remote_lease_on_a_large_payload_says_where_it_is() {
    let world = World::start();
    let payload = world.session().publish(&content(100_000, 1));
    for (grpc, _) in doors(&world) {
        let held = lease(grpc.acquire(acquire(&[&payload.payload_id])).unwrap().results.remove(0)).unwrap();
        assert_eq!((held.content, held.fd), (None, None));
        assert_eq!(held.descriptor.unwrap().size, 100_000);
    }
}

#[test]
fn a_remote_acquire_waits_for_the_commit() {
    let world = World::start();
    let writer = world.session();
    let (allocation, fd) = writer.allocate(allocate(10)).unwrap();
    drop(fd);
    let grpc = world.grpc();
    let wait = |wait_ms| v1::AcquireRequest {
        wait_ms,
        inline_max: 10,
        ..acquire(&[&allocation.payload_id])
    };
    assert_eq!(
        reason(lease(grpc.acquire(wait(1)).unwrap().results.remove(0))),
        "WAIT_TIMED_OUT"
    );
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.grpc().acquire(wait(600_000)).unwrap().results.remove(0));
        writer.commit(commit(&allocation.payload_id)).unwrap();
        waiting.join().unwrap()
    });
    assert_eq!(lease(waiting).unwrap().content.unwrap(), vec![0; 10]);
}

#[test]
fn leases_are_listed_in_pages_with_their_holders() {
    let world = World::start();
    let session = world.session();
    let payload_id = session.put_id(b"x");
    for _ in 0..5 {
        session.lease(&payload_id);
    }
    let grpc = world.grpc();
    let mut request = v1::ListLeasesRequest {
        page_size: 2,
        ..Default::default()
    };
    let mut serials = Vec::new();
    loop {
        let page = grpc.list_leases(request.clone()).unwrap();
        for info in page.leases {
            let holder = info.holder.unwrap();
            assert_eq!((&*holder.kind, holder.pid), ("local", std::process::id()));
            assert!(!holder.command.is_empty());
            serials.push(info.lease_serial);
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(serials.len(), 5);
    assert!(serials.is_sorted_by(|a, b| a < b));
}

#[test]
fn numbers_follow_what_happens() {
    let world = World::start();
    let before = world.stats();
    assert_eq!((before.sessions, before.leases, before.allocations), (0, 0, 0));
    assert_eq!(before.tiers.len(), 2);
    let session = world.session();
    let payload = session.publish(&content(100_000, 1));
    let _held = session.lease(&payload.payload_id);
    let (_, _fd) = session.allocate(allocate(100_000)).unwrap();
    let stats = world.stats();
    assert_eq!((stats.sessions, stats.leases, stats.allocations), (1, 1, 1));
    let ram = stats.tiers.iter().find(|tier| tier.tier() == v1::Tier::Ram).unwrap();
    assert_eq!((ram.capacity_bytes, ram.replicas), (64 << 20, 2));
    assert_eq!(ram.used_bytes, ram.charged_bytes + ram.staging_bytes + ram.slack_bytes);
    assert!(ram.staging_bytes > 0, "the session has a stage");
    let keeper = stats.keeper.unwrap();
    assert_eq!((&*keeper.kind, keeper.connected), ("none", false));
}

#[test]
fn a_deletion_waits_for_leases_and_then_ends() {
    let world = World::start();
    let session = world.session();
    let payload_id = session.put_id(b"x");
    let held = session.lease(&payload_id);
    let grpc = world.grpc();
    let deletion = grpc.delete_payload(delete(&payload_id)).unwrap();
    assert_eq!((deletion.state(), deletion.leases), (v1::State::Deleting, 1));
    assert_eq!(
        reason(session.acquire(acquire(&[&payload_id])).unwrap().remove(0)),
        "PAYLOAD_DELETED"
    );
    assert_eq!(held.read(), b"x", "whoever has a lease reads on");
    session.release(release(&[&held.lease.lease_id])).unwrap();
    payload_testkit::process::until("the deletion to end", || {
        let payload = grpc.get_payload(get(&payload_id)).unwrap().payload.unwrap();
        (payload.state() == v1::State::Deleted).then_some(())
    });
}

#[test]
fn health_is_serving_for_every_service() {
    let world = World::start();
    for (grpc, _) in doors(&world) {
        for service in [
            "",
            "payload.v1.DataService",
            "payload.v1.CatalogService",
            "payload.v1.AdminService",
            "payload.v1.StreamService",
        ] {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let mut client = HealthClient::new(grpc.channel.clone());
            let answer = grpc.runtime.block_on(client.check(request)).unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        }
    }
}

#[test]
fn reflection_lists_the_services_that_the_protos_declare() {
    let world = World::start();
    for (grpc, _) in doors(&world) {
        let request = ServerReflectionRequest {
            message_request: Some(MessageRequest::ListServices(String::new())),
            ..Default::default()
        };
        let mut client = ServerReflectionClient::new(grpc.channel.clone());
        let services = grpc.runtime.block_on(async {
            let mut answers = client
                .server_reflection_info(tokio_stream::once(request))
                .await
                .unwrap()
                .into_inner();
            match answers.message().await.unwrap().unwrap().message_response.unwrap() {
                MessageResponse::ListServicesResponse(list) => list.service,
                other => panic!("{other:?}"),
            }
        });
        let names: Vec<&str> = services.iter().map(|service| &*service.name).collect();
        for expected in [
            "payload.v1.DataService",
            "payload.v1.CatalogService",
            "payload.v1.AdminService",
            "payload.v1.StreamService",
            "grpc.health.v1.Health",
        ] {
            assert!(names.contains(&expected), "{names:?}");
        }
    }
}
