//! Streams: the use cases, and what the engine keeps in memory about those that somebody follows.

mod append;
mod groups;
mod members;
mod publish;
mod read;
mod resource;
mod retention;
mod wakes;

pub use append::{AppendRequest, Placed};
pub use groups::{GroupView, OffsetRequest};
pub use members::Member;
pub(crate) use publish::fingerprint;
pub use publish::{Publish, Published};
pub use read::{EntryFilter, ReadPage, ReadRequest};
pub use resource::{StreamEdit, StreamPage};
pub use wakes::Watch;

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::stream::{Appended, GroupName, Stream, StreamChange, StreamRef, StreamRefusal};
use payload_core::sync::Signal;
use payload_core::{ChangeSet, CommitOutcome, Durability, Error, Instant, Reason, RequestRecord, Result, StreamId};

use crate::engine::Engine;
use members::Followed;
use wakes::Wakes;

/// What is in memory about streams.
#[derive(Default)]
pub(crate) struct Streams {
    wakes: Arc<Wakes>,
    followed: Arc<Followed>,
    /// Streams that have grown or changed, from which something may have to leave.
    grown: Mutex<BTreeSet<StreamId>>,
    pub(crate) signal: Signal,
    /// When all streams are to be looked at again.
    next_round: Mutex<Option<Instant>>,
}

impl Streams {
    /// Tells whoever it concerns that a stream has entries, or ends, that it did not have before.
    pub(crate) fn moved(&self, stream: StreamId) {
        self.wakes.wake(stream);
        self.grown.lock().insert(stream);
        self.signal.raise();
    }

    /// The same for what another server has done, which sees to the rest of it.
    pub(crate) fn moved_elsewhere(&self, streams: &[StreamId]) {
        streams.iter().for_each(|stream| self.wakes.wake(*stream));
    }

    /// Has everybody look again who follows a stream: what other servers did may not have been heard of.
    pub(crate) fn wake_all(&self) {
        self.wakes.wake_all();
    }
}

/// What became of stream changes.
pub(crate) enum Done {
    /// They are true now; this is where the appended entries are.
    Now(Option<Appended>),
    /// The request had been answered before; this is what it did.
    Before(RequestRecord),
}

impl Engine {
    /// The stream that is meant, which somebody may have made again.
    pub(crate) fn find_stream(&self, stream: &StreamRef) -> Result<Stream> {
        let row = self
            .repository()
            .stream(&stream.namespace, &stream.name)?
            .ok_or(StreamRefusal::NotFound)?;
        match stream.incarnation {
            Some(incarnation) if incarnation != row.id => Err(StreamRefusal::Replaced.into()),
            _ => Ok(row),
        }
    }

    /// Makes changes of streams true, as durably as the repository can.
    pub(crate) fn change_streams(&self, streams: Vec<StreamChange>, request: Option<RequestRecord>) -> Result<Done> {
        let set = ChangeSet {
            streams,
            request,
            ..ChangeSet::new(Vec::new(), self.stream_durability())
        };
        let outcome = self.commit_set(set)?;
        self.tell_followers(&outcome);
        match outcome {
            CommitOutcome::Applied => Ok(Done::Now(None)),
            CommitOutcome::Appended(place) => Ok(Done::Now(Some(place))),
            CommitOutcome::Duplicate(record) => Ok(Done::Before(record)),
            CommitOutcome::StreamRefused(refusal) => Err(refusal.into()),
            CommitOutcome::Conflict | CommitOutcome::Refused(_) => Err(Error::new(
                Reason::Internal,
                "a set without payloads and edges was refused for their sake",
            )),
        }
    }

    /// What is appended shall outlive the host, if the repository does.
    pub(crate) fn stream_durability(&self) -> Durability {
        Durability::Host.min(self.repository().strongest())
    }
}

/// A stream's group that nobody has used.
pub(crate) fn no_group(name: &GroupName) -> Error {
    Error::new(Reason::GroupNotFound, format!("the stream has no group {name}")).field("group")
}
