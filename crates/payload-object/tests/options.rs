//! Every option of a bucket: where it shows, in what is asked and how.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, though not in a test module"
)]

mod common;

use std::sync::Arc;
use std::sync::mpsc;

use payload_core::port::{Content, ObjectStore};
use payload_core::{Reason, Span};
use payload_object::{Addressing, BucketOptions, BucketStore, Credentials, Place};
use payload_testkit::clock::ManualClock;
use payload_testkit::object::weather::{Fault, Which};
use payload_testkit::object::{bytes, key, read};

use crate::common::Rig;

/// The URL of a request that is signed with these options; nothing is sent.
fn url(change: impl FnOnce(&mut BucketOptions)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    std::fs::write(&keys, "aws_access_key_id = somebody\naws_secret_access_key = x\n").unwrap();
    let mut options = BucketOptions {
        place: Place::S3 {
            bucket: "bucket".to_owned(),
        },
        prefix: String::new(),
        endpoint: None,
        region: None,
        addressing: Addressing::Host,
        ca_file: None,
        credentials: Credentials::File(keys),
        concurrency: 4,
        part_size: 5 << 20,
        budget: Span::from_secs(10),
    };
    change(&mut options);
    let store = BucketStore::open(options, Arc::new(ManualClock::default())).unwrap();
    store.sign_get(&key(1), None, Span::from_secs(60)).unwrap().url
}

#[test]
fn a_request_goes_where_the_options_say_and_in_whose_name() {
    let path = key(1).to_string();
    let usual = url(|_| {});
    assert!(
        usual.starts_with(&format!("https://bucket.s3.us-east-1.amazonaws.com/{path}?")),
        "{usual}"
    );
    assert!(usual.contains("X-Amz-Credential=somebody%2F"), "{usual}");
    let starts = |url: &str, start: &str| assert!(url.starts_with(start), "{url}");
    starts(
        &url(|options| options.addressing = Addressing::Path),
        &format!("https://s3.us-east-1.amazonaws.com/bucket/{path}?"),
    );
    let elsewhere = url(|options| options.region = Some("eu-central-1".to_owned()));
    starts(&elsewhere, "https://bucket.s3.eu-central-1.amazonaws.com/");
    assert!(elsewhere.contains("%2Feu-central-1%2Fs3%2F"), "{elsewhere}");
    starts(
        &url(|options| options.prefix = "a/b".to_owned()),
        &format!("https://bucket.s3.us-east-1.amazonaws.com/a/b/{path}?"),
    );
    starts(
        &url(|options| options.endpoint = Some("http://host:9000".to_owned())),
        "http://bucket.host:9000/",
    );
    let addressed = url(|options| {
        options.endpoint = Some("http://host:9000".to_owned());
        options.addressing = Addressing::Path;
    });
    starts(&addressed, &format!("http://host:9000/bucket/{path}?"));
}

#[test]
fn parts_are_as_large_as_the_options_say() {
    let size = 20 << 20;
    for (part_size, parts) in [(5 << 20, 4), (10 << 20, 2), (20 << 20, 1)] {
        let rig = Rig::with(|options| options.part_size = part_size);
        let before = rig.server.weather().requests();
        rig.store.put(&key(1), Content::Bytes(&bytes(1, size))).unwrap();
        // What is one part needs neither a beginning nor an end.
        let around = if parts > 1 { 2 } else { 0 };
        assert_eq!(rig.server.weather().requests() - before, parts + around);
        let before = rig.server.weather().requests();
        assert!(read(&*rig.store, &key(1), 0..size as u64).unwrap() == bytes(1, size));
        assert_eq!(rig.server.weather().requests() - before, parts);
    }
}

/// Four parts, none of which is answered.
#[test]
fn no_more_requests_are_under_way_than_the_options_say() {
    let rig = Rig::with(|options| {
        options.concurrency = 2;
        options.budget = Span::from_secs(3);
    });
    rig.server.weather().set_for_all(Which::Part, Fault::Silence);
    let error = rig.store.put(&key(1), Content::Bytes(&bytes(1, 20 << 20))).unwrap_err();
    assert_eq!(error.reason(), Reason::ObjectStoreUnavailable);
    assert_eq!(rig.server.weather().puts_peak(), 2);
}

#[test]
fn a_request_takes_no_longer_than_the_options_say() {
    let rig = Rig::with(|options| options.budget = Span::from_millis(300));
    rig.server.weather().set_for_all(Which::Any, Fault::Silence);
    let error = rig.store.put(&key(1), Content::Bytes(b"bytes")).unwrap_err();
    assert_eq!(error.reason(), Reason::ObjectStoreUnavailable);
}

/// There are places for two parts. One who does not take his has both, and leaves them to others meanwhile.
#[test]
fn a_slow_reader_keeps_nobody_from_reading() {
    let rig = Rig::with(|options| options.concurrency = 2);
    let large = bytes(1, 20 << 20);
    rig.store.put(&key(1), Content::Bytes(&large)).unwrap();
    rig.store.put(&key(2), Content::Bytes(b"small")).unwrap();
    let (started, has_started) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let store = &rig.store;
        let slow = scope.spawn(move || {
            let mut first = true;
            let mut got = 0;
            store.read(&key(1), 0..20 << 20, &mut |_, piece| {
                if std::mem::take(&mut first) {
                    started.send(()).unwrap();
                    may_go_on.recv().unwrap();
                }
                got += piece.len();
                Ok(())
            })?;
            Ok::<_, payload_core::Error>(got)
        });
        has_started.recv().unwrap();
        for _ in 0..10 {
            assert_eq!(read(&*rig.store, &key(2), 0..5).unwrap(), b"small");
        }
        go_on.send(()).unwrap();
        assert_eq!(slow.join().unwrap().unwrap(), 20 << 20);
    });
}
