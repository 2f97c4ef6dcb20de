//! The same contract, and what only a server can show that lists unfinished uploads, on an S3 server of somebody else's.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, though not in a test module"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use object_store::aws::AmazonS3Builder;
use object_store::multipart::MultipartStore;
use payload_core::Reason;
use payload_core::port::{Content, ObjectStore};
use payload_object::{BucketStore, Place};
use payload_testkit::clock::ManualClock;
use payload_testkit::object::server::{ACCESS_KEY, BUCKET, SECRET_KEY};
use payload_testkit::object::{CASES, S3Server, SeaweedFs, World, bytes, key, read};

use crate::common::options;

/// A store below a prefix of its own: the server takes long to start, so the cases share one.
fn store(server: &SeaweedFs, keys: &std::path::Path, prefix: &str) -> BucketStore {
    let mut options = options(server.endpoint(), keys.to_owned());
    prefix.clone_into(&mut options.prefix);
    BucketStore::open(options, Arc::new(ManualClock::default())).unwrap()
}

#[test]
fn seaweedfs_fulfils_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    S3Server::write_keys(&keys);
    let server = SeaweedFs::start();
    let worlds = AtomicU32::new(0);
    for (name, case) in CASES {
        println!("{name}");
        case(&|| {
            let number = worlds.fetch_add(1, Ordering::Relaxed);
            World {
                store: Arc::new(store(&server, &keys, &format!("worlds/{number}"))),
                keep: Box::new(()),
            }
        });
    }
}

/// What a bucket that is not there answers to a HEAD has no word in it for what is missing.
#[test]
fn a_bucket_that_is_not_there_does_not_work() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    S3Server::write_keys(&keys);
    let server = SeaweedFs::start();
    store(&server, &keys, "a").check().unwrap();
    let mut options = options(server.endpoint(), keys);
    let bucket = "other".to_owned();
    options.place = Place::S3 { bucket };
    let other = BucketStore::open(options, Arc::new(ManualClock::default())).unwrap();
    assert_eq!(other.check().unwrap_err().reason(), Reason::ObjectStoreUnfit);
}

/// As a writer leaves it that is killed before its last part.
fn begin_upload(server: &SeaweedFs, path: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(server.endpoint())
            .with_allow_http(true)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .build()
            .unwrap();
        let id = client.create_multipart(&path.into()).await.unwrap();
        let part = bytes(1, 5 << 20).into();
        client.put_part(&path.into(), &id, 0, part).await.unwrap();
    });
}

/// What a killed writer has sent stays in the bucket, unseen, until somebody gives it up.
#[test]
fn fault_37_an_unfinished_upload_is_listed_and_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    S3Server::write_keys(&keys);
    let server = SeaweedFs::start();
    let store = store(&server, &keys, "a");
    let other = self::store(&server, &keys, "ab");
    begin_upload(&server, &format!("a/{}", key(1)));
    assert_eq!(other.uploads(None, 10).unwrap(), []);
    let [upload] = &store.uploads(None, 10).unwrap()[..] else {
        panic!("one upload was begun")
    };
    assert_eq!(upload.key, Some(key(1)));
    assert_eq!(store.stat(&key(1)).unwrap(), None);
    store.abort(upload).unwrap();
    store.abort(upload).unwrap();
    assert_eq!(store.uploads(None, 10).unwrap(), []);
    let bytes = bytes(1, 6 << 20);
    store.put(&key(1), Content::Bytes(&bytes)).unwrap();
    assert!(read(&store, &key(1), 0..6 << 20).unwrap() == bytes);
}
