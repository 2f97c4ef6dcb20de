//! Uploading: into an allocation, by whoever has its token, as often as it takes until the commit.

use payload_core::Digest;
use payload_proto::v1;
use payload_testkit::process::until;

use super::path;
use crate::support::World;
use crate::support::grpc::Grpc;
use crate::support::refusal::reason;
use crate::support::samples::{abort, allocate, commit, content};

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut chunks = Vec::new();
    for chunk in body.chunks(size) {
        chunks.extend(format!("{:X};note=\"x\"\r\n", chunk.len()).into_bytes());
        chunks.extend(chunk);
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\nTrailer: nobody reads it\r\n\r\n");
    chunks
}

#[test]
fn a_body_may_come_in_chunks_and_the_connection_goes_on() {
    let world = World::start();
    let mut connection = world.bytes();
    for (size, chunk) in [(1, 1), (70_000, 999), (1 << 20, 300_000)] {
        let bytes = content(size, 5);
        let (id, token) = world.allocated(size as u64, v1::Tier::Ram);
        let headers = format!("Payload-Allocation: {token}\r\nTransfer-Encoding: chunked\r\n");
        connection.request("PUT", &path(&id), &headers);
        connection.send(chunked(&bytes, chunk));
        assert_eq!(connection.reply_to("PUT").status, 204);
        let row = world.grpc().commit(commit(&id)).unwrap().payload.unwrap();
        assert_eq!(row.size, size as u64);
        connection.request("GET", &path(&id), "");
        assert!(connection.reply().body == bytes, "{size}");
    }
}

#[test]
fn a_digest_that_does_not_fit_is_refused_and_the_next_upload_overwrites() {
    let world = World::start();
    let (bytes, wrong) = (content(200_000, 1), content(200_000, 2));
    let (id, token) = world.allocated(200_000, v1::Tier::Ram);
    let digest = format!("Payload-Digest: {}\r\n", Digest::of(&bytes));
    let refused = world.upload(&id, &token, &digest, &wrong);
    assert_eq!((refused.status, &*refused.reason()), (409, "DIGEST_MISMATCH"));
    let accepted = world.upload(&id, &token, &digest, &bytes);
    assert_eq!(accepted.status, 204);
    assert_eq!(
        accepted.header("Payload-Digest"),
        Some(&*Digest::of(&bytes).to_string())
    );
    let request = v1::CommitRequest {
        digest: Digest::of(&bytes).to_string(),
        ..commit(&id)
    };
    world.grpc().commit(request).unwrap();
    assert!(world.get_content(&id).body == bytes);
}

#[test]
fn less_than_was_allocated_may_come_but_never_more() {
    let world = World::start();
    let bytes = content(150_000, 3);
    let (id, token) = world.allocated(150_000, v1::Tier::Ram);
    let mut connection = world.bytes();
    connection.put(&path(&id), &token, "Content-Length-Was: told\r\n", &bytes[..100]);
    assert_eq!(connection.reply_to("PUT").status, 204);

    // Told in advance, it is refused before a byte is read.
    let headers = format!("Payload-Allocation: {token}\r\nContent-Length: 150001\r\nExpect: 100-continue\r\n");
    connection.request("PUT", &path(&id), &headers);
    let refused = connection.reply_to("PUT");
    assert_eq!((refused.status, &*refused.reason()), (413, "BAD_SIZE"));
    assert_eq!(refused.header("Connection"), Some("close"));

    let mut connection = world.bytes();
    let headers = format!("Payload-Allocation: {token}\r\nTransfer-Encoding: chunked\r\n");
    connection.request("PUT", &path(&id), &headers);
    connection.send(chunked(&[bytes.clone(), vec![0]].concat(), 40_000));
    let refused = connection.reply_to("PUT");
    assert_eq!((refused.status, &*refused.reason()), (413, "BAD_SIZE"));

    assert_eq!(world.upload(&id, &token, "", &bytes[..1_000]).status, 204);
    let request = v1::CommitRequest {
        size: Some(1_000),
        ..commit(&id)
    };
    world.grpc().commit(request).unwrap();
    assert!(world.get_content(&id).body == bytes[..1_000]);
}

#[test]
fn only_the_token_of_an_open_allocation_lets_in() {
    let world = World::start();
    let (grpc, session) = (world.grpc(), world.session());
    let (id, token) = world.allocated(10, v1::Tier::Ram);
    let (other, others) = world.allocated(10, v1::Tier::Ram);
    let refusal = |id: &str, token: &str| {
        let reply = world.upload(id, token, "", b"0123456789");
        (reply.status, reply.reason())
    };
    let is = |status: u16, reason: &str| (status, reason.to_owned());
    assert_eq!(refusal(&id, &others), is(403, "ALLOCATION_NOT_OWNED"));
    assert_eq!(refusal(&id, "nonsense"), is(400, "BAD_ID"));
    assert_eq!(refusal(&id, ""), is(400, "BAD_ID"));
    assert_eq!(refusal("nonsense", &token), is(400, "BAD_ID"));

    assert_eq!(world.upload(&id, &token, "", b"0123456789").status, 204);
    grpc.commit(commit(&id)).unwrap();
    assert_eq!(refusal(&id, &token), is(409, "PAYLOAD_COMMITTED"));
    grpc.abort(abort(&other)).unwrap();
    assert_eq!(refusal(&other, &others), is(410, "PAYLOAD_ABORTED"));

    // A session writes by itself, and does not expect anybody else to.
    let (allocation, _fd) = session.allocate(allocate(10)).unwrap();
    let token = &allocation.allocation_token;
    assert_eq!(refusal(&allocation.payload_id, token), is(403, "ALLOCATION_NOT_OWNED"));
    assert_eq!(world.get_content(&id).body, b"0123456789");
}

