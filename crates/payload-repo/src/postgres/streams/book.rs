//! The rows that the rules of streams work on, as a batch sees them: what the database has, over it what the sets before
//! have changed, and over that what the set at hand is changing. A refusal throws away the uppermost layer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use payload_core::stream::rules::{self, PayloadSeen, Stop, StreamRows};
use payload_core::stream::{
    Appended, Entry, Group, GroupName, Offset, Producer, ProducerName, Stream, StreamChange, StreamName, StreamRefusal,
};
use payload_core::{Namespace, Payload, PayloadId, StreamId};

use super::super::connect::{Conn, Params, Session};
use super::super::decide::Streams;
use super::super::fault::Fault;
use super::super::row::{int, uint, uuid};
use super::find::Had;
use super::{row, sql};

/// What was changed. A row that is absent inside was removed.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Layer {
    pub(super) streams: BTreeMap<StreamId, Option<Stream>>,
    /// Those that the database does not have yet.
    pub(super) created: BTreeSet<StreamId>,
    names: HashMap<(Namespace, StreamName), Option<StreamId>>,
    pub(super) groups: BTreeMap<(StreamId, GroupName), Group>,
    pub(super) producers: BTreeMap<(StreamId, ProducerName), Option<Producer>>,
    pub(super) entries: BTreeMap<(StreamId, Offset), Entry>,
    /// Of these streams, entries before the offset.
    pub(super) removed: BTreeMap<StreamId, Offset>,
    pub(super) counts: BTreeMap<Namespace, i64>,
    pub(super) holds: BTreeMap<PayloadId, i64>,
}

impl Layer {
    /// Whether there is nothing to write.
    pub(in crate::postgres) fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.groups.is_empty() && self.producers.is_empty()
    }

    /// Takes over what a set has changed.
    fn add(&mut self, set: Self) {
        for (stream, until) in set.removed {
            self.entries.retain(|(id, offset), _| *id != stream || *offset >= until);
            self.removed.insert(stream, until);
        }
        self.streams.extend(set.streams);
        self.created.extend(set.created);
        self.names.extend(set.names);
        self.groups.extend(set.groups);
        self.producers.extend(set.producers);
        self.entries.extend(set.entries);
        for (namespace, change) in set.counts {
            *self.counts.entry(namespace).or_default() += change;
        }
        for (payload, change) in set.holds {
            *self.holds.entry(payload).or_default() += change;
        }
    }
}

/// A batch's streams.
pub(in crate::postgres) struct Book<'c> {
    conn: &'c Conn,
    had: Had,
    /// What the sets that were applied have changed.
    done: Layer,
}

impl<'c> Book<'c> {
    /// Reads what was not found out before when it is asked for.
    pub(in crate::postgres) fn new(conn: &'c Conn, had: Had) -> Self {
        Self {
            conn,
            had,
            done: Layer::default(),
        }
    }

    /// What is to be written.
    pub(in crate::postgres) fn done(self) -> Layer {
        self.done
    }

    fn ask<T>(
        &self,
        statement: &'static str,
        params: Params<'_>,
        read: impl Fn(&tokio_postgres::Row) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.conn
            .run(async |session: &Session| session.one(statement, params, read).await)
    }

    fn ask_all<T>(
        &self,
        statement: &'static str,
        params: Params<'_>,
        read: impl Fn(&tokio_postgres::Row) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        self.conn
            .run(async |session: &Session| session.all(statement, params, read).await)
    }
}

impl Streams for Book<'_> {
    fn apply(
        &mut self,
        changes: &[StreamChange],
        written: &dyn Fn(PayloadId) -> Option<Payload>,
    ) -> Result<Result<Option<Appended>, StreamRefusal>, Fault> {
        let mut rows = Rows {
            book: self,
            set: Layer::default(),
            written,
        };
        let appended = rules::apply(&mut rows, changes);
        let set = rows.set;
        match appended {
            Ok(appended) => {
                self.done.add(set);
                Ok(Ok(appended))
            }
            Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }
}

struct Rows<'b, 'c> {
    book: &'b mut Book<'c>,
    set: Layer,
    written: &'b dyn Fn(PayloadId) -> Option<Payload>,
}

impl Rows<'_, '_> {
    fn remember(&mut self, found: Option<Stream>) -> Option<StreamId> {
        let found = found?;
        let id = found.id;
        self.book.had.streams.entry(id).or_insert(Some(found));
        Some(id)
    }

