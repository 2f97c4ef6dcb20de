//! Asks a bucket, step by step, whether the object tier can rest on it.

use std::fmt;

use payload_core::port::{Content, ObjectKey, ObjectStore};
use payload_core::{Error, Reason, Result};

use super::BucketStore;

/// How far the clocks may be apart before the store refuses signatures: AWS takes a quarter of an hour.
const SKEW_MAX_S: u64 = 300;

/// The smallest part that S3 takes, and one byte more, so that there are two.
const TWO_PARTS: usize = (5 << 20) + 1;

/// What is asked, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The store answers, and there is the bucket.
    Reach,
    /// The clocks agree.
    Clock,
    /// An object can be stored.
    Put,
    /// What was stored can be read.
    Get,
    /// A put onto an object is refused.
    ConditionalPut,
    /// Objects can be stored in parts.
    Multipart,
    /// Parts that would become an object in place of another are refused.
    ConditionalMultipart,
    /// Objects can be listed.
    List,
    /// Unfinished uploads can be listed; S3 alone has them.
    Uploads,
    /// Objects can be removed.
    Delete,
}

impl Step {
    /// What can be done if it fails.
    const fn remedy(self) -> &'static str {
        match self {
            Self::Reach => "check url, endpoint, region, path_style, ca and the network between; make the bucket",
            Self::Clock => "set this host's clock (NTP)",
            Self::Put => "allow the credentials to store objects (S3: s3:PutObject)",
            Self::Get => "allow the credentials to read objects (S3: s3:GetObject)",
            Self::ConditionalPut => "use a store, or a version of it, that honours If-None-Match",
            Self::Multipart => "allow multipart uploads (S3: s3:PutObject, s3:AbortMultipartUpload)",
            Self::ConditionalMultipart => {
                "use a store, or a version of it, that honours If-None-Match when an upload is completed"
            }
            Self::Uploads => "allow the credentials to list unfinished uploads (S3: s3:ListBucketMultipartUploads)",
            Self::List => "allow the credentials to list the bucket (S3: s3:ListBucket)",
            Self::Delete => "allow the credentials to remove objects (S3: s3:DeleteObject)",
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reach => "reach",
            Self::Clock => "clock",
            Self::Put => "put",
            Self::Get => "get",
            Self::ConditionalPut => "conditional put",
            Self::Multipart => "multipart",
            Self::ConditionalMultipart => "conditional multipart",
            Self::List => "list",
            Self::Uploads => "list uploads",
            Self::Delete => "delete",
        }
    }
}

/// A step and how it went.
#[derive(Debug)]
pub struct Finding {
    /// What was asked.
    pub step: Step,
    /// The error names what is wrong, and what to do about it.
    pub result: Result<()>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(()) => write!(f, "{}: good", self.step.as_str()),
            Err(error) => write!(f, "{}: {error}", self.step.as_str()),
        }
    }
}

impl BucketStore {
    /// Goes through all steps, or up to the first without which the others mean nothing. It leaves nothing behind. `name`
    /// makes its objects its own: give another one each time.
    pub fn probe(&self, name: &[u8; 16]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut ask = |step: Step, result: Result<()>| {
            let result = result.map_err(|error| with_remedy(step, error));
            let good = result.is_ok();
            findings.push(Finding { step, result });
            good
        };
        let id = ObjectKey::of(name);
        let key = |what: &str| format!("probe/{what}-{}", id.as_str().replace('/', "-")).parse::<ObjectKey>();
        let (Ok(small), Ok(large)) = (key("small"), key("large")) else {
            return findings;
        };
        let parts = |byte: u8| vec![byte; TWO_PARTS];
        if ask(Step::Reach, self.check())
            && ask(Step::Clock, self.probe_clock())
            && ask(Step::Put, self.put(&small, Content::Bytes(b"one")).map(drop))
        {
            ask(Step::Get, self.probe_get(&small));
            ask(Step::ConditionalPut, self.probe_refusal(&small, b"two"));
            if ask(Step::Multipart, self.put_in_parts(&large, &parts(1))) && self.has_conditional_multipart() {
                ask(Step::ConditionalMultipart, self.probe_refusal(&large, &parts(2)));
            }
            ask(Step::List, self.list(None, 1).map(drop));
            if self.has_conditional_multipart() {
                ask(Step::Uploads, self.uploads(None, 1).map(drop));
            }
            ask(Step::Delete, self.remove(&[small, large]));
        }
        findings
    }

    fn probe_clock(&self) -> Result<()> {
        let Some(theirs) = self.connector.seen.date() else {
            return Ok(());
        };
        let ours = self.clock.wall().as_micros() / 1_000_000;
        let apart = ours.abs_diff(theirs);
        if apart <= SKEW_MAX_S {
            return Ok(());
        }
        let message = format!("this host's clock and the store's are {apart} s apart");
        Err(Error::new(Reason::ObjectStoreUnfit, message))
    }

    fn probe_get(&self, key: &ObjectKey) -> Result<()> {
        let mut read = Vec::new();
        self.read(key, 1..3, &mut |_, bytes| {
            read.extend_from_slice(bytes);
            Ok(())
        })?;
        if read == b"ne" {
            return Ok(());
        }
        Err(Error::new(
            Reason::ObjectStoreUnfit,
            "a range has other bytes than were stored",
        ))
    }

    /// The same size and other bytes, so that nothing but the condition can tell.
    fn probe_refusal(&self, key: &ObjectKey, other: &[u8]) -> Result<()> {
        match self.put_in_parts(key, other) {
            Err(error) if error.reason() == Reason::ObjectExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(Error::new(
                Reason::ObjectStoreUnfit,
                "the store ignores If-None-Match and replaces objects that are there",
            )),
        }
    }

    fn put_in_parts(&self, key: &ObjectKey, bytes: &[u8]) -> Result<()> {
        let part_size = (TWO_PARTS - 1) as u64;
        self.handle
            .block_on(self.put_sized(key, Content::Bytes(bytes), part_size))
            .map(drop)
    }
}

fn with_remedy(step: Step, error: Error) -> Error {
    let message = format!("{error}; {}", step.remedy());
    Error::new(error.reason(), message).source(error)
}
