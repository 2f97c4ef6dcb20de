//! The rows that the rules of streams work on, inside a transaction of SQLite.

use payload_core::stream::rules::{self, PayloadSeen, Stop, StreamRows};
use payload_core::stream::{
    Appended, Entry, Group, GroupName, Offset, Producer, ProducerName, Stream, StreamChange, StreamName, StreamRefusal,
};
use payload_core::{Namespace, PayloadId, RequestRecord, StreamId};
use rusqlite::{Connection, params};

use super::super::fault::Fault;
use super::super::namespaces;
use super::super::read::{all, one};
use super::super::row::{int, uint};
use super::{row, sql};
use crate::stream_row;

/// Makes changes true, or finds out why not; then some of them may be written, and the caller must roll back.
pub(in crate::sqlite) fn apply(
    conn: &Connection,
    changes: &[StreamChange],
) -> Result<Result<Option<Appended>, StreamRefusal>, Fault> {
    match rules::apply(&mut Rows(conn), changes) {
        Ok(appended) => Ok(Ok(appended)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// Adds to a request's record where its entries are.
pub(in crate::sqlite) fn note_appended(
    conn: &Connection,
    request: &RequestRecord,
    appended: Appended,
) -> Result<(), Fault> {
    conn.prepare_cached(sql::NOTE_APPENDED)?.execute(params![
        request.principal.as_str(),
        request.request_id.as_str(),
        appended.stream.as_bytes(),
        int(appended.first.as_u64()),
    ])?;
    Ok(())
}

/// The rows as they are in the tables.
pub(in crate::sqlite) struct Rows<'a>(pub(in crate::sqlite) &'a Connection);

impl Rows<'_> {
    /// How many streams a namespace has.
    pub(in crate::sqlite) fn count_streams(&self, namespace: &Namespace) -> Result<u64, Fault> {
        let count = one(self.0, sql::COUNT_STREAMS, [namespace.as_str()], |found| {
            uint(found, 0, "streams")
        })?;
        Ok(count.unwrap_or(0))
    }

    /// Writes what an append changes; false if the stream is not there like this.
    pub(super) fn move_stream(&self, stream: &Stream) -> Result<bool, Fault> {
        let moved = self.0.prepare_cached(sql::MOVE_STREAM)?.execute(params![
            stream.id.as_bytes(),
            int(stream.version.as_u64()),
            stream.ended,
            int(stream.earliest.as_u64()),
            int(stream.head.as_u64()),
            stream.last_at.as_micros(),
            int(stream.bytes),
            int(stream.bytes_trimmed),
            stream.groups,
            stream.producers,
        ])?;
        Ok(moved == 1)
    }
}

impl StreamRows for Rows<'_> {
    type Fault = Fault;

    fn has_namespace(&mut self, name: &Namespace) -> Result<bool, Fault> {
        namespaces::exists(self.0, name)
    }

    fn stream_named(&mut self, namespace: &Namespace, name: &StreamName) -> Result<Option<Stream>, Fault> {
        one(
            self.0,
            sql::STREAM_NAMED,
            [namespace.as_str(), name.as_str()],
            row::stream,
        )
    }

    fn stream(&mut self, id: StreamId) -> Result<Option<Stream>, Fault> {
        one(self.0, sql::STREAM, [id.as_bytes()], row::stream)
    }

    fn put_stream(&mut self, stream: &Stream) -> Result<(), Fault> {
        if self.move_stream(stream)? {
            return Ok(());
        }
        let retention = &stream.settings.retention;
        let age = retention
            .age
            .map(|age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        self.0.prepare_cached(sql::PUT_STREAM)?.execute(params![
            stream.id.as_bytes(),
            stream.namespace.as_str(),
            stream.name.as_str(),
            stream.settings.hold.as_str(),
            retention.entries.map(int),
            age,
            retention.bytes.map(int),
            stream.settings.batch_max,
            int(stream.version.as_u64()),
            stream.created_at.as_micros(),
            stream.ended,
            stream.ended || !retention.is_for_ever(),
            int(stream.earliest.as_u64()),
            int(stream.head.as_u64()),
            stream.last_at.as_micros(),
            int(stream.bytes),
            int(stream.bytes_trimmed),
            stream.groups,
            stream.producers,
        ])?;
        Ok(())
    }

    fn remove_stream(&mut self, id: StreamId) -> Result<(), Fault> {
        for statement in [sql::DROP_GROUPS, sql::DROP_PRODUCERS, sql::DROP_STREAM] {
            self.0.prepare_cached(statement)?.execute([id.as_bytes()])?;
        }
        Ok(())
    }

    fn add_streams(&mut self, namespace: &Namespace, change: i64) -> Result<u64, Fault> {
        let params = params![namespace.as_str(), change];
        let count = one(self.0, sql::ADD_STREAMS, params, |found| uint(found, 0, "streams"))?;
        count.ok_or_else(|| Fault::bad_row("streams"))
    }

    fn payload(&mut self, id: PayloadId) -> Result<Option<PayloadSeen>, Fault> {
        one(self.0, sql::PAYLOAD_SEEN, [id.as_bytes()], row::payload_seen)
    }

    fn add_holds(&mut self, id: PayloadId, change: i64) -> Result<(), Fault> {
        self.0
            .prepare_cached(sql::ADD_HOLDS)?
            .execute(params![id.as_bytes(), change])?;
        Ok(())
    }

    fn put_entry(&mut self, stream: StreamId, entry: &Entry) -> Result<(), Fault> {
        self.0.prepare_cached(sql::INSERT_ENTRY)?.execute(params![
            stream.as_bytes(),
            int(entry.offset.as_u64()),
            entry.payload.as_bytes(),
            int(entry.size),
            int(entry.bytes_through),
            entry.at.as_micros(),
            stream_row::tags_text(&entry.tags),
            entry.held,
        ])?;
        Ok(())
    }

    fn entries(&mut self, stream: StreamId, from: Offset, until: Offset) -> Result<Vec<Entry>, Fault> {
        let params = params![stream.as_bytes(), int(from.as_u64()), int(until.as_u64())];
        all(self.0, sql::ENTRIES, params, row::entry)
    }

    fn remove_entries(&mut self, stream: StreamId, until: Offset) -> Result<(), Fault> {
        let params = params![stream.as_bytes(), int(until.as_u64())];
        self.0.prepare_cached(sql::DELETE_ENTRIES)?.execute(params)?;
        Ok(())
    }

    fn group(&mut self, stream: StreamId, name: &GroupName) -> Result<Option<Group>, Fault> {
        one(
            self.0,
            sql::GROUP,
            params![stream.as_bytes(), name.as_str()],
            row::group,
        )
    }

    fn put_group(&mut self, stream: StreamId, group: &Group) -> Result<(), Fault> {
        self.0.prepare_cached(sql::PUT_GROUP)?.execute(params![
            stream.as_bytes(),
            group.name.as_str(),
            int(group.offset.as_u64()),
            int(group.generation),
            group.at.as_micros(),
        ])?;
        Ok(())
    }

    fn producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>, Fault> {
        let params = params![stream.as_bytes(), name.as_str()];
        one(self.0, sql::PRODUCER, params, row::producer)
    }

    fn put_producer(&mut self, stream: StreamId, producer: &Producer) -> Result<(), Fault> {
        self.0.prepare_cached(sql::PUT_PRODUCER)?.execute(params![
            stream.as_bytes(),
            producer.name.as_str(),
            producer.epoch.cast_signed(),
            producer.next_sequence.cast_signed(),
            stream_row::batches_bytes(&producer.batches),
            producer.at.as_micros(),
        ])?;
        Ok(())
    }

    fn producers(&mut self, stream: StreamId) -> Result<Vec<Producer>, Fault> {
        all(self.0, sql::PRODUCERS, [stream.as_bytes()], row::producer)
    }

    fn remove_producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<(), Fault> {
        self.0
            .prepare_cached(sql::DELETE_PRODUCER)?
            .execute(params![stream.as_bytes(), name.as_str()])?;
        Ok(())
    }
}
