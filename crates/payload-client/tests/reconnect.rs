//! What survives a broken connection, and what honestly does not.
#![allow(clippy::unwrap_used, missing_docs)]

mod script;

use std::time::Duration;

use payload_client::v1::client_message::Request;
use payload_client::v1::server_message::Response;
use payload_client::{
    AcquireOptions, AllocateOptions, ClientOptions, CommitOptions, LeaseState, Outcome, PutOptions, Reason, v1,
};
use script::{
    Asked, Connection, SESSION, Stage, fd, granted, lease_at, lease_id, lease_of, mappings, payload_id, segment, until,
};

fn reclaim(server: &Connection) -> (Asked, v1::ReclaimRequest) {
    let asked = server.next();
    let Request::Reclaim(request) = asked.request.clone() else {
        panic!("{asked:?} is not a reclaim")
    };
    (asked, request)
}

fn allocated(server: &Connection, file: &std::fs::File) -> v1::AllocateRequest {
    let asked = server.next();
    let Request::Allocate(request) = asked.request.clone() else {
        panic!("{asked:?} is not an allocate")
    };
    server.answer(&asked, Response::Allocate(allocation(Some(0))), &[fd(file)]);
    request
}

fn allocation(fd: Option<u32>) -> v1::AllocateResponse {
    v1::AllocateResponse {
        payload_id: payload_id(9).to_string(),
        allocation_token: "token".to_owned(),
        fd,
        ..Default::default()
    }
}

#[tokio::test]
async fn fault_21_leases_are_reclaimed_from_a_restarted_server_under_their_new_names() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |listener, server| {
            let memory = segment("reclaimed", b"0123456789");
            let (asked, _) = server.next_acquire();
            server.grant(&asked, lease_at(1, "c", 2, 3, Some(0)), &[fd(&memory)]);
            let (asked, _) = server.next_acquire();
            server.grant(&asked, lease_of(2, b"inline"), &[]);
            drop(server);

            let server = Connection::greet(listener, 2);
            let (asked, request) = reclaim(&server);
            assert_eq!(request.session_id, format!("{SESSION} 1"));
            let mut leases = request.leases.clone();
            leases.sort_by(|one, other| one.lease_id.cmp(&other.lease_id));
            let names: Vec<_> = leases
                .iter()
                .map(|lease| (lease.lease_id.clone(), lease.replica_id.clone()))
                .collect();
            assert_eq!(
                names,
                [
                    (lease_id(1), "replica 1".to_owned()),
                    (lease_id(2), "replica 2".to_owned())
                ]
            );
            let results = request.leases.iter().map(|lease| {
                if lease.lease_id == lease_id(1) {
                    let mut lease = lease_at(1, "c", 2, 3, Some(0));
                    lease.lease_id = lease_id(11);
                    granted(lease)
                } else {
                    let failure = script::failure(5, "LEASE_NOT_FOUND");
                    v1::AcquireResult {
                        result: Some(v1::acquire_result::Result::Failure(failure)),
                    }
                }
            });
            let response = v1::ReclaimResponse {
                leases: results.collect(),
                allocations: Vec::new(),
            };
            server.answer(
                &asked,
                Response::Reclaim(response),
                &[fd(&segment("another", b"0123456789"))],
            );

            // The descriptor that came again is known now: a lease there comes without one.
            let (asked, _) = server.next_acquire();
            server.grant(&asked, lease_at(3, "c", 5, 5, None), &[]);
            let mut released = server.next_release();
            released.extend(server.next_release());
            released
        })
        .await;
    let options = AcquireOptions::default();
    let kept = client.acquire(payload_id(1), options).await.unwrap();
    let lost = client.acquire(payload_id(2), options).await.unwrap();
    let address = kept.as_ptr();
    let more = client.acquire(payload_id(3), options).await.unwrap();

    assert_eq!(
        (kept.state(), kept.check().is_ok(), &*kept),
        (LeaseState::Live, true, &b"234"[..])
    );
    assert_eq!((kept.as_ptr(), &*more), (address, &b"56789"[..]));
    assert_eq!(
        (mappings("reclaimed"), mappings("another")),
        (1, 0),
        "the mapping is kept"
    );
    assert_eq!((lost.state(), &*lost), (LeaseState::Lost, &b"inline"[..]));
    assert_eq!(lost.check().unwrap_err().reason(), Reason::ConnectionLost);
    kept.release().await.unwrap();
    lost.release().await.unwrap();
    more.release().await.unwrap();
    assert_eq!(script::finish(server).await, [lease_id(11), lease_id(3)]);
}

