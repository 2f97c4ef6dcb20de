//! What readers see that the tables do not hold yet.

use std::sync::Arc;

use parking_lot::MutexGuard;
use payload_core::stream::{
    EntryRead, Group as StreamGroup, GroupName, Offset, Producer, ProducerName, Stream, StreamName,
};
use payload_core::{Namespace, Payload, PayloadId, Principal, RequestId, RequestRecord, StreamId};

use super::Journal;
use super::state::{Pending, State};
use super::streams::{Made, Tail};
use crate::memory::in_order;

impl Journal {
    /// The newest version of a payload, if the tables do not hold it yet.
    pub(in super::super) fn row(&self, id: PayloadId) -> Option<Payload> {
        if self.pending() == 0 {
            return None;
        }
        self.state.lock().rows.get(&id).map(|(row, _)| in_order(row))
    }

    /// What a request did, if the tables do not know it yet, and the entry that the answer has to wait for.
    pub(in super::super) fn request(
        &self,
        principal: &Principal,
        request_id: &RequestId,
    ) -> Option<(RequestRecord, Arc<Pending>)> {
        if self.pending() == 0 {
            return None;
        }
        let key = (principal.clone(), request_id.clone());
        self.state.lock().requests.get(&key).cloned()
    }
}

/// Of streams.
impl Journal {
    /// The stream that has the name, if the tables have an older row of it.
    pub(in super::super) fn stream_named(&self, namespace: &Namespace, name: &StreamName) -> Option<Stream> {
        let state = self.unless_empty()?;
        state.streams.named(namespace, name, state.synced)
    }

    /// A stream, if the tables have an older row of it.
    pub(in super::super) fn stream(&self, id: StreamId) -> Option<Stream> {
        let state = self.unless_empty()?;
        state.streams.stream(id, state.synced)
    }

    /// A group that the tables do not know like this, and the entry that the answer has to wait for.
    pub(in super::super) fn group(&self, stream: StreamId, name: &GroupName) -> Option<Made<StreamGroup>> {
        self.unless_empty()?.streams.group(stream, name)
    }

    /// A producer that the tables do not know like this, and the entry that the answer has to wait for.
    pub(in super::super) fn producer(&self, stream: StreamId, name: &ProducerName) -> Option<Made<Option<Producer>>> {
        self.unless_empty()?.streams.producer(stream, name)
    }

    /// How many entries hold a payload, if the tables do not know it yet.
    pub(in super::super) fn holds(&self, payload: PayloadId) -> Option<u64> {
        self.unless_empty()?.streams.holds(payload)
    }

    /// The part of a stream that the tables do not hold yet.
    pub(in super::super) fn tail(&self, stream: StreamId, from: Offset, limit: u32) -> Tail {
        let Some(state) = self.unless_empty() else {
            return Tail::default();
        };
        state.streams.tail(&state.rows, stream, from, limit, state.synced)
    }

    /// A stream and its entries from `from` on, if all of that is pending and nobody is deciding about the next set now.
    pub(in super::super) fn at_hand(
        &self,
        stream: StreamId,
        from: Offset,
        limit: u32,
    ) -> Option<(Stream, Vec<EntryRead>)> {
        let state = (self.pending() > 0).then(|| self.state.try_lock())??;
        state
            .streams
            .begins(stream, state.synced)
            .filter(|begins| *begins <= from)?;
        let row = state.streams.stream(stream, state.synced)?;
        let tail = state.streams.tail(&state.rows, stream, from, limit, state.synced);
        Some((row, tail.entries))
    }

    fn unless_empty(&self) -> Option<MutexGuard<'_, State>> {
        (self.pending() > 0).then(|| self.state.lock())
    }
}
