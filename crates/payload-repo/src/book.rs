//! The rows that the rules of streams work on, as a batch sees them: what a database has, over it what the sets before
//! have changed, and over that what the set at hand is changing. A refusal throws away the uppermost layer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use payload_core::stream::rules::{self, PayloadSeen, Stop, StreamRows};
use payload_core::stream::{
    Appended, Entry, Group, GroupName, Offset, Producer, ProducerName, Stream, StreamChange, StreamName, StreamRefusal,
};
use payload_core::{Namespace, Payload, PayloadId, StreamId};

/// What lies under all layers: the rows of a database, which nobody else changes meanwhile.
pub(crate) trait Ground {
    /// What goes wrong with them.
    type Fault;

    /// Whether there is such a namespace.
    fn has_namespace(&mut self, name: &Namespace) -> Result<bool, Self::Fault>;
    /// Which stream has the name.
    fn named(&mut self, namespace: &Namespace, name: &StreamName) -> Result<Option<StreamId>, Self::Fault>;
    /// A stream, deleted or not.
    fn stream(&mut self, id: StreamId) -> Result<Option<Stream>, Self::Fault>;
    /// How many streams a namespace has.
    fn count_streams(&mut self, namespace: &Namespace) -> Result<u64, Self::Fault>;
    /// What an entry needs to know of its payload.
    fn payload(&mut self, id: PayloadId) -> Result<Option<PayloadSeen>, Self::Fault>;
    /// The entries from `from` on and before `until`.
    fn entries(&mut self, stream: StreamId, from: Offset, until: Offset) -> Result<Vec<Entry>, Self::Fault>;
    /// One group.
    fn group(&mut self, stream: StreamId, name: &GroupName) -> Result<Option<Group>, Self::Fault>;
    /// One producer.
    fn producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>, Self::Fault>;
    /// All producers of a stream.
    fn producers(&mut self, stream: StreamId) -> Result<Vec<Producer>, Self::Fault>;
}

/// What was changed. A row that is absent inside was removed.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) streams: BTreeMap<StreamId, Option<Stream>>,
    /// Those that the database does not have yet.
    pub(crate) created: BTreeSet<StreamId>,
    names: HashMap<(Namespace, StreamName), Option<StreamId>>,
    pub(crate) groups: BTreeMap<(StreamId, GroupName), Group>,
    pub(crate) producers: BTreeMap<(StreamId, ProducerName), Option<Producer>>,
    pub(crate) entries: BTreeMap<(StreamId, Offset), Entry>,
    /// Of these streams, entries before the offset.
    pub(crate) removed: BTreeMap<StreamId, Offset>,
    pub(crate) counts: BTreeMap<Namespace, i64>,
    pub(crate) holds: BTreeMap<PayloadId, i64>,
}

impl Layer {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
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

/// The rows that were changed by earlier sets of a batch, over the ground.
#[derive(Debug)]
pub(crate) struct Book<G> {
    pub(crate) ground: G,
    /// What the sets that were applied have changed.
    pub(crate) done: Layer,
}

impl<G: Ground> Book<G> {
    pub(crate) fn new(ground: G) -> Self {
        Self {
            ground,
            done: Layer::default(),
        }
    }

    /// Makes the changes of a set, or says why not; then nothing of it stays. `written` knows the payloads that are about
    /// to be written.
    pub(crate) fn apply(
        &mut self,
        changes: &[StreamChange],
        written: &Written<'_>,
    ) -> Result<Result<Option<Appended>, StreamRefusal>, G::Fault> {
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

/// Knows the payloads that are about to be written; how many entries hold them is not for it to say.
pub(crate) type Written<'a> = dyn Fn(PayloadId) -> Option<PayloadSeen> + 'a;

/// A row that is about to be written, as the rules see it.
pub(crate) fn seen(row: &Payload) -> PayloadSeen {
    PayloadSeen {
        namespace: row.namespace.clone(),
        state: row.state,
        size: row.size,
        holds: 0,
    }
}

struct Rows<'b, G> {
    book: &'b mut Book<G>,
    set: Layer,
    written: &'b Written<'b>,
}

impl<G> Rows<'_, G> {
    /// Entries before this one are gone, whatever the database has.
    fn removed(&self, stream: StreamId) -> Offset {
        let layers = [&self.set, &self.book.done];
        let until = layers.iter().filter_map(|layer| layer.removed.get(&stream)).max();
        until.copied().unwrap_or(Offset::ZERO)
    }
}

impl<G: Ground> StreamRows for Rows<'_, G> {
    type Fault = G::Fault;

    fn has_namespace(&mut self, name: &Namespace) -> Result<bool, G::Fault> {
        self.book.ground.has_namespace(name)
    }

