//! A bucket in trouble: what goes wrong between it and the store is made up for, or said.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, though not in a test module"
)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use payload_core::port::{Content, ObjectStore, SignedRequest};
use payload_core::{Digest, ErrorKind, Outcome, Reason, Span, Timestamp};
use payload_object::Step;
use payload_testkit::object::weather::{Fault, Which};
use payload_testkit::object::{bytes, key, read, refusal};

use crate::common::Rig;

/// Long enough for a request to come about, short enough to be waited for.
const SHORT: Span = Span::from_millis(700);

const LARGE: usize = (12 << 20) + 5;

fn assert_stored(rig: &Rig, bytes: &[u8]) {
    assert!(read(&*rig.store, &key(1), 0..bytes.len() as u64).unwrap() == bytes);
}

/// Puts under a fault that happens once, or a few times, and asserts that it happened and harmed nothing.
fn put_through(which: Which, fault: Fault, count: u32, size: usize) {
    let rig = Rig::new();
    let bytes = bytes(size as u64, size);
    rig.server.weather().set(which, fault, count);
    let put = rig.store.put(&key(1), Content::Bytes(&bytes));
    assert_eq!(put.unwrap().digest, Digest::of(&bytes), "{which:?} {fault:?}");
    assert_eq!(rig.server.weather().left(), 0, "{fault:?} did not happen");
    assert_stored(&rig, &bytes);
}

#[test]
fn fault_35_a_store_that_is_busy_for_a_while_is_waited_for() {
    for status in [500, 503, 429] {
        put_through(Which::Any, Fault::Refuse(status), 3, 1_000);
    }
    put_through(Which::Part, Fault::Refuse(503), 3, LARGE);
    put_through(Which::Complete, Fault::Refuse(503), 2, LARGE);
}

#[test]
fn fault_35_connections_that_break_are_made_again() {
    put_through(Which::Put, Fault::CutRequest, 2, 1_000);
    put_through(Which::Part, Fault::CutRequest, 2, LARGE);
}

#[test]
fn fault_35_bytes_that_were_damaged_on_the_way_are_sent_again() {
    put_through(Which::Put, Fault::DamageRequest, 1, 1_000);
    put_through(Which::Part, Fault::DamageRequest, 1, LARGE);
}

#[test]
fn fault_35_a_read_that_breaks_off_goes_on_where_it_was() {
    let rig = Rig::new();
    let bytes = bytes(1, LARGE);
    rig.store.put(&key(1), Content::Bytes(&bytes)).unwrap();
    rig.server.weather().set(Which::Get, Fault::CutAnswer, 2);
    assert_stored(&rig, &bytes);
    assert_eq!(rig.server.weather().left(), 0);
}

#[test]
fn fault_35_a_store_that_stays_away_is_reported_and_comes_back() {
    for fault in [Fault::Refuse(503), Fault::Silence, Fault::CutRequest] {
        let rig = Rig::with(|options| options.budget = SHORT);
        rig.server.weather().set_for_all(Which::Any, fault);
        let error = rig.store.put(&key(1), Content::Bytes(b"bytes")).unwrap_err();
        assert_eq!(error.reason(), Reason::ObjectStoreUnavailable, "{fault:?}");
        assert_eq!(error.outcome(), Outcome::Unknown, "{fault:?}");
        assert!(error.retry_delay().is_some());
        assert_eq!(refusal(&*rig.store, &key(1), 0..5), Reason::ObjectStoreUnavailable);
        assert_eq!(rig.store.check().unwrap_err().reason(), Reason::ObjectStoreUnavailable);
        assert_eq!(
            rig.store.stat(&key(1)).unwrap_err().reason(),
            Reason::ObjectStoreUnavailable
        );
        assert_eq!(rig.store.remove(&[key(1)]).unwrap_err().outcome(), Outcome::Unknown);
        rig.server.weather().clear();
        let patient = rig.again();
        patient.check().unwrap();
        patient.put(&key(1), Content::Bytes(b"bytes")).unwrap();
        assert_eq!(read(&patient, &key(1), 0..5).unwrap(), b"bytes");
    }
}

