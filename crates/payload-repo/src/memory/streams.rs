//! Streams in memory: the rows that the rules work on, and what readers see of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;

use payload_core::port::StreamReader;
use payload_core::stream::rules::{self, PayloadSeen, Stop, StreamRows};
use payload_core::stream::{
    Appended, Entry, EntryRead, Group, GroupName, Offset, Producer, ProducerName, Stream, StreamChange, StreamName,
    StreamQuery, StreamRefusal,
};
use payload_core::{Namespace, PayloadId, Result, StreamId};

use super::{MemoryRepository, Tables};

/// Everything about streams.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamTables {
    streams: BTreeMap<StreamId, Stream>,
    names: BTreeMap<(Namespace, StreamName), StreamId>,
    counts: BTreeMap<Namespace, u64>,
    entries: BTreeMap<(StreamId, Offset), Entry>,
    groups: BTreeMap<(StreamId, GroupName), Group>,
    producers: BTreeMap<(StreamId, ProducerName), Producer>,
    holds: BTreeMap<PayloadId, u64>,
}

impl StreamTables {
    /// How many entries hold the payload.
    pub(super) fn holds(&self, payload: PayloadId) -> u64 {
        self.holds.get(&payload).copied().unwrap_or(0)
    }

    /// How many streams a namespace has.
    pub(super) fn count(&self, namespace: &Namespace) -> u64 {
        self.counts.get(namespace).copied().unwrap_or(0)
    }
}

/// Makes changes true, all of them or none.
pub(super) fn apply(
    tables: &mut Tables,
    changes: &[StreamChange],
) -> std::result::Result<Option<Appended>, StreamRefusal> {
    let mut rows = Rows {
        tables,
        undo: Vec::new(),
    };
    match rules::apply(&mut rows, changes) {
        Ok(appended) => Ok(appended),
        Err(Stop::Refused(refusal)) => {
            let Rows { tables, undo } = rows;
            undo.into_iter().rev().for_each(|step| step(&mut tables.streams));
            Err(refusal)
        }
        Err(Stop::Fault(never)) => match never {},
    }
}

type Undo = Box<dyn FnOnce(&mut StreamTables)>;

/// The tables inside a transaction, with the way back.
struct Rows<'a> {
    tables: &'a mut Tables,
    undo: Vec<Undo>,
}

impl Rows<'_> {
    /// Sets or clears one row, and remembers what was there.
    fn set<K: Ord + Clone + 'static, V: Clone + 'static>(
        &mut self,
        table: fn(&mut StreamTables) -> &mut BTreeMap<K, V>,
        key: K,
        value: Option<V>,
    ) {
        let rows = table(&mut self.tables.streams);
        let before = match value {
            Some(value) => rows.insert(key.clone(), value),
            None => rows.remove(&key),
        };
        self.undo.push(Box::new(move |tables| match before {
            Some(before) => drop(table(tables).insert(key, before)),
            None => drop(table(tables).remove(&key)),
        }));
    }

    fn rows(&self) -> &StreamTables {
        &self.tables.streams
    }
}

type Sure<T> = std::result::Result<T, Infallible>;

impl StreamRows for Rows<'_> {
    type Fault = Infallible;

    fn has_namespace(&mut self, name: &Namespace) -> Sure<bool> {
        Ok(self.tables.namespaces.contains_key(name))
    }

    fn stream_named(&mut self, namespace: &Namespace, name: &StreamName) -> Sure<Option<Stream>> {
        Ok(named(self.rows(), namespace, name))
    }

    fn stream(&mut self, id: StreamId) -> Sure<Option<Stream>> {
        Ok(self.rows().streams.get(&id).cloned())
    }

    fn put_stream(&mut self, stream: &Stream) -> Sure<()> {
        let key = (stream.namespace.clone(), stream.name.clone());
        let named = self.rows().names.get(&key);
        if !stream.ended && named.is_none() {
            self.set(|tables| &mut tables.names, key, Some(stream.id));
        } else if stream.ended && named == Some(&stream.id) {
            self.set(|tables| &mut tables.names, key, None);
        }
        self.set(|tables| &mut tables.streams, stream.id, Some(stream.clone()));
        Ok(())
    }

    fn remove_stream(&mut self, id: StreamId) -> Sure<()> {
        for group in groups(self.rows(), id) {
            self.set(|tables| &mut tables.groups, (id, group.name), None);
        }
        for producer in producers(self.rows(), id) {
            self.set(|tables| &mut tables.producers, (id, producer.name), None);
        }
        self.set(|tables| &mut tables.streams, id, None);
        Ok(())
    }

    fn add_streams(&mut self, namespace: &Namespace, change: i64) -> Sure<u64> {
        let count = self.rows().count(namespace).saturating_add_signed(change);
        self.set(|tables| &mut tables.counts, namespace.clone(), Some(count));
        Ok(count)
    }

    fn payload(&mut self, id: PayloadId) -> Sure<Option<PayloadSeen>> {
        let row = self.tables.payloads.get(&id);
        Ok(row.map(|row| PayloadSeen {
            namespace: row.namespace.clone(),
            state: row.state,
            size: row.size,
            holds: self.rows().holds(id),
        }))
    }

    fn add_holds(&mut self, id: PayloadId, change: i64) -> Sure<()> {
        let holds = self.rows().holds(id).saturating_add_signed(change);
        self.set(|tables| &mut tables.holds, id, (holds > 0).then_some(holds));
        Ok(())
    }

    fn put_entry(&mut self, stream: StreamId, entry: &Entry) -> Sure<()> {
        self.set(
            |tables| &mut tables.entries,
            (stream, entry.offset),
            Some(entry.clone()),
        );
        Ok(())
    }

    fn entries(&mut self, stream: StreamId, from: Offset, until: Offset) -> Sure<Vec<Entry>> {
        Ok(match from < until {
            true => self
                .rows()
                .entries
                .range((stream, from)..(stream, until))
                .map(|(_, entry)| entry.clone())
                .collect(),
            false => Vec::new(),
        })
    }

    fn remove_entries(&mut self, stream: StreamId, until: Offset) -> Sure<()> {
        for entry in self.entries(stream, Offset::ZERO, until)? {
            self.set(|tables| &mut tables.entries, (stream, entry.offset), None);
        }
        Ok(())
    }

    fn group(&mut self, stream: StreamId, name: &GroupName) -> Sure<Option<Group>> {
        Ok(self.rows().groups.get(&(stream, name.clone())).cloned())
    }

    fn put_group(&mut self, stream: StreamId, group: &Group) -> Sure<()> {
        self.set(
            |tables| &mut tables.groups,
            (stream, group.name.clone()),
            Some(group.clone()),
        );
        Ok(())
    }

    fn producer(&mut self, stream: StreamId, name: &ProducerName) -> Sure<Option<Producer>> {
        Ok(self.rows().producers.get(&(stream, name.clone())).cloned())
    }

    fn put_producer(&mut self, stream: StreamId, producer: &Producer) -> Sure<()> {
        self.set(
            |tables| &mut tables.producers,
            (stream, producer.name.clone()),
            Some(producer.clone()),
        );
        Ok(())
    }

    fn producers(&mut self, stream: StreamId) -> Sure<Vec<Producer>> {
        Ok(producers(self.rows(), stream))
    }

    fn remove_producer(&mut self, stream: StreamId, name: &ProducerName) -> Sure<()> {
        self.set(|tables| &mut tables.producers, (stream, name.clone()), None);
        Ok(())
    }
}

