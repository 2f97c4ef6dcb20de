//! Brings what the journal has decided about streams into the tables: each row once, however many entries changed it.

use std::collections::BTreeMap;

use payload_core::stream::rules::StreamRows;
use rusqlite::Connection;

use super::super::fault::Fault;
use super::Rows;
use crate::book::Layer;

/// Writes what layers have changed, one over the other.
pub(in crate::sqlite) fn write<'a>(
    conn: &Connection,
    layers: impl Iterator<Item = &'a Layer> + Clone,
) -> Result<(), Fault> {
    let mut rows = Rows(conn);
    for ((stream, _), entry) in layers.clone().flat_map(|layer| &layer.entries) {
        rows.put_entry(*stream, entry)?;
    }
    let mut holds: BTreeMap<_, i64> = BTreeMap::new();
    for (payload, change) in layers.clone().flat_map(|layer| &layer.holds) {
        *holds.entry(*payload).or_default() += change;
    }
    for (payload, change) in holds {
        rows.add_holds(payload, change)?;
    }
    let streams: BTreeMap<_, _> = layers.clone().flat_map(|layer| &layer.streams).collect();
    for stream in streams.into_values().flatten() {
        if !rows.move_stream(stream)? {
            return Err(Fault::bad_row("a stream of the journal"));
        }
    }
    let groups: BTreeMap<_, _> = layers.clone().flat_map(|layer| &layer.groups).collect();
    for ((stream, _), group) in groups {
        rows.put_group(*stream, group)?;
    }
    let producers: BTreeMap<_, _> = layers.flat_map(|layer| &layer.producers).collect();
    for ((stream, name), producer) in producers {
        match producer {
            Some(producer) => rows.put_producer(*stream, producer)?,
            None => rows.remove_producer(*stream, name)?,
        }
    }
    Ok(())
}
