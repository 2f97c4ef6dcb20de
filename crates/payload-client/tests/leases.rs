//! Leases over a scripted local socket: who sends what when, and what is never forgotten.
#![allow(clippy::unwrap_used, missing_docs)]

mod script;

use payload_client::v1::client_message::Request;
use payload_client::v1::server_message::Response;
use payload_client::{AcquireOptions, ClientOptions, LeaseState, Reason, Verified, v1};
use script::{Stage, fd, granted, lease_at, lease_id, lease_of, mappings, payload_id, segment, until};

fn keep(idle_containers_max: usize) -> ClientOptions {
    ClientOptions {
        idle_containers_max,
        ..ClientOptions::default()
    }
}

#[tokio::test]
async fn a_dropped_container_is_forgotten_before_the_next_acquire() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(keep(0), |_, server| {
            for round in 1..=2 {
                let (asked, _) = server.next_acquire();
                let memory = segment("forgotten", b"0123456789");
                server.grant(&asked, lease_at(round, "c", 2, 3, Some(0)), &[fd(&memory)]);
                assert_eq!(server.next_release(), [lease_id(round)]);
                if round == 1 {
                    assert_eq!(server.next_forget(), ["c"]);
                }
            }
        })
        .await;
    for round in 1..=2 {
        let lease = client
            .acquire(payload_id(round), AcquireOptions::default())
            .await
            .unwrap();
        assert_eq!((&*lease, mappings("forgotten")), (&b"234"[..], 1));
        lease.release().await.unwrap();
        assert_eq!(mappings("forgotten"), 0);
    }
    script::finish(server).await;
}

#[tokio::test]
async fn an_idle_container_is_used_again_without_a_word() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(keep(1), |_, server| {
            let memory = segment("idle", b"0123456789");
            let (asked, _) = server.next_acquire();
            server.grant(&asked, lease_at(1, "c", 0, 5, Some(0)), &[fd(&memory)]);
            server.next_release();
            let (asked, _) = server.next_acquire();
            server.grant(&asked, lease_at(2, "c", 5, 5, None), &[]);
            assert_eq!(server.next_release(), [lease_id(2)]);
        })
        .await;
    client
        .acquire(payload_id(1), AcquireOptions::default())
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    let lease = client.acquire(payload_id(2), AcquireOptions::default()).await.unwrap();
    assert_eq!((&*lease, mappings("idle")), (&b"56789"[..], 1));
    drop(lease);
    script::finish(server).await;
}

#[tokio::test]
async fn a_lease_without_the_descriptor_it_needs_is_given_back_and_asked_for_again() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(keep(8), |_, server| {
            let (asked, _) = server.next_acquire();
            server.grant(&asked, lease_at(1, "c", 0, 3, None), &[]);
            let (mut released, mut forgotten) = (Vec::new(), Vec::new());
            loop {
                let asked = server.next();
                match &asked.request {
                    Request::Release(request) => released.extend(request.lease_ids.clone()),
                    Request::Forget(request) => forgotten.extend(request.container_ids.clone()),
                    Request::Acquire(_) => {
                        assert_eq!(forgotten, ["c"]);
                        server.grant(
                            &asked,
                            lease_at(2, "c", 0, 3, Some(0)),
                            &[fd(&segment("again", b"abc"))],
                        );
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
            if released.is_empty() {
                released = server.next_release();
            }
            assert_eq!(released, [lease_id(1)]);
        })
        .await;
    let lease = client.acquire(payload_id(1), AcquireOptions::default()).await.unwrap();
    assert_eq!(&*lease, b"abc");
    script::finish(server).await;
}

#[tokio::test]
async fn answers_find_their_callers_in_any_order() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(keep(8), |_, server| {
            let (first, second) = (server.next_acquire(), server.next_acquire());
            for (asked, request) in [second, first] {
                let lease = if request.payload_ids[0] == payload_id(1).to_string() {
                    lease_of(1, b"one")
                } else {
                    lease_of(2, b"two")
                };
                server.grant(&asked, lease, &[]);
            }
        })
        .await;
    let options = AcquireOptions::default();
    let (one, two) = tokio::join!(
        client.acquire(payload_id(1), options),
        client.acquire(payload_id(2), options)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((&*one, &*two), (&b"one"[..], &b"two"[..]));
    assert!(one.as_fd().is_none() && one.to_file().unwrap().is_none());
    script::finish(server).await;
}

#[tokio::test]
async fn a_lease_whose_caller_went_away_is_released() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(keep(8), |_, server| {
            let (asked, _) = server.next_acquire();
            server.grant(&asked, lease_of(1, b"one"), &[]);
            assert_eq!(server.next_release(), [lease_id(1)]);
        })
        .await;
    tokio::select! {
        biased;
        _ = client.acquire(payload_id(1), AcquireOptions::default()) => panic!("nothing was read yet"),
        () = std::future::ready(()) => {}
    }
    script::finish(server).await;
}

#[tokio::test]
async fn a_batch_has_one_round_trip_for_64_and_contents_that_fit_into_the_answer() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(keep(8), |_, server| {
            let mut sizes = Vec::new();
            for _ in 0..2 {
                let (asked, request) = server.next_acquire();
                sizes.push((request.payload_ids.len(), request.inline_max));
                let mut results: Vec<_> = (0..request.payload_ids.len() as u8)
                    .map(|i| granted(lease_of(i + 64 * (sizes.len() as u8 - 1), b"x")))
                    .collect();
                if results.len() == 1 {
                    let failure = script::failure(5, "PAYLOAD_NOT_FOUND");
                    results = vec![v1::AcquireResult {
                        result: Some(v1::acquire_result::Result::Failure(failure)),
                    }];
                }
                server.answer(&asked, Response::Acquire(v1::AcquireResponse { results }), &[]);
            }
            let mut released = 0;
            while released < 64 {
                released += server.next_release().len();
            }
            sizes
        })
        .await;
    let ids: Vec<_> = (0..65).map(payload_id).collect();
    let options = AcquireOptions {
        inline_max: u32::MAX,
        ..AcquireOptions::default()
    };
    let leases = client.acquire_many(&ids, options).await.unwrap();
    assert_eq!(leases.iter().filter(|lease| lease.is_ok()).count(), 64);
    assert_eq!(leases[64].as_ref().unwrap_err().reason(), Reason::PayloadNotFound);
    drop(leases);
    let sizes = script::finish(server).await;
    assert_eq!(sizes, [(64, 2048 - 512), (1, 65_536)]);
}