fn named(tables: &StreamTables, namespace: &Namespace, name: &StreamName) -> Option<Stream> {
    let id = tables.names.get(&(namespace.clone(), name.clone()))?;
    tables.streams.get(id).cloned()
}

fn groups(tables: &StreamTables, stream: StreamId) -> Vec<Group> {
    let from = (stream, GroupName::from_stored(""));
    let of_stream = tables.groups.range(from..).take_while(|((id, _), _)| *id == stream);
    of_stream.map(|(_, group)| group.clone()).collect()
}

fn producers(tables: &StreamTables, stream: StreamId) -> Vec<Producer> {
    let from = (stream, ProducerName::from_stored(""));
    let of_stream = tables.producers.range(from..).take_while(|((id, _), _)| *id == stream);
    of_stream.map(|(_, producer)| producer.clone()).collect()
}

fn entries(tables: &Tables, stream: StreamId, from: Offset, limit: u32) -> Vec<EntryRead> {
    let entries = tables.streams.entries.range((stream, from)..);
    entries
        .take_while(|((id, _), _)| *id == stream)
        .take(limit as usize)
        .map(|(_, entry)| EntryRead {
            entry: entry.clone(),
            state: tables.payloads.get(&entry.payload).map(|row| row.state.kind()),
        })
        .collect()
}

impl StreamReader for MemoryRepository {
    fn stream(&self, namespace: &Namespace, name: &StreamName) -> Result<Option<Stream>> {
        Ok(named(&self.tables.lock().streams, namespace, name))
    }

    fn incarnation(&self, id: StreamId) -> Result<Option<Stream>> {
        Ok(self.tables.lock().streams.streams.get(&id).cloned())
    }

    fn streams(&self, query: &StreamQuery) -> Result<Vec<Stream>> {
        let tables = &self.tables.lock().streams;
        let after = query.after.clone().unwrap_or_else(|| StreamName::from_stored(""));
        let from = Bound::Excluded((query.namespace.clone(), after));
        let names = tables.names.range((from, Bound::Unbounded));
        let found = names.take_while(|((namespace, _), _)| *namespace == query.namespace);
        let rows = found.filter_map(|(_, id)| tables.streams.get(id).cloned());
        Ok(rows.take(query.limit as usize).collect())
    }

    fn streams_to_trim(&self, after: Option<StreamId>, limit: u32) -> Result<Vec<Stream>> {
        let tables = &self.tables.lock().streams;
        let rows = tables.streams.values();
        Ok(rows
            .filter(|row| after.is_none_or(|after| row.id > after))
            .filter(|row| row.ended || !row.settings.retention.is_for_ever())
            .take(limit as usize)
            .cloned()
            .collect())
    }

    fn entries(&self, stream: StreamId, from: Offset, limit: u32) -> Result<Vec<EntryRead>> {
        Ok(entries(&self.tables.lock(), stream, from, limit))
    }

    fn at_hand(&self, stream: StreamId, from: Offset, limit: u32) -> Option<(Stream, Vec<EntryRead>)> {
        let tables = self.tables.lock();
        let row = tables.streams.streams.get(&stream)?.clone();
        Some((row, entries(&tables, stream, from, limit)))
    }

    fn group(&self, stream: StreamId, name: &GroupName) -> Result<Option<Group>> {
        let key = (stream, name.clone());
        Ok(self.tables.lock().streams.groups.get(&key).cloned())
    }

    fn groups(&self, stream: StreamId) -> Result<Vec<Group>> {
        Ok(groups(&self.tables.lock().streams, stream))
    }

    fn producer(&self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>> {
        let key = (stream, name.clone());
        Ok(self.tables.lock().streams.producers.get(&key).cloned())
    }

    fn holds(&self, payload: PayloadId) -> Result<u64> {
        Ok(self.tables.lock().streams.holds(payload))
    }
}
