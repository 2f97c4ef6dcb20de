//! Writers over a scripted local socket.
#![allow(clippy::unwrap_used, missing_docs)]

mod script;

use std::fs::File;

use payload_client::v1::client_message::Request;
use payload_client::v1::server_message::Response;
use payload_client::{AllocateOptions, ClientOptions, CommitOptions, Digest, DigestChoice, PutOptions, Reason, v1};
use rustix::fs::{SealFlags, fcntl_add_seals};
use script::{Connection, Stage, fd, payload_id, segment};

/// Answers an allocation with this memory, and what comes then with what a commit needs.
fn serve(server: &Connection, memory: &File) -> Request {
    let asked = server.next();
    let Request::Allocate(_) = &asked.request else {
        panic!("{asked:?} is not an allocate")
    };
    let response = v1::AllocateResponse {
        payload_id: payload_id(1).to_string(),
        allocation_token: "token".to_owned(),
        fd: Some(0),
        ..Default::default()
    };
    server.answer(&asked, Response::Allocate(response), &[fd(memory)]);
    let asked = server.next();
    let response = match &asked.request {
        Request::Commit(_) => {
            fcntl_add_seals(memory, SealFlags::WRITE).expect("nobody has it mapped for writing");
            Response::Commit(v1::CommitResponse {
                payload: Some(v1::Payload::default()),
                ..Default::default()
            })
        }
        Request::Abort(_) => Response::Abort(v1::AbortResponse {}),
        other => panic!("{other:?}"),
    };
    server.answer(&asked, response, &[]);
    asked.request
}

fn content(memory: &File) -> Vec<u8> {
    std::fs::read(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(memory))).unwrap()
}

/// Has a client do `write` with an allocation of eight bytes; returns the last request and the bytes.
async fn written<F: Future<Output = ()>>(write: impl FnOnce(payload_client::Writer) -> F) -> (Request, Vec<u8>) {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |_, server| {
            let memory = segment("written", &[0; 8]);
            (serve(&server, &memory), content(&memory))
        })
        .await;
    write(client.allocate(8, AllocateOptions::default()).await.unwrap()).await;
    script::finish(server).await
}

fn commit_of(request: &Request) -> (Option<u64>, &str) {
    let Request::Commit(request) = request else {
        panic!("{request:?} is not a commit")
    };
    (request.size, &request.digest)
}

#[tokio::test]
async fn what_is_written_front_to_back_is_digested_on_the_way() {
    let (request, bytes) = written(async |mut writer| {
        writer.write(b"0123").unwrap();
        writer.write(b"45").unwrap();
        writer
            .commit(CommitOptions {
                size: Some(6),
                digest: DigestChoice::IfKnown,
                ..CommitOptions::default()
            })
            .await
            .unwrap();
    })
    .await;
    assert_eq!(bytes, b"012345\0\0");
    assert_eq!(commit_of(&request), (Some(6), &*Digest::of(b"012345").to_string()));
}

#[tokio::test]
async fn a_digest_that_does_not_cover_all_content_is_not_sent() {
    let (request, _) = written(async |mut writer| {
        writer.write(b"0123").unwrap();
        writer.commit(CommitOptions::default()).await.unwrap();
    })
    .await;
    assert_eq!(commit_of(&request), (Some(8), ""));
    let (request, bytes) = written(async |mut writer| {
        writer.write(b"01234567").unwrap();
        writer.write_at(0, b"x").unwrap();
        writer.commit(CommitOptions::default()).await.unwrap();
    })
    .await;
    assert_eq!((commit_of(&request), &*bytes), ((Some(8), ""), &b"x1234567"[..]));
}

#[tokio::test]
async fn fault_23_a_mapping_is_undone_before_the_commit_and_digested_if_asked_for() {
    let (request, bytes) = written(async |mut writer| {
        writer.as_mut_slice().unwrap().copy_from_slice(b"in place");
        writer.write_at(0, b"IN").unwrap();
        writer
            .commit(CommitOptions {
                size: Some(5),
                digest: DigestChoice::Compute,
                ..CommitOptions::default()
            })
            .await
            .unwrap();
    })
    .await;
    assert_eq!(bytes, b"IN place");
    assert_eq!(commit_of(&request), (Some(5), &*Digest::of(b"IN pl").to_string()));
}

#[tokio::test]
async fn fault_17_a_dropped_writer_gives_its_allocation_up() {
    let (request, _) = written(async |writer| drop(writer)).await;
    let Request::Abort(request) = request else {
        panic!("{request:?} is not an abort")
    };
    assert_eq!(
        (&*request.payload_id, &*request.allocation_token),
        (&*payload_id(1).to_string(), "token")
    );
}

#[tokio::test]
async fn writing_beyond_the_allocation_is_refused() {
    let (request, bytes) = written(async |mut writer| {
        assert_eq!(writer.write_at(7, b"xy").unwrap_err().reason(), Reason::BadSize);
        assert_eq!(writer.write_at(u64::MAX, b"xy").unwrap_err().reason(), Reason::Internal);
        assert_eq!(writer.size(), 8);
        let error = writer
            .commit(CommitOptions {
                size: Some(9),
                ..Default::default()
            })
            .await
            .unwrap_err();
        assert_eq!(error.reason(), Reason::BadSize);
    })
    .await;
    assert_eq!(bytes, [0; 8]);
    assert!(matches!(request, Request::Abort(_)));
}

#[tokio::test]
async fn a_large_put_goes_through_an_allocation_and_a_request_too_large_is_refused_here() {
    let stage = Stage::new();
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    let (client, server) = stage
        .play(ClientOptions::default(), |_, server| {
            let memory = segment("put", &[0; 100_000]);
            (serve(&server, &memory), content(&memory))
        })
        .await;
    let labels = vec![("k".to_owned(), "v".repeat(200_000))];
    let error = client
        .put(
            b"x",
            PutOptions {
                labels,
                ..Default::default()
            },
        )
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::BadSize);
    client.put(&bytes, PutOptions::default()).await.unwrap();
    let (request, stored) = script::finish(server).await;
    assert_eq!(stored, bytes);
    assert_eq!(commit_of(&request), (Some(100_000), &*Digest::of(&bytes).to_string()));
}