    /// Entries before this one are gone, whatever the database has.
    fn removed(&self, stream: StreamId) -> Offset {
        let layers = [&self.set, &self.book.done];
        let until = layers.iter().filter_map(|layer| layer.removed.get(&stream)).max();
        until.copied().unwrap_or(Offset::ZERO)
    }

    fn had_payload(&mut self, id: PayloadId) -> Result<Option<PayloadSeen>, Fault> {
        if let Some(had) = self.book.had.payloads.get(&id) {
            return Ok(had.clone());
        }
        let found = self
            .book
            .ask(sql::LOCK_PAYLOAD_SEEN, &[&uuid(id.as_bytes())], row::payload_seen)?;
        self.book.had.payloads.insert(id, found.clone());
        Ok(found)
    }
}

impl StreamRows for Rows<'_, '_> {
    type Fault = Fault;

    fn has_namespace(&mut self, name: &Namespace) -> Result<bool, Fault> {
        let read = |_: &tokio_postgres::Row| Ok(());
        let found = self.book.ask(sql::NAMESPACE_NAMED, &[&name.as_str()], read)?;
        Ok(found.is_some())
    }

    fn stream_named(&mut self, namespace: &Namespace, name: &StreamName) -> Result<Option<Stream>, Fault> {
        let key = (namespace.clone(), name.clone());
        let layers = [&self.set.names, &self.book.done.names, &self.book.had.names];
        let known = layers.iter().find_map(|names| names.get(&key).copied());
        let id = match known {
            Some(id) => id,
            None => {
                let params: Params<'_> = &[&namespace.as_str(), &name.as_str()];
                let found = self.book.ask(sql::LOCK_STREAM_NAMED, params, row::stream)?;
                let id = self.remember(found);
                self.book.had.names.insert(key, id);
                id
            }
        };
        id.map_or(Ok(None), |id| self.stream(id))
    }

    fn stream(&mut self, id: StreamId) -> Result<Option<Stream>, Fault> {
        let layers = [&self.set.streams, &self.book.done.streams];
        if let Some(known) = layers.iter().find_map(|streams| streams.get(&id)) {
            return Ok(known.clone());
        }
        if let Some(had) = self.book.had.streams.get(&id) {
            return Ok(had.clone());
        }
        let found = self.book.ask(sql::LOCK_STREAM, &[&uuid(id.as_bytes())], row::stream)?;
        self.book.had.streams.insert(id, found.clone());
        Ok(found)
    }

    fn put_stream(&mut self, stream: &Stream) -> Result<(), Fault> {
        let key = (stream.namespace.clone(), stream.name.clone());
        let named = self
            .stream_named(&stream.namespace, &stream.name)?
            .map(|named| named.id);
        match named {
            None if !stream.ended => drop(self.set.names.insert(key, Some(stream.id))),
            Some(id) if stream.ended && id == stream.id => drop(self.set.names.insert(key, None)),
            _ => {}
        }
        if self.stream(stream.id)?.is_none() {
            self.set.created.insert(stream.id);
        }
        self.set.streams.insert(stream.id, Some(stream.clone()));
        Ok(())
    }

    fn remove_stream(&mut self, id: StreamId) -> Result<(), Fault> {
        self.set.streams.insert(id, None);
        Ok(())
    }

    fn add_streams(&mut self, namespace: &Namespace, change: i64) -> Result<u64, Fault> {
        let had = match self.book.had.counts.get(namespace) {
            Some(had) => *had,
            None => {
                let read = |found: &tokio_postgres::Row| uint(found, "streams");
                let had = self.book.ask(sql::COUNT_STREAMS, &[&namespace.as_str()], read)?;
                *self
                    .book
                    .had
                    .counts
                    .entry(namespace.clone())
                    .or_insert(had.unwrap_or(0))
            }
        };
        *self.set.counts.entry(namespace.clone()).or_default() += change;
        let changed = [&self.set.counts, &self.book.done.counts].map(|counts| counts.get(namespace).copied());
        Ok(had.saturating_add_signed(changed.into_iter().flatten().sum()))
    }

