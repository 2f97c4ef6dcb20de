//! Streams in SQLite: what readers see of them. What the rules work on is in [`apply`].

mod apply;
mod row;
pub(super) mod sql;

use payload_core::port::StreamReader;
use payload_core::stream::{
    EntryRead, Group, GroupName, Offset, Producer, ProducerName, Stream, StreamName, StreamQuery,
};
use payload_core::{Namespace, PayloadId, Result, StreamId};
use rusqlite::{Connection, params};

use super::SqliteRepository;
use super::fault::Fault;
use super::read::{all, one};
use super::row::{int, uint};

pub(super) use apply::{apply, note_appended};

/// Comes before every id.
const BEFORE_ALL: &[u8] = &[];

impl StreamReader for SqliteRepository {
    fn stream(&self, namespace: &Namespace, name: &StreamName) -> Result<Option<Stream>> {
        self.read_as_it_is(|conn| {
            one(
                conn,
                sql::STREAM_NAMED,
                [namespace.as_str(), name.as_str()],
                row::stream,
            )
        })
    }

    fn incarnation(&self, id: StreamId) -> Result<Option<Stream>> {
        self.read_as_it_is(|conn| one(conn, sql::STREAM, [id.as_bytes()], row::stream))
    }

    fn streams(&self, query: &StreamQuery) -> Result<Vec<Stream>> {
        let after = query.after.as_ref().map_or("", StreamName::as_str);
        let params = params![query.namespace.as_str(), after, query.limit];
        self.read_as_it_is(|conn| all(conn, sql::STREAMS, params, row::stream))
    }

    fn streams_to_trim(&self, after: Option<StreamId>, limit: u32) -> Result<Vec<Stream>> {
        let after = after.as_ref().map_or(BEFORE_ALL, |id| id.as_bytes());
        self.read_as_it_is(|conn| all(conn, sql::STREAMS_TO_TRIM, params![after, limit], row::stream))
    }

    fn entries(&self, stream: StreamId, from: Offset, limit: u32) -> Result<Vec<EntryRead>> {
        let params = params![stream.as_bytes(), int(from.as_u64()), limit];
        self.read(|conn| all(conn, sql::READ_ENTRIES, params, row::entry_read))
    }

    fn group(&self, stream: StreamId, name: &GroupName) -> Result<Option<Group>> {
        self.read_as_it_is(|conn| one(conn, sql::GROUP, params![stream.as_bytes(), name.as_str()], row::group))
    }

    fn groups(&self, stream: StreamId) -> Result<Vec<Group>> {
        self.read_as_it_is(|conn| all(conn, sql::GROUPS, [stream.as_bytes()], row::group))
    }

    fn producer(&self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>> {
        let params = params![stream.as_bytes(), name.as_str()];
        self.read_as_it_is(|conn| one(conn, sql::PRODUCER, params, row::producer))
    }

    fn holds(&self, payload: PayloadId) -> Result<u64> {
        self.read_as_it_is(|conn| holds(conn, payload))
    }
}

/// How many entries hold a payload.
pub(super) fn holds(conn: &Connection, payload: PayloadId) -> Result<u64, Fault> {
    let holds = one(conn, sql::HOLDS, [payload.as_bytes()], |found| uint(found, 0, "holds"))?;
    Ok(holds.unwrap_or(0))
}
