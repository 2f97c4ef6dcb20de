//! Streams: ordered, durable logs of payload references, and the positions of those who follow them.
//!
//! The words are here, what may happen to a stream in [`change`], and the rules that every repository follows in
//! [`rules`]. A stream's [`StreamId`] is its incarnation: a stream that is deleted and made again under the same name has
//! another one, so whoever still holds an old position is told.

pub mod change;
mod name;
pub mod rules;

use std::fmt;

pub use change::{
    Append, Appended, EntryDraft, GroupJoin, OffsetCommit, OffsetReset, ProducerBatch, StreamChange, StreamRef,
    StreamRefusal, Trim,
};
pub use name::{GroupName, ProducerName, StreamName, Tag, tags};

use crate::digest::Digest;
use crate::error::{Error, Reason};
use crate::id::{PayloadId, StreamId};
use crate::lifecycle::StateKind;
use crate::limits;
use crate::name::Namespace;
use crate::payload::Version;
use crate::time::{Span, Timestamp};

/// The place of an entry in its stream: dense, from 0. As a position it means "the next one to read".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// Of the first entry of a stream.
    pub const ZERO: Self = Self(0);

    /// From a row or a message.
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }

    /// For a row or a message.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The offset `count` places further on; saturates.
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// How many entries there are from `earlier` up to here.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One stream, as the repository keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Which incarnation.
    pub id: StreamId,
    /// The tenant that it belongs to.
    pub namespace: Namespace,
    /// What people call it; unique in its namespace while the stream is there.
    pub name: StreamName,
    /// What can be chosen about it.
    pub settings: StreamSettings,
    /// Counts the changes of its settings.
    pub version: Version,
    /// When it was made.
    pub created_at: Timestamp,
    /// It was deleted: nobody finds it any more, and its entries are being removed.
    pub ended: bool,
    /// The first entry that is still there.
    pub earliest: Offset,
    /// The offset that the next entry gets.
    pub head: Offset,
    /// When the last entry was appended; the next one is not older.
    pub last_at: Timestamp,
    /// The sizes of all payloads that were ever appended, added up.
    pub bytes: u64,
    /// The part of `bytes` that belongs to entries before `earliest`.
    pub bytes_trimmed: u64,
    /// How many groups it has.
    pub groups: u32,
    /// How many producers it remembers.
    pub producers: u32,
}

/// What can be chosen about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// What new entries do for their payloads.
    pub hold: Hold,
    /// How long entries stay.
    pub retention: Retention,
    /// The largest number of entries in one append.
    pub batch_max: u32,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            hold: Hold::Payload,
            retention: Retention::default(),
            batch_max: limits::APPEND_ENTRIES_MAX,
        }
    }
}

impl StreamSettings {
    /// Refuses limits that would keep nothing, and batches that no message holds.
    pub fn check(&self) -> Result<(), Error> {
        if self.batch_max == 0 || self.batch_max > limits::APPEND_ENTRIES_MAX {
            let message = format!("a batch has 1 to {} entries", limits::APPEND_ENTRIES_MAX);
            return Err(Error::invalid(Reason::BadSize, message).field("batch_max"));
        }
        let Retention { entries, age, bytes } = self.retention;
        if entries == Some(0) || bytes == Some(0) {
            return Err(Error::invalid(Reason::BadSize, "a retention limit must be above zero").field("retention"));
        }
        match age {
            Some(age) if age.is_zero() => {
                Err(Error::invalid(Reason::BadDuration, "a duration must be above zero").field("retention"))
            }
            Some(age) if age > limits::TTL_MAX => {
                let message = format!("a duration is at most {} ms", limits::TTL_MAX.as_millis());
                Err(Error::invalid(Reason::BadDuration, message).field("retention"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether an entry keeps its payload from ending while the entry is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// The payload lives its own life; the entry says so when it has ended.
    Nothing,
    /// The payload neither expires nor is it discarded, and a deletion is refused unless it is forced.
    Payload,
}

impl Hold {
    /// Every choice there is.
    pub const ALL: [Self; 2] = [Self::Nothing, Self::Payload];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Payload => "payload",
        }
    }
}

/// How long entries stay: as long as all limits that are set allow. Without limits, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// So many at most.
    pub entries: Option<u64>,
    /// So long at most.
    pub age: Option<Span>,
    /// While their payloads add up to so many bytes at most.
    pub bytes: Option<u64>,
}

impl Retention {
    /// Whether anything ever has to leave.
    pub const fn is_for_ever(&self) -> bool {
        self.entries.is_none() && self.age.is_none() && self.bytes.is_none()
    }
}

/// One record of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub offset: Offset,
    /// What it refers to.
    pub payload: PayloadId,
    /// Bytes of the payload.
    pub size: u64,
    /// The sizes of all payloads up to and including this one, added up from the beginning of the stream.
    pub bytes_through: u64,
    /// When it was appended; never before the entry that precedes it.
    pub at: Timestamp,
    /// For readers who want a part of the entries; in order, without repetition.
    pub tags: Vec<Tag>,
    /// Whether it holds its payload.
    pub held: bool,
}

/// An entry as a reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRead {
    /// The record.
    pub entry: Entry,
    /// The state of its payload now; absent if not even a tombstone is left.
    pub state: Option<StateKind>,
}

/// A named position in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// The next entry to read.
    pub offset: Offset,
    /// Rises with every member that takes the group over, and with every reset: commits of an earlier one are refused.
    pub generation: u64,
    /// When it was last changed.
    pub at: Timestamp,
}

/// What a stream remembers of a producer, so that a repeated batch is not appended twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its name.
    pub name: ProducerName,
    /// Which life of the producer; an earlier one may not append any more.
    pub epoch: u64,
    /// The sequence number that its next entry has.
    pub next_sequence: u64,
    /// The last few batches, oldest first.
    pub batches: Vec<PastBatch>,
    /// When it last appended.
    pub at: Timestamp,
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastBatch {
    /// The sequence number of its first entry.
    pub sequence: u64,
    /// How many entries.
    pub count: u32,
    /// Where its first entry is.
    pub first: Offset,
    /// Over what the entries say.
    pub fingerprint: Digest,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first entry that is there.
    Earliest,
    /// With the next entry to come.
    Latest,
    /// With this one.
    Offset(Offset),
    /// With the first that was appended then or later.
    Time(Timestamp),
}

/// A page of streams, in order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamQuery {
    /// Of which tenant.
    pub namespace: Namespace,
    /// Only those that come after this one.
    pub after: Option<StreamName>,
    /// At most so many.
    pub limit: u32,
}
