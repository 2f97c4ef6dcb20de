//! Reading: ranges, conditions, leases, and what is refused.

use payload_core::Digest;
use payload_proto::v1;

use super::path;
use crate::support::World;
use crate::support::refusal::lease;
use crate::support::samples::{abort, acquire, content, delete, put};

#[test]
fn parts_of_a_payload_are_sent() {
    let world = World::start();
    let session = world.session();
    for (small, bytes) in [(true, content(1_000, 1)), (false, content(100_000, 2))] {
        let id = if small {
            session.put_id(&bytes)
        } else {
            session.publish(&bytes).payload_id
        };
        let size = bytes.len();
        let range = |range: &str| world.fetch("GET", &path(&id), &format!("Range: {range}\r\n"));
        let cases = [
            ("bytes=0-0".to_owned(), 0, 1),
            ("bytes=10-19".to_owned(), 10, 10),
            (format!("bytes={}-", size - 5), size - 5, 5),
            ("bytes=-7".to_owned(), size - 7, 7),
            (format!("bytes=5-{}", size * 2), 5, size - 5),
        ];
        for (header, first, length) in cases {
            let reply = range(&header);
            assert_eq!(reply.status, 206, "{header}");
            assert!(reply.body == bytes[first..first + length], "{header}");
            let told = format!("bytes {first}-{}/{size}", first + length - 1);
            assert_eq!(reply.header("Content-Range"), Some(&*told));
        }
        // What the RFC lets us ignore is answered with everything.
        for header in ["bytes=0-1,5-6", "lines=1-2", "bytes=9-5"] {
            let reply = range(header);
            assert_eq!((reply.status, reply.body.len()), (200, size), "{header}");
            assert_eq!(reply.header("Content-Range"), None);
        }
        let reply = range(&format!("bytes={size}-"));
        assert_eq!((reply.status, &*reply.reason()), (416, "RANGE_NOT_SATISFIABLE"));
        assert_eq!(reply.header("Content-Range"), Some(&*format!("bytes */{size}")));
    }
}

#[test]
fn an_answer_says_what_it_is() {
    let world = World::start();
    let bytes = content(5_000, 3);
    let id = world.session().put_id(&bytes);
    let whole = world.get_content(&id);
    let head = world.fetch("HEAD", &path(&id), "Range: bytes=0-1\r\n");
    for reply in [&whole, &head] {
        assert_eq!(reply.status, 200);
        let expected = [
            ("Content-Type", "application/octet-stream"),
            ("Content-Length", "5000"),
            ("Accept-Ranges", "bytes"),
            ("ETag", &*format!("\"{id}\"")),
            ("Payload-Digest", &*Digest::of(&bytes).to_string()),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "private, no-cache"),
        ];
        for (name, value) in expected {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
        assert!(reply.header("Date").is_some_and(|date| date.ends_with(" GMT")));
        assert!(!reply.head.to_lowercase().contains("access-control"));
    }
    assert!(whole.body == bytes && head.body.is_empty());
}

#[test]
fn an_empty_payload_is_content_too() {
    let world = World::start();
    let id = world.session().put_id(b"");
    let reply = world.get_content(&id);
    assert_eq!((reply.status, reply.header("Content-Length")), (200, Some("0")));
    assert_eq!(world.fetch("GET", &path(&id), "Range: bytes=0-\r\n").status, 416);
}