/// Nothing is ready before all parts are, and the store has put them together.
#[test]
fn fault_35_an_upload_that_fails_half_way_leaves_no_object() {
    let rig = Rig::with(|options| options.budget = SHORT);
    rig.server.weather().set_for_all(Which::Part, Fault::Refuse(503));
    let error = rig.store.put(&key(1), Content::Bytes(&bytes(1, LARGE))).unwrap_err();
    assert_eq!(error.reason(), Reason::ObjectStoreUnavailable);
    rig.server.weather().clear();
    assert_eq!(rig.again().stat(&key(1)).unwrap(), None);
}

#[test]
fn fault_36_an_answer_that_is_lost_is_found_out() {
    put_through(Which::Put, Fault::LoseAnswer, 1, 1_000);
    put_through(Which::Part, Fault::LoseAnswer, 1, LARGE);
    put_through(Which::Complete, Fault::LoseAnswer, 1, LARGE);
    put_through(Which::Complete, Fault::EmptyAnswer, 1, LARGE);
}

/// S3 answers before it has put the parts together, so a refusal may come inside of a success.
#[test]
fn fault_35_a_success_with_a_refusal_inside_is_none() {
    put_through(Which::Complete, Fault::ErrorInside("InternalError"), 2, LARGE);
    let rig = Rig::new();
    rig.server
        .weather()
        .set(Which::Complete, Fault::ErrorInside("InvalidPart"), 1);
    let error = rig.store.put(&key(1), Content::Bytes(&bytes(1, LARGE))).unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::ObjectStoreUnavailable, Outcome::Unknown)
    );
    assert_eq!(rig.store.stat(&key(1)).unwrap(), None);
}

/// A store that forgets a silent connection is asked again in time.
#[test]
fn fault_35_a_question_that_is_not_answered_is_asked_again() {
    let rig = Rig::with(|options| options.budget = SHORT * 3);
    rig.store.put(&key(1), Content::Bytes(b"bytes")).unwrap();
    rig.server.weather().set(Which::Any, Fault::Silence, 1);
    assert_eq!(rig.store.stat(&key(1)).unwrap().unwrap().size, 5);
    assert_eq!(rig.server.weather().left(), 0);
}

#[test]
fn fault_39_an_answer_with_fewer_bytes_than_it_should_have_is_made_up_for() {
    let rig = Rig::new();
    let bytes = bytes(1, LARGE);
    rig.store.put(&key(1), Content::Bytes(&bytes)).unwrap();
    rig.server.weather().set(Which::Get, Fault::ShortAnswer, 2);
    assert_stored(&rig, &bytes);
    assert_eq!(rig.server.weather().left(), 0);
    rig.server.weather().set_for_all(Which::Get, Fault::ShortAnswer);
    assert_eq!(
        refusal(&*rig.store, &key(1), 0..LARGE as u64),
        Reason::ObjectStoreUnavailable
    );
}

/// Somebody who takes an upload for a leftover gives it up. That says nothing about the bytes that are to be stored.
#[test]
fn fault_36_an_upload_that_somebody_gave_up_is_worth_another_try() {
    let rig = Rig::new();
    let bytes = bytes(1, LARGE);
    for which in [Which::Part, Which::Complete] {
        rig.server.weather().set_for_all(which, Fault::Refuse(404));
        let error = rig.store.put(&key(1), Content::Bytes(&bytes)).unwrap_err();
        rig.server.weather().clear();
        assert_eq!(error.reason(), Reason::ObjectStoreUnavailable, "{which:?}");
        assert_eq!(rig.store.stat(&key(1)).unwrap(), None);
    }
    rig.store.put(&key(1), Content::Bytes(&bytes)).unwrap();
}

#[test]
fn fault_36_a_conflict_that_left_nothing_is_tried_again() {
    put_through(Which::Put, Fault::Refuse(409), 1, 1_000);
}