#[tokio::test]
async fn fault_18_a_lease_that_ended_says_so_and_its_bytes_stay_right() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(keep(8), |_, server| {
            for (n, reason) in [(1, "LEASE_EXPIRED"), (2, "LEASE_REVOKED")] {
                let (asked, _) = server.next_acquire();
                let memory = segment(reason, b"bytes");
                server.grant(&asked, lease_at(n, reason, 0, 5, Some(0)), &[fd(&memory)]);
                let ended = v1::LeaseEnded {
                    lease_id: lease_id(n),
                    reason: reason.to_owned(),
                    message: String::new(),
                };
                server.tell(v1::notice::Notice::LeaseEnded(ended));
                let gone = v1::ContainersGone {
                    container_ids: vec![reason.to_owned()],
                };
                server.tell(v1::notice::Notice::ContainersGone(gone));
            }
            assert!(server.next_or_end().is_none(), "leases that ended are not released");
        })
        .await;
    let states = [
        (1, LeaseState::Expired, "LEASE_EXPIRED"),
        (2, LeaseState::Revoked, "LEASE_REVOKED"),
    ];
    for (n, state, reason) in states {
        let lease = client.acquire(payload_id(n), AcquireOptions::default()).await.unwrap();
        until(|| lease.state() == state).await;
        assert_eq!(lease.check().unwrap_err().reason().as_str(), reason);
        assert_eq!((&*lease, mappings(reason)), (&b"bytes"[..], 1));
        let (file, _) = lease.to_file().unwrap().unwrap();
        drop(lease);
        until(|| mappings(reason) == 0).await;
        assert_eq!(file.metadata().unwrap().len(), 5);
    }
    drop(client);
    script::finish(server).await;
}

#[tokio::test]
async fn fault_18_a_term_that_is_over_shows_even_if_no_word_comes() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(keep(8), |_, server| {
            let (asked, _) = server.next_acquire();
            let mut lease = lease_of(1, b"bytes");
            lease.expires_in_ms = Some(30);
            server.grant(&asked, lease, &[]);
            while server.next_or_end().is_some() {}
        })
        .await;
    let lease = client.acquire(payload_id(1), AcquireOptions::default()).await.unwrap();
    until(|| lease.state() == LeaseState::Expired).await;
    assert_eq!(&*lease, b"bytes");
    drop((lease, client));
    script::finish(server).await;
}

#[tokio::test]
async fn a_lease_with_a_term_is_renewed_until_the_server_refuses() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(keep(8), |_, server| {
            let (asked, request) = server.next_acquire();
            assert_eq!(request.ttl_ms, Some(90));
            let mut lease = lease_of(1, b"bytes");
            lease.expires_in_ms = Some(90);
            server.grant(&asked, lease, &[]);
            for round in 1..=3 {
                let asked = server.next();
                let Request::Renew(request) = asked.request.clone() else {
                    panic!("{asked:?} is not a renewal")
                };
                assert_eq!((request.ttl_ms, request.leases.len()), (Some(90), 1));
                assert_eq!(request.leases[0].lease_id, lease_id(1));
                let result = if round < 3 {
                    v1::RenewResult {
                        expires_in_ms: Some(90),
                        failure: None,
                    }
                } else {
                    v1::RenewResult {
                        expires_in_ms: None,
                        failure: Some(script::failure(9, "LEASE_REVOKED")),
                    }
                };
                server.answer(
                    &asked,
                    Response::Renew(v1::RenewResponse { results: vec![result] }),
                    &[],
                );
            }
        })
        .await;
    let options = AcquireOptions {
        ttl: Some(std::time::Duration::from_millis(90)),
        ..AcquireOptions::default()
    };
    let lease = client.acquire(payload_id(1), options).await.unwrap();
    until(|| lease.state() == LeaseState::Revoked).await;
    script::finish(server).await;
}

#[tokio::test]
async fn fault_10_verification_finds_bytes_that_differ_from_their_digest() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(keep(8), |_, server| {
            for (n, content) in [(1, &b"right"[..]), (2, b"wrong"), (3, b"unknown")] {
                let (asked, _) = server.next_acquire();
                let mut lease = lease_of(n, content);
                if n < 3 {
                    let digest = payload_client::Digest::of(b"right").to_string();
                    lease.descriptor.as_mut().unwrap().digest = digest;
                }
                server.grant(&asked, lease, &[]);
            }
        })
        .await;
    let mut leases = Vec::new();
    for n in 1..=3 {
        leases.push(client.acquire(payload_id(n), AcquireOptions::default()).await.unwrap());
    }
    let results: Vec<_> = leases
        .iter()
        .map(|lease| lease.verify().map_err(|error| error.reason()))
        .collect();
    assert_eq!(
        results,
        [Ok(Verified::Matches), Err(Reason::BytesCorrupt), Ok(Verified::NoDigest)]
    );
    script::finish(server).await;
}
