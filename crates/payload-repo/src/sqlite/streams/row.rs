//! Rows of streams as SQLite holds them, and the only way to and from the words of the core.

use payload_core::stream::rules::PayloadSeen;
use payload_core::stream::{
    Entry, EntryRead, Group, GroupName, Hold, Offset, Producer, ProducerName, Retention, Stream, StreamName,
    StreamSettings,
};
use payload_core::{Namespace, PayloadId, Span, StreamId, Version};
use rusqlite::Row;

use super::super::fault::Fault;
use super::super::row::{id, one_of, state, state_kind, time, time_maybe, uint, uint_maybe, word};
use crate::stream_row;

/// Reads what `columns!` lists.
pub(super) fn stream(row: &Row<'_>) -> Result<Stream, Fault> {
    Ok(Stream {
        id: id(row, 0, "id", StreamId::from_bytes)?,
        namespace: word(row, 1, "namespace", |text| text.parse::<Namespace>().ok())?,
        name: word(row, 2, "name", |text| Some(StreamName::from_stored(text)))?,
        settings: StreamSettings {
            hold: word(row, 3, "hold", one_of(&Hold::ALL, Hold::as_str))?,
            retention: Retention {
                entries: uint_maybe(row, 4, "retention_entries")?,
                age: uint_maybe(row, 5, "retention_age_ns")?.map(Span::from_nanos),
                bytes: uint_maybe(row, 6, "retention_bytes")?,
            },
            batch_max: row.get(7)?,
        },
        version: Version::from_u64(uint(row, 8, "version")?),
        created_at: time(row, 9)?,
        ended: row.get(10)?,
        earliest: offset(row, 11)?,
        head: offset(row, 12)?,
        last_at: time(row, 13)?,
        bytes: uint(row, 14, "bytes")?,
        bytes_trimmed: uint(row, 15, "bytes_trimmed")?,
        groups: row.get(16)?,
        producers: row.get(17)?,
    })
}

/// Reads what `sql::ENTRIES` selects.
pub(super) fn entry(row: &Row<'_>) -> Result<Entry, Fault> {
    Ok(Entry {
        offset: offset(row, 0)?,
        payload: id(row, 1, "payload", PayloadId::from_bytes)?,
        size: uint(row, 2, "size")?,
        bytes_through: uint(row, 3, "bytes_through")?,
        at: time(row, 4)?,
        tags: word(row, 5, "tags", |text| Some(stream_row::tags(text)))?,
        held: row.get(6)?,
    })
}

/// Reads what `sql::READ_ENTRIES` selects.
pub(super) fn entry_read(row: &Row<'_>) -> Result<EntryRead, Fault> {
    let state = row.get_ref(7)?.as_str_or_null().map_err(|_| Fault::bad_row("state"))?;
    let known = |text| state_kind(text).ok_or_else(|| Fault::bad_row("state"));
    Ok(EntryRead {
        entry: entry(row)?,
        state: state.map(known).transpose()?,
    })
}

/// Reads what `sql::GROUPS` selects.
pub(super) fn group(row: &Row<'_>) -> Result<Group, Fault> {
    Ok(Group {
        name: word(row, 0, "name", |text| Some(GroupName::from_stored(text)))?,
        offset: offset(row, 1)?,
        generation: uint(row, 2, "generation")?,
        at: time(row, 3)?,
    })
}

/// Reads what `sql::PRODUCERS` selects.
pub(super) fn producer(row: &Row<'_>) -> Result<Producer, Fault> {
    let batches = row.get_ref(3)?.as_blob().map_err(|_| Fault::bad_row("batches"))?;
    Ok(Producer {
        name: word(row, 0, "name", |text| Some(ProducerName::from_stored(text)))?,
        epoch: bits(row, 1)?,
        next_sequence: bits(row, 2)?,
        batches: stream_row::batches(batches).ok_or_else(|| Fault::bad_row("batches"))?,
        at: time(row, 4)?,
    })
}

/// Reads what `sql::PAYLOAD_SEEN` selects.
pub(super) fn payload_seen(row: &Row<'_>) -> Result<PayloadSeen, Fault> {
    Ok(PayloadSeen {
        namespace: word(row, 0, "namespace", |text| text.parse::<Namespace>().ok())?,
        state: state(word(row, 1, "state", state_kind)?, time_maybe(row, 2)?)?,
        size: uint(row, 3, "size")?,
        holds: uint(row, 4, "holds")?,
    })
}

fn offset(row: &Row<'_>, index: usize) -> Result<Offset, Fault> {
    Ok(Offset::from_u64(uint(row, index, "position")?))
}

/// A number that its producer chose, as a column: all 64 bits of it.
fn bits(row: &Row<'_>, index: usize) -> Result<u64, Fault> {
    Ok(row.get::<_, i64>(index)?.cast_unsigned())
}