#[test]
fn fault_38_refused_credentials_are_said_and_mended_without_a_restart() {
    let rig = Rig::new();
    std::fs::write(&rig.keys, "aws_access_key_id = tester\naws_secret_access_key = old\n").unwrap();
    let error = rig.store.put(&key(1), Content::Bytes(b"bytes")).unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::ObjectStoreDenied, Outcome::NotApplied)
    );
    assert_eq!(rig.store.check().unwrap_err().reason(), Reason::ObjectStoreDenied);
    std::fs::remove_file(&rig.keys).unwrap();
    assert_eq!(rig.store.check().unwrap_err().reason(), Reason::ObjectStoreDenied);
    payload_testkit::object::server::S3Server::write_keys(&rig.keys);
    rig.store.put(&key(1), Content::Bytes(b"bytes")).unwrap();
}

/// Nothing of it is an object, and with the next keys all is well.
#[test]
fn fault_38_credentials_that_end_during_an_upload_end_it() {
    let rig = Rig::new();
    let bytes = bytes(1, LARGE);
    rig.server.weather().set_for_all(Which::Part, Fault::Refuse(403));
    let error = rig.store.put(&key(1), Content::Bytes(&bytes)).unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::ObjectStoreDenied, Outcome::NotApplied)
    );
    rig.server.weather().clear();
    assert_eq!(rig.store.stat(&key(1)).unwrap(), None);
    rig.store.put(&key(1), Content::Bytes(&bytes)).unwrap();
    assert_stored(&rig, &bytes);
}

#[test]
fn fault_38_a_removal_that_is_refused_for_an_object_is_no_removal() {
    let rig = Rig::new();
    rig.server
        .weather()
        .set(Which::Remove, Fault::ErrorInside("AccessDenied"), 1);
    let error = rig.store.remove(&[key(1)]).unwrap_err();
    assert_eq!(error.reason(), Reason::ObjectStoreDenied);
}

#[test]
fn fault_39_an_object_that_is_replaced_while_it_is_read_is_no_object() {
    let rig = Rig::with(|options| options.concurrency = 1);
    rig.store.put(&key(1), Content::Bytes(&bytes(1, LARGE))).unwrap();
    let other = rig.again();
    let mut replaced = false;
    let read = rig.store.read(&key(1), 0..LARGE as u64, &mut |_, _| {
        if !std::mem::replace(&mut replaced, true) {
            other.remove(&[key(1)]).unwrap();
            other.put(&key(1), Content::Bytes(&bytes(2, LARGE))).unwrap();
        }
        Ok(())
    });
    // A part that is asked for in between finds nothing.
    assert_eq!(read.unwrap_err().kind(), ErrorKind::DataLoss);
}

/// One request stores what fits a part, and one reads it: no listing and no look in between.
#[test]
fn no_request_is_made_that_is_not_needed() {
    let rig = Rig::new();
    let count = |act: &dyn Fn()| {
        let before = rig.server.weather().requests();
        act();
        rig.server.weather().requests() - before
    };
    let (small, large) = (bytes(1, 64 << 10), bytes(2, LARGE));
    assert_eq!(
        count(&|| drop(rig.store.put(&key(1), Content::Bytes(&small)).unwrap())),
        1
    );
    assert_eq!(count(&|| assert_stored(&rig, &small)), 1);
    // Begin, three parts, finish.
    assert_eq!(
        count(&|| drop(rig.store.put(&key(2), Content::Bytes(&large)).unwrap())),
        5
    );
    assert_eq!(count(&|| drop(read(&*rig.store, &key(2), 0..LARGE as u64).unwrap())), 3);
    assert_eq!(count(&|| rig.store.remove(&[key(1), key(2)]).unwrap()), 1);
    assert_eq!(rig.store.requests(), rig.server.weather().requests());
}

#[test]
fn a_good_bucket_passes_the_probe_and_is_left_as_it_was() {
    let rig = Rig::new();
    rig.clock.set_wall(now());
    let findings = rig.store.probe(&[1; 16]);
    let failed: Vec<String> = findings
        .iter()
        .filter(|f| f.result.is_err())
        .map(ToString::to_string)
        .collect();
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(findings.len(), 10);
    assert_eq!(rig.store.list(None, 10).unwrap(), []);
}

