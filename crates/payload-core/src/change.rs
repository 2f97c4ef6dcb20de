//! Decisions as data: what the engine asks a repository to make true, all or nothing.

use std::sync::Arc;

use bytes::Bytes;

use crate::digest::Digest;
use crate::id::PayloadId;
use crate::lifecycle::{LifecycleEvent, StateKind};
use crate::lineage::{Edge, Refusal};
use crate::metadata::Document;
use crate::name::{Actor, EventType, Principal, RequestId};
use crate::naming::NameChange;
use crate::payload::{Payload, Version};
use crate::quota::OverQuota;
use crate::stream::{Appended, StreamChange, StreamRefusal};
use crate::tier::{Durability, Location};
use crate::time::Timestamp;

/// Changes that happen together or not at all.
#[derive(Clone, Debug)]
pub struct ChangeSet {
    /// Each guarded by the version it starts from.
    pub changes: Vec<Change>,
    /// Added to the lineage graph after the changes, in order. One that is there already stays as it is.
    pub edges: Vec<Edge>,
    /// A payload that must have no live descendant.
    pub without_dependents: Option<PayloadId>,
    /// A name that is moved with them, after them; refused as [`NameRefusal`](crate::NameRefusal) says.
    pub name: Option<NameChange>,
    /// What happens to streams, after all that, in order.
    pub streams: Vec<StreamChange>,
    /// Remembers the answer for a retry; if the id is known already, nothing of the set is applied.
    pub request: Option<RequestRecord>,
    /// What happens if its namespaces would be above their quotas.
    pub over_quota: OverQuota,
    /// Bytes that are in their places, but perhaps not on the device yet. For a set of class `host` or above, and a
    /// repository that [carries](crate::port::Repository::carry) so many.
    pub contents: Vec<Carried>,
    /// What the acknowledgement promises: a volatile set waits for no fsync.
    pub durability: Durability,
}

impl ChangeSet {
    /// How many entries it is to append.
    pub fn entries(&self) -> usize {
        let of = |change: &StreamChange| match change {
            StreamChange::Append(append) => append.entries.len(),
            _ => 0,
        };
        self.streams.iter().map(of).sum()
    }

    /// Changes and nothing else.
    pub fn new(changes: Vec<Change>, durability: Durability) -> Self {
        Self {
            changes,
            edges: Vec::new(),
            without_dependents: None,
            name: None,
            streams: Vec::new(),
            request: None,
            over_quota: OverQuota::Allow,
            contents: Vec::new(),
            durability,
        }
    }
}

/// Bytes that a commit carries, so that one sync makes them and their row outlive the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Whose they are; its row, as the set leaves it, names the place.
    pub payload: PayloadId,
    /// Where they are.
    pub location: Location,
    /// What they are.
    pub content: Bytes,
}

/// One payload from one version to the next, with the event that says why.
#[derive(Clone, Debug)]
pub struct Change {
    /// The row as the decision saw it; absent for a new payload.
    pub before: Option<Arc<Payload>>,
    /// The row as it shall be. Its version is the one after `before`, or the first.
    pub after: Arc<Payload>,
    /// Goes into the log under (payload, version of `after`).
    pub event: EventRecord,
    /// What the revision says that `after` has and `before` has not; it is the one after that of `before`.
    pub metadata: Option<Document>,
}

impl Change {
    /// Whether the payload comes to its end with it.
    pub fn ends(&self) -> bool {
        let had_ended = self
            .before
            .as_ref()
            .is_some_and(|before| before.state.kind().has_ended());
        self.after.state.kind().has_ended() && !had_ended
    }
}

/// What became of a change set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// All of it is true now, as durably as was asked.
    Applied,
    /// Nothing was changed: a payload is not at the version that the decision saw, or exists already.
    Conflict,
    /// Nothing was changed: the request id was used before, with this record.
    Duplicate(RequestRecord),
    /// Nothing was changed: the lineage graph does not allow it.
    Refused(Refusal),
    /// All of it is true now, and this is where the entries are: what a set with an append gets instead of `Applied`.
    Appended(Appended),
    /// Nothing was changed: a stream does not allow it.
    StreamRefused(StreamRefusal),
}

impl CommitOutcome {
    /// Whether the set is true now.
    pub const fn is_applied(&self) -> bool {
        matches!(self, Self::Applied | Self::Appended(_))
    }

    /// Where the set's entries are, if it appended any.
    pub const fn appended(&self) -> Option<Appended> {
        match self {
            Self::Appended(place) => Some(*place),
            _ => None,
        }
    }
}

/// One immutable record of a thing that happened to a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// What happened.
    pub kind: EventKind,
    /// Who caused it.
    pub actor: Actor,
    /// Why, in the words of whoever caused it.
    pub reason: Option<Arc<str>>,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// The state before; absent for the first event.
    pub from: Option<StateKind>,
    /// The state after.
    pub to: StateKind,
    /// What an application says, in events of kind [`EventKind::Application`].
    pub note: Option<Arc<Note>>,
}

/// An application's own event: its kind and its body, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What the application calls it.
    pub event_type: EventType,
    /// What it has to say about it.
    pub document: Document,
}

