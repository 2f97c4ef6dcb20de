//! What can be read of streams. They are written by change sets, together with everything else.

use crate::error::Result;
use crate::id::{PayloadId, StreamId};
use crate::name::Namespace;
use crate::stream::{EntryRead, Group, GroupName, Offset, Producer, ProducerName, Stream, StreamName, StreamQuery};

/// The reading half of streams; a part of every [`Repository`](super::Repository).
///
/// What happens to streams in a change set follows [`stream::rules`](crate::stream::rules). Offsets are dense: they come
/// from the stream's own row, in the transaction that writes the entries, so that nobody sees an entry before the one
/// in front of it.
pub trait StreamReader: Send + Sync {
    /// The stream that has the name now.
    fn stream(&self, namespace: &Namespace, name: &StreamName) -> Result<Option<Stream>>;

    /// A stream, deleted or not.
    fn incarnation(&self, id: StreamId) -> Result<Option<Stream>>;

    /// A page of the streams that have a name, in order of it.
    fn streams(&self, query: &StreamQuery) -> Result<Vec<Stream>>;

    /// Streams from which something may have to leave, in order of their incarnations: those with retention limits, and
    /// those that were deleted.
    fn streams_to_trim(&self, after: Option<StreamId>, limit: u32) -> Result<Vec<Stream>>;

    /// At most `limit` entries from `from` on, in order.
    fn entries(&self, stream: StreamId, from: Offset, limit: u32) -> Result<Vec<EntryRead>>;

    /// The stream and at most `limit` of its entries from `from` on, in order, if that takes no waiting: for no disk, no
    /// database, and no lock that somebody keeps while he waits for one. `None` says nothing about what is there.
    fn at_hand(&self, stream: StreamId, from: Offset, limit: u32) -> Option<(Stream, Vec<EntryRead>)>;

    /// One group.
    fn group(&self, stream: StreamId, name: &GroupName) -> Result<Option<Group>>;

    /// All groups, in order of their names.
    fn groups(&self, stream: StreamId) -> Result<Vec<Group>>;

    /// One producer.
    fn producer(&self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>>;

    /// How many entries hold the payload.
    fn holds(&self, payload: PayloadId) -> Result<u64>;
}
