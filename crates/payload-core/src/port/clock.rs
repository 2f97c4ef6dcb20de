//! Time and randomness, passed in so that tests own them.

use std::sync::Arc;

use crate::id::{FileId, ObjectId, PayloadId, ReplicaId, SegmentId, StreamId};
use crate::time::{Instant, Timestamp};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The boot-time clock: never goes back, counts suspend, cannot be set.
    fn now(&self) -> Instant;

    /// The wall clock: may jump.
    fn wall(&self) -> Timestamp;
}

/// Gives random bytes that nobody can guess.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Makes new ids out of a clock and entropy.
#[derive(Clone)]
pub struct Ids {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Ids {
    /// From its two sources.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// The id of a payload that is created at that moment.
    pub fn payload(&self, created_at: Timestamp) -> PayloadId {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        PayloadId::from_parts(millis(created_at), random)
    }

    /// A new replica id.
    pub fn replica(&self) -> ReplicaId {
        let (millis, random) = self.parts();
        ReplicaId::from_parts(millis, random)
    }

    /// A new segment id.
    pub fn segment(&self) -> SegmentId {
        let (millis, random) = self.parts();
        SegmentId::from_parts(millis, random)
    }

    /// A new file id.
    pub fn file(&self) -> FileId {
        let (millis, random) = self.parts();
        FileId::from_parts(millis, random)
    }

    /// A new object id.
    pub fn object(&self) -> ObjectId {
        let (millis, random) = self.parts();
        ObjectId::from_parts(millis, random)
    }

    /// A new incarnation of a stream.
    pub fn stream(&self) -> StreamId {
        let (millis, random) = self.parts();
        StreamId::from_parts(millis, random)
    }

    fn parts(&self) -> (u64, [u8; 10]) {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        (millis(self.clock.wall()), random)
    }
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_micros() / 1_000).unwrap_or(0)
}

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ids")
    }
}