/// What an event records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Room was reserved.
    Allocated,
    /// The bytes became immutable and visible.
    Committed,
    /// The producer gave up.
    Aborted,
    /// The producer's session closed before its commit.
    WriterDied,
    /// The allocation's time was over.
    AllocationTimedOut,
    /// Somebody changed its labels or its expiry.
    Updated,
    /// Somebody asked for the deletion.
    DeleteRequested,
    /// The time to live was over.
    Expired,
    /// Room was short, and this was its policy.
    Discarded,
    /// The bytes were given up.
    Deleted,
    /// The last replica was lost.
    Lost,
    /// One of several replicas was lost.
    ReplicaLost,
    /// There is a copy in another tier now.
    ReplicaAdded,
    /// One of several replicas was given up, to make room.
    ReplicaDropped,
    /// A replica is in another place of the same tier, because little else was left where it was.
    ReplicaMoved,
    /// Somebody pinned a replica to its tier.
    Pinned,
    /// A pin ended, because somebody took it away or its time was over.
    Unpinned,
    /// The metadata has a new revision.
    MetadataChanged,
    /// An application noted something; see [`EventRecord::note`].
    Application,
}

impl EventKind {
    /// Every kind there is.
    pub const ALL: [Self; 19] = [
        Self::Allocated,
        Self::Committed,
        Self::Aborted,
        Self::WriterDied,
        Self::AllocationTimedOut,
        Self::Updated,
        Self::DeleteRequested,
        Self::Expired,
        Self::Discarded,
        Self::Deleted,
        Self::Lost,
        Self::ReplicaLost,
        Self::ReplicaAdded,
        Self::ReplicaDropped,
        Self::ReplicaMoved,
        Self::Pinned,
        Self::Unpinned,
        Self::MetadataChanged,
        Self::Application,
    ];

    /// The word for it, everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allocated => "allocated",
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::WriterDied => "writer_died",
            Self::AllocationTimedOut => "allocation_timed_out",
            Self::Updated => "updated",
            Self::DeleteRequested => "delete_requested",
            Self::Expired => "expired",
            Self::Discarded => "discarded",
            Self::Deleted => "deleted",
            Self::Lost => "lost",
            Self::ReplicaLost => "replica_lost",
            Self::ReplicaAdded => "replica_added",
            Self::ReplicaDropped => "replica_dropped",
            Self::ReplicaMoved => "replica_moved",
            Self::Pinned => "pinned",
            Self::Unpinned => "unpinned",
            Self::MetadataChanged => "metadata_changed",
            Self::Application => "application",
        }
    }
}

impl From<LifecycleEvent> for EventKind {
    fn from(event: LifecycleEvent) -> Self {
        match event {
            LifecycleEvent::Commit { .. } => Self::Committed,
            LifecycleEvent::Abort => Self::Aborted,
            LifecycleEvent::WriterDied => Self::WriterDied,
            LifecycleEvent::AllocationTimedOut => Self::AllocationTimedOut,
            LifecycleEvent::Delete => Self::DeleteRequested,
            LifecycleEvent::Expire => Self::Expired,
            LifecycleEvent::Reschedule { .. } => Self::Updated,
            LifecycleEvent::Discard => Self::Discarded,
            LifecycleEvent::Drained => Self::Deleted,
            LifecycleEvent::LastReplicaLost => Self::Lost,
        }
    }
}

/// The mutations that take a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reserve room.
    Allocate,
    /// Make the bytes immutable and visible.
    Commit,
    /// Allocate, write and commit in one call.
    Put,
    /// Change labels or expiry.
    Update,
    /// Give the payload up.
    Delete,
    /// Say what a payload was made from.
    AddLineage,
    /// Append to a stream; the record names the payload of the first entry.
    Append,
    /// Make a new revision of the metadata.
    PutMetadata,
    /// Note an application's event.
    AppendEvent,
}

impl Operation {
    /// Every operation there is.
    pub const ALL: [Self; 9] = [
        Self::Allocate,
        Self::Commit,
        Self::Put,
        Self::Update,
        Self::Delete,
        Self::AddLineage,
        Self::Append,
        Self::PutMetadata,
        Self::AppendEvent,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allocate => "allocate",
            Self::Commit => "commit",
            Self::Put => "put",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::AddLineage => "add_lineage",
            Self::Append => "append",
            Self::PutMetadata => "put_metadata",
            Self::AppendEvent => "append_event",
        }
    }
}

/// What a mutation with a request id did, so that a retry gets the first answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Whose request; ids of different principals never meet.
    pub principal: Principal,
    /// Chosen by the client.
    pub request_id: RequestId,
    /// Over everything else the request said: another request under the same id is refused.
    pub fingerprint: Digest,
    /// What was asked for.
    pub operation: Operation,
    /// The payload that it was done to.
    pub payload: PayloadId,
    /// The version that it made.
    pub version: Version,
    /// Where the entries are that it appended; the repository fills it in.
    pub appended: Option<Appended>,
    /// When; records are forgotten after a configured time.
    pub at: Timestamp,
}