    fn payload(&mut self, id: PayloadId) -> Result<Option<PayloadSeen>, Fault> {
        let had = self.had_payload(id)?;
        let holds = had.as_ref().map_or(0, |had| had.holds);
        let more = [&self.set.holds, &self.book.done.holds].map(|holds| holds.get(&id).copied());
        let holds = holds.saturating_add_signed(more.into_iter().flatten().sum());
        Ok(match (self.written)(id) {
            Some(row) => Some(PayloadSeen {
                namespace: row.namespace,
                state: row.state,
                size: row.size,
                holds,
            }),
            None => had.map(|had| PayloadSeen { holds, ..had }),
        })
    }

    fn add_holds(&mut self, id: PayloadId, change: i64) -> Result<(), Fault> {
        *self.set.holds.entry(id).or_default() += change;
        Ok(())
    }

    fn put_entry(&mut self, stream: StreamId, entry: &Entry) -> Result<(), Fault> {
        self.set.entries.insert((stream, entry.offset), entry.clone());
        Ok(())
    }

    fn entries(&mut self, stream: StreamId, from: Offset, until: Offset) -> Result<Vec<Entry>, Fault> {
        let from = from.max(self.removed(stream));
        if from >= until {
            return Ok(Vec::new());
        }
        let params: Params<'_> = &[&uuid(stream.as_bytes()), &int(from.as_u64()), &int(until.as_u64())];
        let mut entries = self.book.ask_all(sql::ENTRIES, params, row::entry)?;
        for layer in [&self.book.done, &self.set] {
            let added = layer.entries.range((stream, from)..(stream, until));
            entries.extend(added.map(|(_, entry)| entry.clone()));
        }
        Ok(entries)
    }

    fn remove_entries(&mut self, stream: StreamId, until: Offset) -> Result<(), Fault> {
        self.set
            .entries
            .retain(|(id, offset), _| *id != stream || *offset >= until);
        self.set.removed.insert(stream, until);
        Ok(())
    }

    fn group(&mut self, stream: StreamId, name: &GroupName) -> Result<Option<Group>, Fault> {
        let key = (stream, name.clone());
        let layers = [&self.set.groups, &self.book.done.groups];
        if let Some(known) = layers.iter().find_map(|groups| groups.get(&key)) {
            return Ok(Some(known.clone()));
        }
        if let Some(had) = self.book.had.groups.get(&key) {
            return Ok(had.clone());
        }
        let params: Params<'_> = &[&uuid(stream.as_bytes()), &name.as_str()];
        let found = self.book.ask(sql::GROUP_NAMED, params, row::group)?;
        self.book.had.groups.insert(key, found.clone());
        Ok(found)
    }

    fn put_group(&mut self, stream: StreamId, group: &Group) -> Result<(), Fault> {
        self.set.groups.insert((stream, group.name.clone()), group.clone());
        Ok(())
    }

    fn producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>, Fault> {
        let key = (stream, name.clone());
        let layers = [&self.set.producers, &self.book.done.producers];
        if let Some(known) = layers.iter().find_map(|producers| producers.get(&key)) {
            return Ok(known.clone());
        }
        if let Some(had) = self.book.had.producers.get(&key) {
            return Ok(had.clone());
        }
        let params: Params<'_> = &[&uuid(stream.as_bytes()), &name.as_str()];
        let found = self.book.ask(sql::PRODUCER_NAMED, params, row::producer)?;
        self.book.had.producers.insert(key, found.clone());
        Ok(found)
    }

    fn put_producer(&mut self, stream: StreamId, producer: &Producer) -> Result<(), Fault> {
        let key = (stream, producer.name.clone());
        self.set.producers.insert(key, Some(producer.clone()));
        Ok(())
    }

    fn producers(&mut self, stream: StreamId) -> Result<Vec<Producer>, Fault> {
        let had = self
            .book
            .ask_all(sql::PRODUCERS, &[&uuid(stream.as_bytes())], row::producer)?;
        let named = |producer: Producer| (producer.name.clone(), Some(producer));
        let mut all: BTreeMap<ProducerName, Option<Producer>> = had.into_iter().map(named).collect();
        for layer in [&self.book.done, &self.set] {
            let changed = layer.producers.iter().filter(|((id, _), _)| *id == stream);
            all.extend(changed.map(|((_, name), producer)| (name.clone(), producer.clone())));
        }
        Ok(all.into_values().flatten().collect())
    }

    fn remove_producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<(), Fault> {
        self.set.producers.insert((stream, name.clone()), None);
        Ok(())
    }
}
