//! Rows of streams as PostgreSQL holds them, and the only way to and from the words of the core.

use payload_core::stream::rules::PayloadSeen;
use payload_core::stream::{
    Entry, EntryRead, Group, GroupName, Hold, Offset, Producer, ProducerName, Retention, Stream, StreamName,
    StreamSettings,
};
use payload_core::{Namespace, PayloadId, Span, StreamId, Version};
use tokio_postgres::Row;

use super::super::fault::Fault;
use super::super::row::{get, id, one_of, payload_id, state, state_kind, time, uint, uint_maybe, word};
use crate::stream_row;

/// Reads what `columns!` lists.
pub(super) fn stream(row: &Row) -> Result<Stream, Fault> {
    Ok(Stream {
        id: id(get(row, "id")?, "id", StreamId::from_bytes)?,
        namespace: word(row, "namespace", |text| text.parse::<Namespace>().ok())?,
        name: word(row, "name", |text| Some(StreamName::from_stored(text)))?,
        settings: StreamSettings {
            hold: word(row, "hold", one_of(&Hold::ALL, Hold::as_str))?,
            retention: Retention {
                entries: uint_maybe(row, "retention_entries")?,
                age: uint_maybe(row, "retention_age_ns")?.map(Span::from_nanos),
                bytes: uint_maybe(row, "retention_bytes")?,
            },
            batch_max: count(row, "batch_max")?,
        },
        version: Version::from_u64(uint(row, "version")?),
        created_at: time(row, "created_at")?,
        ended: get(row, "ended")?,
        earliest: offset(row, "earliest")?,
        head: offset(row, "head")?,
        last_at: time(row, "last_at")?,
        bytes: uint(row, "bytes")?,
        bytes_trimmed: uint(row, "bytes_trimmed")?,
        groups: count(row, "group_count")?,
        producers: count(row, "producer_count")?,
    })
}

/// Reads what `sql::ENTRIES` selects.
pub(super) fn entry(row: &Row) -> Result<Entry, Fault> {
    Ok(Entry {
        offset: offset(row, "position")?,
        payload: id(get(row, "payload")?, "payload", PayloadId::from_bytes)?,
        size: uint(row, "size")?,
        bytes_through: uint(row, "bytes_through")?,
        at: time(row, "at")?,
        tags: word(row, "tags", |text| Some(stream_row::tags(text)))?,
        held: get(row, "held")?,
    })
}

/// Reads what `sql::READ_ENTRIES` selects.
pub(super) fn entry_read(row: &Row) -> Result<EntryRead, Fault> {
    let known = |text: &str| state_kind(text).ok_or_else(|| Fault::bad_row("state"));
    Ok(EntryRead {
        entry: entry(row)?,
        state: get::<Option<&str>>(row, "state")?.map(known).transpose()?,
    })
}

/// Reads what `sql::GROUPS` selects.
pub(super) fn group(row: &Row) -> Result<Group, Fault> {
    Ok(Group {
        name: word(row, "name", |text| Some(GroupName::from_stored(text)))?,
        offset: offset(row, "position")?,
        generation: uint(row, "generation")?,
        at: time(row, "at")?,
    })
}

/// Reads what `sql::PRODUCERS` selects.
pub(super) fn producer(row: &Row) -> Result<Producer, Fault> {
    let batches = stream_row::batches(get(row, "batches")?);
    Ok(Producer {
        name: word(row, "name", |text| Some(ProducerName::from_stored(text)))?,
        epoch: get::<i64>(row, "epoch")?.cast_unsigned(),
        next_sequence: get::<i64>(row, "next_sequence")?.cast_unsigned(),
        batches: batches.ok_or_else(|| Fault::bad_row("batches"))?,
        at: time(row, "at")?,
    })
}

/// Reads what `sql::PRODUCERS_NAMED` selects.
pub(super) fn producer_of(row: &Row) -> Result<(StreamId, Producer), Fault> {
    Ok((id(get(row, "stream")?, "stream", StreamId::from_bytes)?, producer(row)?))
}

/// Reads what `sql::GROUPS_NAMED` selects.
pub(super) fn group_of(row: &Row) -> Result<(StreamId, Group), Fault> {
    Ok((id(get(row, "stream")?, "stream", StreamId::from_bytes)?, group(row)?))
}

/// Reads what `sql::PAYLOADS_SEEN` selects.
pub(super) fn payload_with_id(row: &Row) -> Result<(PayloadId, PayloadSeen), Fault> {
    Ok((payload_id(row)?, payload_seen(row)?))
}

/// Reads what `sql::LOCK_PAYLOAD_SEEN` selects.
pub(super) fn payload_seen(row: &Row) -> Result<PayloadSeen, Fault> {
    Ok(PayloadSeen {
        namespace: word(row, "namespace", |text| text.parse::<Namespace>().ok())?,
        state: state(row)?,
        size: uint(row, "size")?,
        holds: uint(row, "holds")?,
    })
}

fn offset(row: &Row, column: &'static str) -> Result<Offset, Fault> {
    Ok(Offset::from_u64(uint(row, column)?))
}

fn count(row: &Row, column: &'static str) -> Result<u32, Fault> {
    u32::try_from(uint(row, column)?).map_err(|_| Fault::bad_row(column))
}