#[tokio::test]
async fn a_server_that_was_not_restarted_has_ended_the_leases_with_the_connection() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |listener, server| {
            let (asked, _) = server.next_acquire();
            server.grant(&asked, lease_of(1, b"one"), &[]);
            drop(server);
            let server = Connection::greet(listener, 1);
            let (asked, _) = server.next_acquire();
            server.grant(&asked, lease_of(2, b"two"), &[]);
        })
        .await;
    let one = client.acquire(payload_id(1), AcquireOptions::default()).await.unwrap();
    let two = client.acquire(payload_id(2), AcquireOptions::default()).await.unwrap();
    assert_eq!((one.state(), &*one), (LeaseState::Lost, &b"one"[..]));
    assert_eq!(two.state(), LeaseState::Live);
    script::finish(server).await;
}

#[tokio::test]
async fn fault_2_a_commit_in_flight_is_repeated_with_its_request_id_after_the_reclaim() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |listener, server| {
            let memory = segment("commit", &[0; 4096]);
            allocated(&server, &memory);
            let first = server.next();
            assert_eq!(mappings("commit"), 0, "unmapped before the commit is asked for");
            drop(server);

            let server = Connection::greet(listener, 2);
            let (asked, request) = reclaim(&server);
            assert_eq!(request.allocations[0].allocation_token, "token");
            let result = Some(v1::reclaimed_allocation::Result::Allocation(allocation(Some(0))));
            let allocations = vec![v1::ReclaimedAllocation { result }];
            let response = v1::ReclaimResponse {
                leases: Vec::new(),
                allocations,
            };
            server.answer(&asked, Response::Reclaim(response), &[fd(&memory)]);
            let second = server.next();
            assert_eq!(first.request, second.request);
            let payload = v1::Payload {
                payload_id: payload_id(9).to_string(),
                ..Default::default()
            };
            server.answer(
                &second,
                Response::Commit(v1::CommitResponse {
                    payload: Some(payload),
                    ..Default::default()
                }),
                &[],
            );
            assert!(server.next_or_end().is_none(), "a committed allocation is not aborted");
        })
        .await;
    let mut writer = client.allocate(4096, AllocateOptions::default()).await.unwrap();
    writer.as_mut_slice().unwrap()[..5].copy_from_slice(b"bytes");
    let payload = writer.commit(CommitOptions::default()).await.unwrap();
    assert_eq!(payload.payload_id, payload_id(9).to_string());
    drop(client);
    script::finish(server).await;
}

#[tokio::test]
async fn a_writer_goes_on_over_a_restart() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |listener, server| {
            let memory = segment("writer", &[0; 5]);
            allocated(&server, &memory);
            drop(server);
            let server = Connection::greet(listener, 2);
            let (asked, _) = reclaim(&server);
            let result = Some(v1::reclaimed_allocation::Result::Allocation(allocation(Some(0))));
            let response = v1::ReclaimResponse {
                leases: Vec::new(),
                allocations: vec![v1::ReclaimedAllocation { result }],
            };
            server.answer(&asked, Response::Reclaim(response), &[fd(&memory)]);
            let asked = server.next();
            let Request::Commit(request) = asked.request.clone() else {
                panic!("{asked:?} is not a commit")
            };
            let content = std::fs::read(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory))).unwrap();
            assert_eq!(content, b"bytes");
            assert_eq!(request.digest, payload_client::Digest::of(b"bytes").to_string());
            let payload = Some(v1::Payload::default());
            server.answer(
                &asked,
                Response::Commit(v1::CommitResponse {
                    payload,
                    ..Default::default()
                }),
                &[],
            );
        })
        .await;
    let mut writer = client.allocate(5, AllocateOptions::default()).await.unwrap();
    writer.write(b"by").unwrap();
    writer.write(b"tes").unwrap();
    writer.commit(CommitOptions::default()).await.unwrap();
    script::finish(server).await;
}

#[tokio::test]
async fn fault_1_mutations_with_a_request_id_and_reads_are_repeated_and_others_fail() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |listener, server| {
            allocated(&server, &segment("abort", &[0; 1]));
            let mut broken: Vec<Request> = (0..4).map(|_| server.next().request).collect();
            drop(server);
            let server = Connection::greet(listener, 1);
            broken.retain(|request| !matches!(request, Request::Abort(_)));
            let again: Vec<Asked> = (0..3).map(|_| server.next()).collect();
            for asked in &again {
                assert!(
                    broken.contains(&asked.request),
                    "{asked:?} is not what was asked before"
                );
                let failure = match asked.request {
                    Request::Acquire(_) => "PAYLOAD_NOT_FOUND",
                    Request::Allocate(_) => "TIER_FULL",
                    Request::Put(_) => "MEMORY_SHORT",
                    _ => panic!("{asked:?} must not be repeated"),
                };
                server.refuse(asked, 5, failure);
            }
        })
        .await;
    let writer = client.allocate(1, AllocateOptions::default()).await.unwrap();
    let (acquired, allocated, put, aborted) = tokio::join!(
        client.acquire(payload_id(1), AcquireOptions::default()),
        client.allocate(1, AllocateOptions::default()),
        client.put(b"bytes", PutOptions::default()),
        writer.abort("changed my mind"),
    );
    assert_eq!(acquired.unwrap_err().reason(), Reason::PayloadNotFound);
    assert_eq!(allocated.unwrap_err().reason(), Reason::TierFull);
    assert_eq!(put.unwrap_err().reason(), Reason::MemoryShort);
    let error = aborted.unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::ConnectionLost, Outcome::Unknown)
    );
    script::finish(server).await;
}

