//! What can be asked of a stream in a change set, and why it is refused.

use super::{GroupName, Offset, ProducerName, StreamName, StreamSettings, Tag};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Reason};
use crate::id::{PayloadId, StreamId};
use crate::name::Namespace;
use crate::payload::Version;
use crate::time::Timestamp;

/// One thing that happens to streams. A set's stream changes come after its payload changes, in order, and see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamChange {
    /// A new stream under a name that is free.
    Create {
        /// Its incarnation.
        id: StreamId,
        /// Its tenant.
        namespace: Namespace,
        /// Its name.
        name: StreamName,
        /// What was chosen about it.
        settings: StreamSettings,
        /// When.
        at: Timestamp,
    },
    /// Other settings, from the version that the decision saw. They count for entries to come, and for retention.
    Update {
        /// Which stream.
        stream: StreamRef,
        /// At which version.
        version: Version,
        /// What it shall be like.
        settings: StreamSettings,
    },
    /// Takes the name away. Entries, groups and producers follow with [`Trim`] and [`Drop`](Self::Drop).
    Delete(StreamRef),
    /// Entries at the end. There is one append in a set at most.
    Append(Append),
    /// Moves a group forward, and makes it if need be.
    CommitOffset(OffsetCommit),
    /// Moves a group anywhere, and makes it if need be.
    ResetOffset(OffsetReset),
    /// Makes a new member the only one who may commit with its generation; makes the group if need be.
    Join(GroupJoin),
    /// Removes entries from the beginning.
    Trim(Trim),
    /// Removes the last of a deleted stream that has no entries any more.
    Drop(StreamId),
    /// Nothing by itself: the set is refused while an entry holds this payload.
    Unheld(PayloadId),
}

/// Names a stream, and which incarnation of it if the caller has seen one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRef {
    /// Its tenant.
    pub namespace: Namespace,
    /// Its name.
    pub name: StreamName,
    /// Only this incarnation.
    pub incarnation: Option<StreamId>,
}

impl StreamRef {
    /// Its tenant and its name.
    pub fn named(&self) -> (Namespace, StreamName) {
        (self.namespace.clone(), self.name.clone())
    }
}

/// Entries for the end of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// To which stream.
    pub stream: StreamRef,
    /// At least one.
    pub entries: Vec<EntryDraft>,
    /// The offset that the first entry must get.
    pub expected: Option<Offset>,
    /// Makes a retry safe without a request id.
    pub producer: Option<ProducerBatch>,
    /// When; entries never go back in time, so a clock that does is ignored.
    pub at: Timestamp,
}

impl Append {
    /// Over what the entries say: a repeated batch must say the same.
    pub fn fingerprint(&self) -> Digest {
        let mut hasher = Hasher::new();
        for draft in &self.entries {
            hasher.update(draft.payload.as_bytes());
            for tag in &draft.tags {
                hasher.update(tag.as_str().as_bytes());
                hasher.update(b" ");
            }
            hasher.update(b"\n");
        }
        hasher.digest()
    }
}

/// What a producer says about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryDraft {
    /// A committed payload of the stream's namespace.
    pub payload: PayloadId,
    /// In order, without repetition.
    pub tags: Vec<Tag>,
}

/// Which batch of which producer an append is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Who.
    pub name: ProducerName,
    /// In which of its lives: a higher one shuts lower ones out.
    pub epoch: u64,
    /// The number of the first entry; the next batch begins behind the last.
    pub sequence: u64,
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// In which incarnation.
    pub stream: StreamId,
    /// Where its first entry is.
    pub first: Offset,
}

/// A consumer's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// In which stream.
    pub stream: StreamRef,
    /// Of which group.
    pub group: GroupName,
    /// The next entry to read.
    pub offset: Offset,
    /// Where the group must be now; a group that is not there yet is at 0.
    pub expected: Option<Offset>,
    /// The generation that the group must be in.
    pub generation: Option<u64>,
    /// When.
    pub at: Timestamp,
}

/// A group that begins somewhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetReset {
    /// In which stream.
    pub stream: StreamRef,
    /// Which group.
    pub group: GroupName,
    /// The next entry to read.
    pub offset: Offset,
    /// When.
    pub at: Timestamp,
}

/// A member that takes a group over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupJoin {
    /// In which stream.
    pub stream: StreamRef,
    /// Which group.
    pub group: GroupName,
    /// Where the group begins if it is new.
    pub start: Offset,
    /// The generation that the member will commit with: the one after that of the group, which is 0 while it is new.
    pub generation: u64,
    /// When.
    pub at: Timestamp,
}

/// Entries that leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// Of which incarnation, deleted or not.
    pub stream: StreamId,
    /// The first entry that stays. What is gone already, and what is not there yet, is no fault.
    pub until: Offset,
}