    fn stream_named(&mut self, namespace: &Namespace, name: &StreamName) -> Result<Option<Stream>, G::Fault> {
        let key = (namespace.clone(), name.clone());
        let layers = [&self.set.names, &self.book.done.names];
        let id = match layers.iter().find_map(|names| names.get(&key)) {
            Some(id) => *id,
            None => self.book.ground.named(namespace, name)?,
        };
        id.map_or(Ok(None), |id| self.stream(id))
    }

    fn stream(&mut self, id: StreamId) -> Result<Option<Stream>, G::Fault> {
        let layers = [&self.set.streams, &self.book.done.streams];
        match layers.iter().find_map(|streams| streams.get(&id)) {
            Some(known) => Ok(known.clone()),
            None => self.book.ground.stream(id),
        }
    }

    fn put_stream(&mut self, stream: &Stream) -> Result<(), G::Fault> {
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

    fn remove_stream(&mut self, id: StreamId) -> Result<(), G::Fault> {
        self.set.streams.insert(id, None);
        Ok(())
    }

    fn add_streams(&mut self, namespace: &Namespace, change: i64) -> Result<u64, G::Fault> {
        let had = self.book.ground.count_streams(namespace)?;
        *self.set.counts.entry(namespace.clone()).or_default() += change;
        let changed = [&self.set.counts, &self.book.done.counts].map(|counts| counts.get(namespace).copied());
        Ok(had.saturating_add_signed(changed.into_iter().flatten().sum()))
    }

    fn payload(&mut self, id: PayloadId) -> Result<Option<PayloadSeen>, G::Fault> {
        let had = self.book.ground.payload(id)?;
        let holds = had.as_ref().map_or(0, |had| had.holds);
        let more = [&self.set.holds, &self.book.done.holds].map(|holds| holds.get(&id).copied());
        let holds = holds.saturating_add_signed(more.into_iter().flatten().sum());
        Ok((self.written)(id).or(had).map(|seen| PayloadSeen { holds, ..seen }))
    }

    fn add_holds(&mut self, id: PayloadId, change: i64) -> Result<(), G::Fault> {
        *self.set.holds.entry(id).or_default() += change;
        Ok(())
    }

    fn put_entry(&mut self, stream: StreamId, entry: &Entry) -> Result<(), G::Fault> {
        self.set.entries.insert((stream, entry.offset), entry.clone());
        Ok(())
    }

    fn entries(&mut self, stream: StreamId, from: Offset, until: Offset) -> Result<Vec<Entry>, G::Fault> {
        let from = from.max(self.removed(stream));
        if from >= until {
            return Ok(Vec::new());
        }
        let mut entries = self.book.ground.entries(stream, from, until)?;
        for layer in [&self.book.done, &self.set] {
            let added = layer.entries.range((stream, from)..(stream, until));
            entries.extend(added.map(|(_, entry)| entry.clone()));
        }
        Ok(entries)
    }

    fn remove_entries(&mut self, stream: StreamId, until: Offset) -> Result<(), G::Fault> {
        self.set
            .entries
            .retain(|(id, offset), _| *id != stream || *offset >= until);
        self.set.removed.insert(stream, until);
        Ok(())
    }

    fn group(&mut self, stream: StreamId, name: &GroupName) -> Result<Option<Group>, G::Fault> {
        let key = (stream, name.clone());
        let layers = [&self.set.groups, &self.book.done.groups];
        match layers.iter().find_map(|groups| groups.get(&key)) {
            Some(known) => Ok(Some(known.clone())),
            None => self.book.ground.group(stream, name),
        }
    }

    fn put_group(&mut self, stream: StreamId, group: &Group) -> Result<(), G::Fault> {
        self.set.groups.insert((stream, group.name.clone()), group.clone());
        Ok(())
    }

    fn producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>, G::Fault> {
        let key = (stream, name.clone());
        let layers = [&self.set.producers, &self.book.done.producers];
        match layers.iter().find_map(|producers| producers.get(&key)) {
            Some(known) => Ok(known.clone()),
            None => self.book.ground.producer(stream, name),
        }
    }

    fn put_producer(&mut self, stream: StreamId, producer: &Producer) -> Result<(), G::Fault> {
        let key = (stream, producer.name.clone());
        self.set.producers.insert(key, Some(producer.clone()));
        Ok(())
    }

    fn producers(&mut self, stream: StreamId) -> Result<Vec<Producer>, G::Fault> {
        let had = self.book.ground.producers(stream)?;
        let named = |producer: Producer| (producer.name.clone(), Some(producer));
        let mut all: BTreeMap<ProducerName, Option<Producer>> = had.into_iter().map(named).collect();
        for layer in [&self.book.done, &self.set] {
            let changed = layer.producers.iter().filter(|((id, _), _)| *id == stream);
            all.extend(changed.map(|((_, name), producer)| (name.clone(), producer.clone())));
        }
        Ok(all.into_values().flatten().collect())
    }

    fn remove_producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<(), G::Fault> {
        self.set.producers.insert((stream, name.clone()), None);
        Ok(())
    }
}