#[test]
fn conditions_are_honoured() {
    let world = World::start();
    let id = world.session().put_id(b"0123456789");
    let status = |headers: &str| world.fetch("GET", &path(&id), headers).status;
    let (own, other) = (format!("\"{id}\""), "\"another\"");
    assert_eq!(status(&format!("If-None-Match: {own}\r\n")), 304);
    assert_eq!(status(&format!("If-None-Match: W/{own}\r\n")), 304);
    assert_eq!(
        status(&format!("If-None-Match: {other}\r\nIf-None-Match: {own}\r\n")),
        304
    );
    assert_eq!(status("If-None-Match: *\r\n"), 304);
    assert_eq!(status(&format!("If-None-Match: {other}\r\n")), 200);
    assert_eq!(status(&format!("If-Match: {other}, {own}\r\n")), 200);
    assert_eq!(status("If-Match: *\r\n"), 200);
    assert_eq!(status(&format!("If-Match: W/{own}\r\n")), 412);
    assert_eq!(status(&format!("If-Match: {other}\r\nIf-None-Match: {own}\r\n")), 412);
    let range = "Range: bytes=2-3\r\n";
    assert_eq!(status(&format!("{range}If-Range: {own}\r\n")), 206);
    assert_eq!(status(&format!("{range}If-Range: {other}\r\n")), 200);
    assert_eq!(status(&format!("{range}If-Range: W/{own}\r\n")), 200);
    assert_eq!(
        status(&format!("{range}If-Range: Sat, 29 Oct 1994 19:43:31 GMT\r\n")),
        200
    );
    assert_eq!(status(&format!("{range}If-None-Match: {own}\r\n")), 304);
    let unchanged = world.fetch("GET", &path(&id), "If-None-Match: *\r\n");
    assert_eq!(
        (unchanged.header("ETag"), unchanged.header("Content-Length")),
        (Some(&*own), None)
    );
}

#[test]
fn what_cannot_be_read_is_refused_as_everywhere() {
    let world = World::start();
    let (session, grpc) = (world.session(), world.grpc());
    let (open, _) = world.allocated(100, v1::Tier::Ram);
    let (aborted, _) = world.allocated(100, v1::Tier::Ram);
    grpc.abort(abort(&aborted)).unwrap();
    let deleted = session.put_id(b"gone");
    grpc.delete_payload(delete(&deleted)).unwrap();
    world.namespace("lab");
    let elsewhere = v1::PutRequest {
        namespace: "lab".to_owned(),
        ..put(b"theirs")
    };
    let elsewhere = session.put(elsewhere).unwrap().payload.unwrap().payload_id;
    let cases = [
        (path(&open), 409, "PAYLOAD_NOT_COMMITTED"),
        (path(&aborted), 410, "PAYLOAD_ABORTED"),
        (path(&deleted), 410, "PAYLOAD_DELETED"),
        (path(&elsewhere), 404, "PAYLOAD_NOT_FOUND"),
        (path("0190a5c4-7d2f-7cc1-8b5e-2f1d3c4b5a69"), 404, "PAYLOAD_NOT_FOUND"),
        (path("nonsense"), 400, "BAD_ID"),
        (format!("{}?namespace=../..", path(&elsewhere)), 400, "BAD_NAME"),
        (format!("{}?tenant=lab", path(&elsewhere)), 400, "BAD_REQUEST"),
        ("/".to_owned(), 404, "NOT_FOUND"),
    ];
    for (target, status, reason) in cases {
        let reply = world.fetch("GET", &target, "");
        assert_eq!((reply.status, &*reply.reason()), (status, reason), "{target}");
    }
    let found = world.fetch("GET", &format!("{}?namespace=lab", path(&elsewhere)), "");
    assert_eq!((found.status, &*found.body), (200, &b"theirs"[..]));
}

#[test]
fn under_a_lease_a_payload_that_is_being_deleted_can_still_be_read() {
    let world = World::start();
    let grpc = world.grpc();
    let bytes = content(200_000, 4);
    let id = world.session().publish(&bytes).payload_id;
    let held = lease(grpc.acquire(acquire(&[&id])).unwrap().results.remove(0)).unwrap();
    assert_eq!(grpc.delete_payload(delete(&id)).unwrap().state(), v1::State::Deleting);

    assert_eq!(world.get_content(&id).status, 410);
    let under = |lease: &str| world.fetch("GET", &path(&id), &format!("Payload-Lease: {lease}\r\n"));
    assert!(under(&held.lease_id).body == bytes);
    let other = world.session().put_id(b"other");
    let other = lease(grpc.acquire(acquire(&[&other])).unwrap().results.remove(0)).unwrap();
    assert_eq!(under(&other.lease_id).reason(), "LEASE_NOT_FOUND");
    assert_eq!(under("nonsense").reason(), "BAD_ID");

    grpc.release(crate::support::samples::release(&[&held.lease_id, &other.lease_id]))
        .unwrap();
    world.await_leases(0);
    assert_eq!(under(&held.lease_id).status, 404);
}