#[test]
fn the_probe_names_what_is_wrong_and_what_to_do() {
    let said = |rig: &Rig, step: Step| {
        let findings = rig.store.probe(&[1; 16]);
        let found = findings.iter().find(|finding| finding.step == step).unwrap();
        let error = found.result.as_ref().expect_err(step.as_str());
        error.to_string()
    };
    let rig = Rig::new();
    rig.clock.set_wall(now().after(Span::from_secs(3_600)));
    assert!(said(&rig, Step::Clock).contains("NTP"));
    rig.clock.set_wall(now());
    rig.server.weather().set_for_all(Which::Any, Fault::ForgetObject);
    let ignored = said(&rig, Step::ConditionalPut);
    assert!(ignored.contains("ignores If-None-Match"), "{ignored}");
    rig.server.weather().set_for_all(Which::Part, Fault::Refuse(403));
    assert!(said(&rig, Step::Multipart).contains("s3:AbortMultipartUpload"));
    rig.server.weather().set_for_all(Which::Put, Fault::Refuse(403));
    assert!(said(&rig, Step::Put).contains("s3:PutObject"));
    rig.server.weather().clear();
    std::fs::write(&rig.keys, "aws_access_key_id = nobody\naws_secret_access_key = x\n").unwrap();
    assert!(said(&rig, Step::Reach).contains("403"));
}

#[test]
fn whoever_has_a_signed_request_stores_one_object_and_replaces_none() {
    let rig = Rig::new();
    let signed = rig.store.sign_put(&key(1), 5, Span::from_secs(60)).unwrap();
    let bare = SignedRequest {
        headers: Vec::new(),
        ..signed.clone()
    };
    assert_eq!(send(&bare, b"bytes").0, 403);
    assert_eq!(rig.store.stat(&key(1)).unwrap(), None);
    assert_eq!(send(&signed, b"bytes").0, 200);
    assert_eq!(send(&signed, b"other").0, 412);
    let get = rig.store.sign_get(&key(1), None, Span::from_secs(60)).unwrap();
    assert_eq!(send(&get, b""), (200, b"bytes".to_vec()));
    let forged = SignedRequest {
        url: get.url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
        ..get
    };
    assert_eq!(send(&forged, b"").0, 403);
}

#[test]
fn whoever_has_a_request_for_a_range_reads_nothing_else() {
    let rig = Rig::new();
    rig.store.put(&key(1), Content::Bytes(b"0123456789")).unwrap();
    let signed = rig.store.sign_get(&key(1), Some(2..5), Span::from_secs(60)).unwrap();
    assert_eq!(send(&signed, b""), (206, b"234".to_vec()));
    for headers in [Vec::new(), vec![("range".to_owned(), "bytes=0-9".to_owned())]] {
        let greedy = SignedRequest {
            headers,
            ..signed.clone()
        };
        assert_eq!(send(&greedy, b"").0, 403);
    }
}

#[test]
fn fault_38_nothing_is_signed_with_keys_that_have_ended() {
    let rig = Rig::new();
    let mut keys = std::fs::read_to_string(&rig.keys).unwrap();
    keys.push_str("expiration = 2026-01-31T12:00:00Z\n");
    std::fs::write(&rig.keys, keys).unwrap();
    let end = 1_769_860_800_000_000;
    rig.clock.set_wall(Timestamp::from_micros(end - 90_000_000));
    let signed = rig.store.sign_get(&key(1), None, Span::from_secs(600)).unwrap();
    assert_eq!(signed.valid, Span::from_secs(90));
    assert!(signed.url.contains("X-Amz-Expires=90&"));
    rig.clock.set_wall(Timestamp::from_micros(end));
    let error = rig.store.sign_get(&key(1), None, Span::from_secs(600)).unwrap_err();
    assert_eq!(error.reason(), Reason::ObjectStoreDenied);
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server in this test tells the time of this host"
)]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}

/// Sends a signed request as any client would, and returns status and body.
fn send(request: &SignedRequest, body: &[u8]) -> (u16, Vec<u8>) {
    let rest = request.url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut head = format!(
        "{} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n",
        request.method
    );
    if request.method == "PUT" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer[end + 4..].to_vec())
}