/// Why nothing of a set was applied: a stream does not allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamRefusal {
    /// No such namespace.
    NoNamespace(Namespace),
    /// No such stream in this namespace.
    NotFound,
    /// There is one of that name.
    Exists,
    /// The stream was deleted and made again since.
    Replaced,
    /// The settings are not at the version that the decision saw.
    Changed,
    /// The namespace has as many streams as it may have.
    TooManyStreams,
    /// The stream has as many groups as it may have.
    TooManyGroups,
    /// The stream takes at most so many entries at once.
    BatchTooLarge(u32),
    /// An entry refers to something that is not there.
    PayloadNotFound(PayloadId),
    /// An entry refers to an allocation.
    PayloadNotCommitted(PayloadId),
    /// An entry refers to a payload that has ended.
    PayloadEnded(PayloadId),
    /// The payload is held by an entry.
    PayloadHeld(PayloadId),
    /// The next entry gets another offset than the producer expects.
    OffsetUnexpected(Offset),
    /// A later life of the producer has appended; this is its epoch.
    ProducerFenced(u64),
    /// Entries are missing before this batch; this is the sequence number that comes next.
    SequenceGap(u64),
    /// The sequence numbers were used for other entries, or so long ago that nobody remembers for which.
    SequenceReused,
    /// The group is here, not where the consumer expects it.
    GroupMoved(Offset),
    /// Another member has taken the group over, or it was reset; this is its generation.
    GroupFenced(u64),
    /// The group is here already.
    OffsetBackwards(Offset),
    /// Nothing was appended behind this offset.
    OffsetBeyondHead(Offset),
}

impl From<StreamRefusal> for Error {
    fn from(refusal: StreamRefusal) -> Self {
        use StreamRefusal as R;
        match refusal {
            R::NoNamespace(name) => {
                Self::new(Reason::NamespaceNotFound, format!("there is no namespace {name}")).field("namespace")
            }
            R::NotFound => Self::new(Reason::StreamNotFound, "no such stream in this namespace"),
            R::Exists => Self::new(
                Reason::StreamExists,
                "there is a stream of this name, with other settings",
            ),
            R::Replaced => Self::new(
                Reason::StreamReplaced,
                "the stream was deleted and made again; positions in the old one mean nothing in the new one",
            ),
            R::Changed => Self::new(
                Reason::Conflict,
                "somebody else changed the stream at the same time; try again",
            ),
            R::TooManyStreams => Self::new(
                Reason::TooManyStreams,
                "the namespace has as many streams as it may have",
            ),
            R::TooManyGroups => Self::new(Reason::TooManyGroups, "the stream has as many groups as it may have"),
            R::BatchTooLarge(max) => Self::invalid(
                Reason::BadSize,
                format!("the stream takes at most {max} entries at once"),
            )
            .field("entries"),
            R::PayloadNotFound(id) => {
                Self::new(Reason::PayloadNotFound, format!("no payload {id} in this namespace")).field("entries")
            }
            R::PayloadNotCommitted(id) => Self::new(
                Reason::PayloadNotCommitted,
                format!("payload {id} is not committed yet"),
            )
            .field("entries"),
            R::PayloadEnded(id) => {
                Self::new(Reason::PayloadDeleted, format!("payload {id} has ended")).field("entries")
            }
            R::PayloadHeld(id) => Self::new(
                Reason::PayloadHeld,
                format!("an entry of a stream holds payload {id}; only force deletes it"),
            ),
            R::OffsetUnexpected(head) => {
                Self::new(Reason::OffsetUnexpected, format!("the next entry gets offset {head}"))
                    .field("expected_offset")
            }
            R::ProducerFenced(epoch) => Self::new(
                Reason::ProducerFenced,
                format!("the producer has appended with epoch {epoch}"),
            )
            .field("epoch"),
            R::SequenceGap(next) => Self::new(
                Reason::SequenceGap,
                format!("the producer's next entry has number {next}"),
            )
            .field("sequence"),
            R::SequenceReused => Self::new(
                Reason::SequenceReused,
                "the producer has used these numbers for other entries, or too long ago to tell",
            )
            .field("sequence"),
            R::GroupMoved(offset) => {
                Self::new(Reason::GroupMoved, format!("the group is at offset {offset}")).field("expected_offset")
            }
            R::GroupFenced(generation) => Self::new(
                Reason::GroupFenced,
                format!("the group is in generation {generation}: another member took it over, or it was reset"),
            )
            .field("generation"),
            R::OffsetBackwards(offset) => Self::new(
                Reason::OffsetBackwards,
                format!("the group is at offset {offset} already; only a reset moves it back"),
            )
            .field("offset"),
            R::OffsetBeyondHead(head) => {
                Self::new(Reason::OffsetBeyondHead, format!("the stream ends at offset {head}")).field("offset")
            }
        }
    }
}
