//! Streams in SQLite: what readers see of them. What the rules work on is in [`apply`].

mod apply;
mod row;
pub(super) mod sql;
mod tail;
mod write;

use payload_core::port::StreamReader;
use payload_core::stream::{
    EntryRead, Group, GroupName, Offset, Producer, ProducerName, Stream, StreamName, StreamQuery,
};
use payload_core::{Namespace, PayloadId, Result, StreamId};
use rusqlite::{Connection, params};

use super::SqliteRepository;
use super::fault::Fault;
use super::read::{all, one};
use super::row::uint;

pub(super) use apply::{Rows, apply, note_appended};
pub(super) use write::write;

/// Comes before every id.
const BEFORE_ALL: &[u8] = &[];

impl StreamReader for SqliteRepository {
    fn stream(&self, namespace: &Namespace, name: &StreamName) -> Result<Option<Stream>> {
        if let Some(stream) = self.shared.catalog.journal.stream_named(namespace, name) {
            return Ok(Some(stream));
        }
        let params = [namespace.as_str(), name.as_str()];
        self.read_as_it_is(|conn| one(conn, sql::STREAM_NAMED, params, row::stream))
    }

    fn incarnation(&self, id: StreamId) -> Result<Option<Stream>> {
        match self.shared.catalog.journal.stream(id) {
            Some(stream) => Ok(Some(stream)),
            None => self.read_as_it_is(|conn| one(conn, sql::STREAM, [id.as_bytes()], row::stream)),
        }
    }

    fn streams(&self, query: &StreamQuery) -> Result<Vec<Stream>> {
        let after = query.after.as_ref().map_or("", StreamName::as_str);
        let params = params![query.namespace.as_str(), after, query.limit];
        self.read(|conn| all(conn, sql::STREAMS, params, row::stream))
    }

    fn streams_to_trim(&self, after: Option<StreamId>, limit: u32) -> Result<Vec<Stream>> {
        let after = after.as_ref().map_or(BEFORE_ALL, |id| id.as_bytes());
        self.read(|conn| all(conn, sql::STREAMS_TO_TRIM, params![after, limit], row::stream))
    }

    fn entries(&self, stream: StreamId, from: Offset, limit: u32) -> Result<Vec<EntryRead>> {
        let tail = self.shared.catalog.journal.tail(stream, from, limit);
        self.read_as_it_is(|conn| tail::read(conn, stream, from, limit, tail))
    }

    fn at_hand(&self, stream: StreamId, from: Offset, limit: u32) -> Option<(Stream, Vec<EntryRead>)> {
        self.shared.catalog.journal.at_hand(stream, from, limit)
    }

    fn group(&self, stream: StreamId, name: &GroupName) -> Result<Option<Group>> {
        let catalog = &self.shared.catalog;
        if let Some((group, made_by)) = catalog.journal.group(stream, name) {
            let waited = catalog.wait_for(&made_by).map_err(|fault| catalog.error(fault));
            return waited.map(|()| Some(group));
        }
        let params = params![stream.as_bytes(), name.as_str()];
        self.read_as_it_is(|conn| one(conn, sql::GROUP, params, row::group))
    }

    fn groups(&self, stream: StreamId) -> Result<Vec<Group>> {
        self.read(|conn| all(conn, sql::GROUPS, [stream.as_bytes()], row::group))
    }

    fn producer(&self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>> {
        let catalog = &self.shared.catalog;
        if let Some((producer, made_by)) = catalog.journal.producer(stream, name) {
            let waited = catalog.wait_for(&made_by).map_err(|fault| catalog.error(fault));
            return waited.map(|()| producer);
        }
        let params = params![stream.as_bytes(), name.as_str()];
        self.read_as_it_is(|conn| one(conn, sql::PRODUCER, params, row::producer))
    }

    fn holds(&self, payload: PayloadId) -> Result<u64> {
        match self.shared.catalog.journal.holds(payload) {
            Some(holds) => Ok(holds),
            None => self.read_as_it_is(|conn| holds(conn, payload)),
        }
    }
}

/// How many entries hold a payload, by the tables.
fn holds(conn: &Connection, payload: PayloadId) -> Result<u64, Fault> {
    let holds = one(conn, sql::HOLDS, [payload.as_bytes()], |found| uint(found, 0, "holds"))?;
    Ok(holds.unwrap_or(0))
}