#[test]
fn the_token_is_the_right_whichever_door_it_came_from() {
    let world = World::start();
    let grpc = Grpc::unix(&world.daemon.endpoint().grpc_socket);
    world.namespace("lab");
    let request = v1::AllocateRequest {
        namespace: "lab".to_owned(),
        ..allocate(3)
    };
    let allocation = grpc.allocate(request).unwrap();
    let url = &allocation.content_url;
    let target = url.strip_prefix(&world.daemon.endpoint().bytes).unwrap();
    let mut connection = world.bytes();
    connection.put(target, &allocation.allocation_token, "", b"abc");
    assert_eq!(connection.reply_to("PUT").status, 204);
    let request = v1::CommitRequest {
        namespace: "lab".to_owned(),
        ..commit(&allocation.payload_id)
    };
    grpc.commit(request).unwrap();
    assert_eq!(world.fetch("GET", target, "").body, b"abc");
}

#[test]
fn of_two_uploads_at_once_one_is_refused_and_nobody_commits_meanwhile() {
    let world = World::start();
    let bytes = content(100_000, 6);
    let (id, token) = world.allocated(100_000, v1::Tier::Disk);
    let mut first = world.bytes();
    let headers = format!("Payload-Allocation: {token}\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n");
    first.request("PUT", &path(&id), &headers);
    assert!(first.head().unwrap().starts_with("HTTP/1.1 100 Continue"));
    first.send(&bytes[..50_000]);

    let second = world.upload(&id, &token, "", &content(100_000, 9));
    assert_eq!((second.status, &*second.reason()), (409, "CONFLICT"));
    assert_eq!(reason(world.grpc().commit(commit(&id))), "WRITER_MAPPED");

    first.send(&bytes[50_000..]);
    assert_eq!(first.reply_to("PUT").status, 204);
    world.grpc().commit(commit(&id)).unwrap();
    assert!(world.get_content(&id).body == bytes);
}

#[test]
fn fault_17_an_upload_that_breaks_off_leaves_the_allocation_for_another() {
    let world = World::start();
    let bytes = content(100_000, 8);
    let (id, token) = world.allocated(100_000, v1::Tier::Ram);
    let mut broken = world.bytes();
    broken.put(&path(&id), &token, "", &bytes[..40_000]);
    let headers = format!("Payload-Allocation: {token}\r\nContent-Length: 100000\r\n");
    let mut broken = world.bytes();
    broken.request("PUT", &path(&id), &headers);
    broken.send(&bytes[..40_000]);
    drop(broken);
    // Until the server has noticed, the broken one is still under way.
    until("the broken upload to end", || {
        (world.upload(&id, &token, "", &bytes).status == 204).then_some(())
    });
    world.grpc().commit(commit(&id)).unwrap();
    assert!(world.get_content(&id).body == bytes);
}

#[test]
fn an_allocation_that_is_aborted_ends_its_upload() {
    let world = World::start();
    let (id, token) = world.allocated(1 << 20, v1::Tier::Ram);
    let mut upload = world.bytes();
    let headers = format!("Payload-Allocation: {token}\r\nContent-Length: 1048576\r\nExpect: 100-continue\r\n");
    upload.request("PUT", &path(&id), &headers);
    assert!(upload.head().unwrap().starts_with("HTTP/1.1 100 Continue"));
    world.grpc().abort(abort(&id)).unwrap();
    upload.send(vec![0; 1 << 20]);
    let reply = upload.reply_to("PUT");
    assert_eq!((reply.status, &*reply.reason()), (410, "PAYLOAD_ABORTED"));
}

#[test]
fn what_an_upload_may_not_say_is_refused() {
    let world = World::start();
    let (id, token) = world.allocated(10, v1::Tier::Ram);
    let cases = [
        ("Content-Range: bytes 0-9/10\r\n", 400),
        ("Content-Encoding: gzip\r\n", 415),
        ("If-Match: *\r\n", 412),
        ("Payload-Digest: sha256:00\r\n", 400),
        ("Content-Encoding: identity\r\n", 204),
        ("If-None-Match: *\r\n", 204),
    ];
    for (headers, status) in cases {
        assert_eq!(
            world.upload(&id, &token, headers, b"0123456789").status,
            status,
            "{headers}"
        );
    }
}
