//! Buckets for tests.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "helpers of tests are tests, though not in a test module, and no test uses all of them"
)]

use std::path::PathBuf;
use std::sync::Arc;

use payload_core::Span;
use payload_object::{Addressing, BucketOptions, BucketStore, Credentials, Place};
use payload_testkit::clock::ManualClock;
use payload_testkit::object::server::{BUCKET, S3Server};

/// Patient enough for a loaded machine: nothing that succeeds takes so long.
pub(crate) const PATIENT: Span = Span::from_secs(30);

/// A server, and a store that talks to it.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) store: Arc<BucketStore>,
    pub(crate) server: S3Server,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) keys: PathBuf,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Another store on the same bucket, with the usual options.
    pub(crate) fn again(&self) -> BucketStore {
        let options = options(self.server.endpoint(), self.keys.clone());
        BucketStore::open(options, self.clock.clone()).unwrap()
    }

    /// With other options than the usual ones.
    pub(crate) fn with(change: impl FnOnce(&mut BucketOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        S3Server::write_keys(&keys);
        let server = S3Server::start();
        let mut options = options(server.endpoint(), keys.clone());
        change(&mut options);
        let clock = Arc::new(ManualClock::default());
        Self {
            store: Arc::new(BucketStore::open(options, clock.clone()).unwrap()),
            server,
            clock,
            keys,
            _dir: dir,
        }
    }
}

/// As a server in the tests' own network wants it.
pub(crate) fn options(endpoint: String, keys: PathBuf) -> BucketOptions {
    BucketOptions {
        place: Place::S3 {
            bucket: BUCKET.to_owned(),
        },
        prefix: "tests/objects".to_owned(),
        endpoint: Some(endpoint),
        region: Some("us-east-1".to_owned()),
        addressing: Addressing::Path,
        ca_file: None,
        credentials: Credentials::File(keys),
        concurrency: 4,
        part_size: 5 << 20,
        budget: PATIENT,
    }
}
