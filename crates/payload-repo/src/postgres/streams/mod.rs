//! Streams in PostgreSQL: what readers see of them. What a batch begins with is in [`find`](mod@find), what the rules work on in
//! [`ground`], what comes of it in [`write`](mod@write).

mod find;
mod ground;
mod row;
pub(super) mod sql;
mod write;

use payload_core::port::StreamReader;
use payload_core::stream::{
    EntryRead, Group, GroupName, Offset, Producer, ProducerName, Stream, StreamChange, StreamName, StreamQuery,
};
use payload_core::{ChangeSet, Namespace, PayloadId, Result, StreamId};
use uuid::Uuid;

use super::PostgresRepository;
use super::row::{int, uint, uuid};

pub(super) use find::{Had, find, payloads};
pub(super) use ground::Known;
pub(super) use write::writes;

/// The streams that a set has changed or deleted, or whose groups it has moved. Where it appended, its outcome says.
pub(super) fn moved(set: &ChangeSet) -> impl Iterator<Item = StreamId> {
    let of = |change: &StreamChange| match change {
        StreamChange::Update { stream, .. } | StreamChange::Delete(stream) => stream.incarnation,
        StreamChange::ResetOffset(reset) => reset.stream.incarnation,
        StreamChange::Join(join) => join.stream.incarnation,
        _ => None,
    };
    set.streams.iter().filter_map(of)
}

impl StreamReader for PostgresRepository {
    fn stream(&self, namespace: &Namespace, name: &StreamName) -> Result<Option<Stream>> {
        self.read(async |session| {
            let params: super::connect::Params<'_> = &[&namespace.as_str(), &name.as_str()];
            session.one(sql::STREAM_NAMED, params, row::stream).await
        })
    }

    fn incarnation(&self, id: StreamId) -> Result<Option<Stream>> {
        self.read(async |session| session.one(sql::STREAM, &[&uuid(id.as_bytes())], row::stream).await)
    }

    fn streams(&self, query: &StreamQuery) -> Result<Vec<Stream>> {
        let after = query.after.as_ref().map_or("", StreamName::as_str);
        self.read(async |session| {
            let params: super::connect::Params<'_> = &[&query.namespace.as_str(), &after, &i64::from(query.limit)];
            session.all(sql::STREAMS, params, row::stream).await
        })
    }

    fn streams_to_trim(&self, after: Option<StreamId>, limit: u32) -> Result<Vec<Stream>> {
        let after = after.map_or(Uuid::nil(), |id| uuid(id.as_bytes()));
        self.read(async |session| {
            session
                .all(sql::STREAMS_TO_TRIM, &[&after, &i64::from(limit)], row::stream)
                .await
        })
    }

    fn entries(&self, stream: StreamId, from: Offset, limit: u32) -> Result<Vec<EntryRead>> {
        self.read(async |session| {
            let params: super::connect::Params<'_> =
                &[&uuid(stream.as_bytes()), &int(from.as_u64()), &i64::from(limit)];
            session.all(sql::READ_ENTRIES, params, row::entry_read).await
        })
    }

    fn at_hand(&self, _stream: StreamId, _from: Offset, _limit: u32) -> Option<(Stream, Vec<EntryRead>)> {
        None
    }

    fn group(&self, stream: StreamId, name: &GroupName) -> Result<Option<Group>> {
        self.read(async |session| {
            session
                .one(sql::GROUP, &[&uuid(stream.as_bytes()), &name.as_str()], row::group)
                .await
        })
    }

    fn groups(&self, stream: StreamId) -> Result<Vec<Group>> {
        self.read(async |session| session.all(sql::GROUPS, &[&uuid(stream.as_bytes())], row::group).await)
    }

    fn producer(&self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>> {
        self.read(async |session| {
            session
                .one(
                    sql::PRODUCER,
                    &[&uuid(stream.as_bytes()), &name.as_str()],
                    row::producer,
                )
                .await
        })
    }

    fn holds(&self, payload: PayloadId) -> Result<u64> {
        let holds = self.read(async |session| {
            let read = |found: &tokio_postgres::Row| uint(found, "holds");
            session.one(sql::HOLDS, &[&uuid(payload.as_bytes())], read).await
        })?;
        Ok(holds.unwrap_or(0))
    }
}
