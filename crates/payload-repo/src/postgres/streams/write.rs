//! Writes what a batch has changed about streams: a statement for each kind of row.

use payload_core::StreamId;
use payload_core::stream::{Entry, Group, Producer, Stream};

use super::super::apply::{Write, write};
use super::super::row::{int, uuid};
use super::sql;
use crate::book::Layer;
use crate::stream_row;

/// A statement for each kind of row, in the order in which they must come.
pub(in crate::postgres) fn writes(layer: &Layer) -> Vec<Write<'_>> {
    let streams: Vec<&Stream> = layer.streams.values().flatten().collect();
    let dropped: Vec<StreamId> = layer
        .streams
        .iter()
        .filter_map(|(id, stream)| stream.is_none().then_some(*id))
        .collect();
    let (new, known): (Vec<&Stream>, Vec<&Stream>) =
        streams.iter().partition(|stream| layer.created.contains(&stream.id));
    let counts: Vec<_> = layer.counts.iter().collect();
    let holds: Vec<_> = layer.holds.iter().filter(|(_, change)| **change != 0).collect();
    let removed: Vec<_> = layer.removed.iter().collect();
    let entries: Vec<(StreamId, &Entry)> = layer.entries.iter().map(|((id, _), entry)| (*id, entry)).collect();
    let groups: Vec<(StreamId, &Group)> = layer.groups.iter().map(|((id, _), group)| (*id, group)).collect();
    let producers = layer.producers.iter();
    let gone: Vec<_> = producers.clone().filter(|(_, producer)| producer.is_none()).collect();
    let kept: Vec<(StreamId, &Producer)> = producers
        .filter_map(|((id, _), producer)| Some((*id, producer.as_ref()?)))
        .collect();
    let writes = [
        // Names that are given up come before those that are taken.
        update_streams(&known),
        insert_streams(&new),
        write!(sql::ADD_STREAMS, counts, |row| row.0.as_str(), *row.1),
        write!(
            sql::DELETE_ENTRIES,
            removed,
            |row| uuid(row.0.as_bytes()),
            int(row.1.as_u64())
        ),
        insert_entries(&entries),
        write!(sql::ADD_HOLDS, holds, |row| uuid(row.0.as_bytes()), *row.1),
        write!(
            sql::PUT_GROUPS,
            groups,
            |row| uuid(row.0.as_bytes()),
            row.1.name.as_str(),
            int(row.1.offset.as_u64()),
            int(row.1.generation),
            row.1.at.as_micros(),
        ),
        write!(
            sql::DELETE_PRODUCERS,
            gone,
            |row| uuid(row.0.0.as_bytes()),
            row.0.1.as_str(),
        ),
        write!(
            sql::PUT_PRODUCERS,
            kept,
            |row| uuid(row.0.as_bytes()),
            row.1.name.as_str(),
            row.1.epoch.cast_signed(),
            row.1.next_sequence.cast_signed(),
            stream_row::batches_bytes(&row.1.batches),
            row.1.at.as_micros(),
        ),
        write!(sql::DROP_GROUPS, dropped, |id| uuid(id.as_bytes())),
        write!(sql::DROP_PRODUCERS, dropped, |id| uuid(id.as_bytes())),
        write!(sql::DROP_STREAMS, dropped, |id| uuid(id.as_bytes())),
    ];
    writes.into()
}

fn insert_streams<'a>(rows: &[&'a Stream]) -> Write<'a> {
    write!(
        sql::INSERT_STREAMS,
        rows,
        |row| uuid(row.id.as_bytes()),
        row.namespace.as_str(),
        row.name.as_str(),
        row.settings.hold.as_str(),
        row.settings.retention.entries.map(int),
        age_ns(row),
        row.settings.retention.bytes.map(int),
        i64::from(row.settings.batch_max),
        int(row.version.as_u64()),
        row.created_at.as_micros(),
        row.ended,
        trims(row),
        int(row.earliest.as_u64()),
        int(row.head.as_u64()),
        row.last_at.as_micros(),
        int(row.bytes),
        int(row.bytes_trimmed),
        i64::from(row.groups),
        i64::from(row.producers),
    )
}

fn update_streams<'a>(rows: &[&'a Stream]) -> Write<'a> {
    write!(
        sql::UPDATE_STREAMS,
        rows,
        |row| uuid(row.id.as_bytes()),
        row.settings.hold.as_str(),
        row.settings.retention.entries.map(int),
        age_ns(row),
        row.settings.retention.bytes.map(int),
        i64::from(row.settings.batch_max),
        int(row.version.as_u64()),
        row.ended,
        trims(row),
        int(row.earliest.as_u64()),
        int(row.head.as_u64()),
        row.last_at.as_micros(),
        int(row.bytes),
        int(row.bytes_trimmed),
        i64::from(row.groups),
        i64::from(row.producers),
    )
}

fn insert_entries<'a>(rows: &[(StreamId, &'a Entry)]) -> Write<'a> {
    write!(
        sql::INSERT_ENTRIES,
        rows,
        |row| uuid(row.0.as_bytes()),
        int(row.1.offset.as_u64()),
        uuid(row.1.payload.as_bytes()),
        int(row.1.size),
        int(row.1.bytes_through),
        row.1.at.as_micros(),
        stream_row::tags_text(&row.1.tags),
        row.1.held,
    )
}

fn age_ns(stream: &Stream) -> Option<i64> {
    let age = stream.settings.retention.age?;
    Some(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX))
}

/// Whether something may have to leave.
fn trims(stream: &Stream) -> bool {
    stream.ended || !stream.settings.retention.is_for_ever()
}