/// The catalog is out of reach, and what became of the request may be unknown.
fn out_of_reach(server: &Connection, asked: &Asked, outcome_unknown: bool) {
    let failure = v1::Failure {
        outcome_unknown,
        ..script::failure(14, "REPOSITORY_UNAVAILABLE")
    };
    server.answer(asked, Response::Failure(failure), &[]);
}

#[tokio::test]
async fn fault_27_the_same_is_asked_until_somebody_knows_what_became_of_it() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |_, server| {
            let first = server.next();
            out_of_reach(&server, &first, true);
            let again = server.next();
            assert_eq!(again.request, first.request);
            // This attempt did nothing. The first one may have.
            out_of_reach(&server, &again, false);
            let again = server.next();
            assert_eq!(again.request, first.request);
            let payload = v1::Payload {
                payload_id: payload_id(1).to_string(),
                ..Default::default()
            };
            let done = v1::PutResponse {
                payload: Some(payload),
                ..Default::default()
            };
            server.answer(&again, Response::Put(done), &[]);
            // Where there is no doubt the caller decides.
            out_of_reach(&server, &server.next(), false);
        })
        .await;
    let put = client.put(b"bytes", PutOptions::default()).await.unwrap();
    assert_eq!(put.payload_id, payload_id(1).to_string());
    let error = client.put(b"others", PutOptions::default()).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::RepositoryUnavailable, Outcome::NotApplied)
    );
    script::finish(server).await;
}

#[tokio::test]
async fn fault_27_a_doubt_that_is_not_settled_in_time_is_told() {
    let stage = Stage::new();
    let options = ClientOptions {
        reconnect_max: Duration::from_millis(1),
        ..ClientOptions::default()
    };
    let (client, server) = stage
        .play(options, |_, server| {
            out_of_reach(&server, &server.next(), true);
            // It may be asked once more, and learns nothing.
            while let Some(asked) = server.next_or_end() {
                out_of_reach(&server, &asked, false);
            }
        })
        .await;
    let error = client.put(b"bytes", PutOptions::default()).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::RepositoryUnavailable, Outcome::Unknown)
    );
    drop(client);
    script::finish(server).await;
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up_and_tried_again_when_somebody_asks() {
    let stage = Stage::new();
    let options = ClientOptions {
        reconnect_max: Duration::ZERO,
        ..ClientOptions::default()
    };
    let (client, server) = stage
        .play(options, |listener, server| {
            let (asked, _) = server.next_acquire();
            server.grant(&asked, lease_of(1, b"one"), &[]);
            listener.shutdown().unwrap();
            listener.remove().unwrap();
        })
        .await;
    let lease = client.acquire(payload_id(1), AcquireOptions::default()).await.unwrap();
    script::finish(server).await;
    until(|| lease.state() == LeaseState::Lost).await;
    assert_eq!(&*lease, b"one");
    let error = client
        .acquire(payload_id(1), AcquireOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::ConnectionLost);

    let listener = stage.listen();
    let server = std::thread::spawn(move || {
        let server = Connection::greet(&listener, 2);
        let (asked, _) = server.next_acquire();
        server.grant(&asked, lease_of(2, b"two"), &[]);
    });
    let lease = client.acquire(payload_id(2), AcquireOptions::default()).await.unwrap();
    assert_eq!(&*lease, b"two");
    script::finish(server).await;
}

#[tokio::test]
async fn no_server_at_all_is_an_error_that_says_where_it_was_looked_for() {
    let stage = Stage::new();
    let options = payload_client::ClientOptions {
        reconnect_max: std::time::Duration::ZERO,
        ..payload_client::ClientOptions::default()
    };
    let connected = payload_client::Client::connect_with(stage.endpoint(), options).await;
    let error = connected.unwrap_err();
    assert_eq!(error.reason(), Reason::ConnectionLost);
    assert!(error.message().contains("no server at"), "{error}");
}
