//! What pending entries make of streams: the rows that the next set is decided by, and the entries that readers see before
//! the tables have them.
//!
//! A set is decided by the newest rows, whether they are on the disk already or not: its own entry comes after theirs, and
//! whoever waits for it has waited for them. Readers see a stream as far as it is on the disk, and no further.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use payload_core::stream::rules::{PayloadSeen, StreamRows};
use payload_core::stream::{
    Appended, Entry, EntryRead, Group, GroupName, Offset, Producer, ProducerName, Stream, StreamName, StreamRefusal,
};
use payload_core::{ChangeSet, Namespace, Payload, PayloadId, StateKind, StreamId};
use rusqlite::Connection;

use super::super::fault::Fault;
use super::super::streams::Rows;
use super::state::{Pending, PendingRows};
use crate::book::{self, Book, Ground, Layer};

/// What the stream changes of a set come to.
#[derive(Debug, Default)]
pub(in crate::sqlite) struct Effects {
    /// The rows that are to be written.
    pub(in crate::sqlite) layer: Layer,
    /// Where the set's entries are.
    pub(in crate::sqlite) appended: Option<Appended>,
    /// How many entries hold these payloads from then on.
    holds: Vec<(PayloadId, u64)>,
}

/// Newest rows by what they are of, each with the entry that made it.
#[derive(Default)]
pub(super) struct PendingStreams {
    streams: HashMap<StreamId, Made<Stream>>,
    names: HashMap<(Namespace, StreamName), StreamId>,
    groups: HashMap<(StreamId, GroupName), Made<Group>>,
    producers: HashMap<(StreamId, ProducerName), Made<Option<Producer>>>,
    holds: HashMap<PayloadId, Made<u64>>,
    /// The pending entries that moved a stream, in order.
    tails: HashMap<StreamId, VecDeque<Arc<Pending>>>,
}

/// A row, and the entry that made it.
pub(super) type Made<T> = (T, Arc<Pending>);

/// The part of a stream that the tables do not have yet, from where a reader begins.
#[derive(Debug, Default)]
pub(in crate::sqlite) struct Tail {
    /// Its first entry; what comes before is in the tables.
    pub(in crate::sqlite) begins: Option<Offset>,
    /// What a reader is to see of it.
    pub(in crate::sqlite) entries: Vec<EntryRead>,
    /// The states of payloads of which the tables may have an older one, if a part of what is read is there.
    pub(in crate::sqlite) states: HashMap<PayloadId, StateKind>,
}

/// Decides what a set does to streams.
pub(super) fn decide(
    pending: &PendingStreams,
    rows: &PendingRows,
    tables: &Connection,
    set: &ChangeSet,
) -> Result<Result<Effects, StreamRefusal>, Fault> {
    if set.streams.is_empty() {
        return Ok(Ok(Effects::default()));
    }
    let mut book = Book::new(Under {
        pending,
        rows,
        tables: Rows(tables),
        seen: HashMap::new(),
    });
    let written = |id: PayloadId| {
        let own = set.changes.iter().rev().find(|change| change.after.id == id);
        own.map(|change| book::seen(&change.after))
    };
    let appended = match book.apply(&set.streams, &written)? {
        Ok(appended) => appended,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Book { ground, done: layer } = book;
    let holds = layer.holds.iter().map(|(id, change)| {
        let before = ground
            .seen
            .get(id)
            .and_then(Option::as_ref)
            .map_or(0, |seen| seen.holds);
        (*id, before.saturating_add_signed(*change))
    });
    Ok(Ok(Effects {
        holds: holds.collect(),
        layer,
        appended,
    }))
}

impl Effects {
    fn entries_of(&self, stream: StreamId) -> impl Iterator<Item = &Entry> {
        let whole = (stream, Offset::ZERO)..=(stream, Offset::from_u64(u64::MAX));
        self.layer.entries.range(whole).map(|(_, entry)| entry)
    }
}

impl PendingStreams {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn enter(&mut self, entry: &Arc<Pending>) {
        let Effects { layer, holds, .. } = &entry.streams;
        for (id, stream) in &layer.streams {
            let Some(stream) = stream else { continue };
            self.names.insert((stream.namespace.clone(), stream.name.clone()), *id);
            self.streams.insert(*id, (stream.clone(), Arc::clone(entry)));
            self.tails.entry(*id).or_default().push_back(Arc::clone(entry));
        }
        for (key, group) in &layer.groups {
            self.groups.insert(key.clone(), (group.clone(), Arc::clone(entry)));
        }
        for (key, producer) in &layer.producers {
            self.producers
                .insert(key.clone(), (producer.clone(), Arc::clone(entry)));
        }
        for (payload, count) in holds {
            self.holds.insert(*payload, (*count, Arc::clone(entry)));
        }
    }

    /// The oldest entry is in the tables.
    pub(super) fn leave(&mut self, entry: &Arc<Pending>) {
        let Effects { layer, holds, .. } = &entry.streams;
        for (id, stream) in &layer.streams {
            if let Some(tail) = self.tails.get_mut(id) {
                tail.pop_front();
                if tail.is_empty() {
                    self.tails.remove(id);
                }
            }
            let Some(stream) = stream else { continue };
            if forget(&mut self.streams, id, entry) {
                self.names.remove(&(stream.namespace.clone(), stream.name.clone()));
            }
        }
        for key in layer.groups.keys() {
            forget(&mut self.groups, key, entry);
        }
        for key in layer.producers.keys() {
            forget(&mut self.producers, key, entry);
        }
        for (payload, _) in holds {
            forget(&mut self.holds, payload, entry);
        }
    }

    /// The stream that has the name, as far as it is on the disk.
    pub(super) fn named(&self, namespace: &Namespace, name: &StreamName, synced: u64) -> Option<Stream> {
        let id = self.names.get(&(namespace.clone(), name.clone()))?;
        self.stream(*id, synced)
    }

    /// A stream as far as it is on the disk.
    pub(super) fn stream(&self, id: StreamId, synced: u64) -> Option<Stream> {
        let last = self.on_disk(id, synced).next_back()?;
        last.streams.layer.streams.get(&id).cloned()?
    }

    pub(super) fn group(&self, stream: StreamId, name: &GroupName) -> Option<Made<Group>> {
        self.groups.get(&(stream, name.clone())).cloned()
    }

    pub(super) fn producer(&self, stream: StreamId, name: &ProducerName) -> Option<Made<Option<Producer>>> {
        self.producers.get(&(stream, name.clone())).cloned()
    }

    pub(super) fn holds(&self, payload: PayloadId) -> Option<u64> {
        self.holds.get(&payload).map(|(count, _)| *count)
    }

    /// What a reader sees that begins at `from` and wants `limit` entries.
    pub(super) fn tail(&self, rows: &PendingRows, stream: StreamId, from: Offset, limit: u32, synced: u64) -> Tail {
        let begins = self.begins(stream, synced);
        let wanted = self
            .entries(stream, synced)
            .skip_while(|entry| entry.offset < from)
            .take(limit as usize);
        // Only a payload that is active gets an entry, and what changes it after that is pending too.
        let state = |payload| {
            rows.get(&payload)
                .map_or(StateKind::Active, |(row, _)| row.state.kind())
        };
        let read = |entry: &Entry| EntryRead {
            entry: entry.clone(),
            state: Some(state(entry.payload)),
        };
        let entries = wanted.map(read).collect();
        let states = match begins {
            Some(begins) if begins <= from => HashMap::new(),
            _ => rows.iter().map(|(id, (row, _))| (*id, row.state.kind())).collect(),
        };
        Tail {
            begins,
            entries,
            states,
        }
    }

    /// The first entry that the tables do not have.
    pub(super) fn begins(&self, stream: StreamId, synced: u64) -> Option<Offset> {
        self.entries(stream, synced).next().map(|entry| entry.offset)
    }

    fn entries(&self, stream: StreamId, synced: u64) -> impl Iterator<Item = &Entry> {
        self.on_disk(stream, synced)
            .flat_map(move |entry| entry.streams.entries_of(stream))
    }

    fn on_disk(&self, stream: StreamId, synced: u64) -> impl DoubleEndedIterator<Item = &Arc<Pending>> {
        let tail = self.tails.get(&stream).into_iter().flatten();
        tail.filter(move |entry| entry.number <= synced)
    }
}

/// Removes a row unless a later entry has made it anew; says whether it did.
fn forget<K: Hash + Eq, T>(rows: &mut HashMap<K, Made<T>>, key: &K, entry: &Arc<Pending>) -> bool {
    let newest = rows.get(key).is_some_and(|(_, made_by)| Arc::ptr_eq(made_by, entry));
    newest && rows.remove(key).is_some()
}

/// What is pending, over the tables.
struct Under<'a> {
    pending: &'a PendingStreams,
    rows: &'a PendingRows,
    tables: Rows<'a>,
    /// The payloads that were asked for.
    seen: HashMap<PayloadId, Option<PayloadSeen>>,
}

impl Under<'_> {
    fn look_at(&mut self, id: PayloadId) -> Result<Option<PayloadSeen>, Fault> {
        let row = self.rows.get(&id).map(|(row, _): &(Arc<Payload>, u64)| book::seen(row));
        let (seen, holds) = match (row, self.pending.holds(id)) {
            (Some(row), Some(holds)) => (Some(row), holds),
            (row, holds) => {
                let below = self.tables.payload(id)?;
                let holds = holds.unwrap_or(below.as_ref().map_or(0, |below| below.holds));
                (row.or(below), holds)
            }
        };
        Ok(seen.map(|seen| PayloadSeen { holds, ..seen }))
    }
}

impl Ground for Under<'_> {
    type Fault = Fault;

    fn has_namespace(&mut self, name: &Namespace) -> Result<bool, Fault> {
        self.tables.has_namespace(name)
    }

    fn named(&mut self, namespace: &Namespace, name: &StreamName) -> Result<Option<StreamId>, Fault> {
        if let Some(id) = self.pending.names.get(&(namespace.clone(), name.clone())) {
            return Ok(Some(*id));
        }
        let found = self.tables.stream_named(namespace, name)?;
        Ok(found.map(|stream| stream.id))
    }

    fn stream(&mut self, id: StreamId) -> Result<Option<Stream>, Fault> {
        match self.pending.streams.get(&id) {
            Some((stream, _)) => Ok(Some(stream.clone())),
            None => self.tables.stream(id),
        }
    }

    fn count_streams(&mut self, namespace: &Namespace) -> Result<u64, Fault> {
        self.tables.count_streams(namespace)
    }

    fn payload(&mut self, id: PayloadId) -> Result<Option<PayloadSeen>, Fault> {
        if let Some(seen) = self.seen.get(&id) {
            return Ok(seen.clone());
        }
        let seen = self.look_at(id)?;
        self.seen.insert(id, seen.clone());
        Ok(seen)
    }

    fn entries(&mut self, stream: StreamId, from: Offset, until: Offset) -> Result<Vec<Entry>, Fault> {
        self.tables.entries(stream, from, until)
    }

    fn group(&mut self, stream: StreamId, name: &GroupName) -> Result<Option<Group>, Fault> {
        match self.pending.group(stream, name) {
            Some((group, _)) => Ok(Some(group)),
            None => self.tables.group(stream, name),
        }
    }

    fn producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>, Fault> {
        match self.pending.producer(stream, name) {
            Some((producer, _)) => Ok(producer),
            None => self.tables.producer(stream, name),
        }
    }

    /// Pending rows replace the tables', and a producer that was forgotten is not there.
    fn producers(&mut self, stream: StreamId) -> Result<Vec<Producer>, Fault> {
        let mut all = self.tables.producers(stream)?;
        for ((id, name), (producer, _)) in &self.pending.producers {
            if *id == stream {
                all.retain(|known| known.name != *name);
                all.extend(producer.clone());
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use payload_core::stream::{Append, EntryDraft, StreamChange, StreamRef, StreamSettings};
    use payload_core::{CommitOutcome, Durability, State};
    use payload_testkit::clock::ManualClock;
    use payload_testkit::repository::sample::{Maker, at, created, set};

    use super::super::super::SqliteOptions;
    use super::super::super::catalog::Catalog;
    use super::super::{Claim, Offer, Written};
    use super::*;
    use crate::log::Listener;

    /// A catalog whose tables nobody brings up to date, with a stream and a payload.
    struct World {
        catalog: Catalog,
        claim: Claim,
        stream: StreamId,
        payload: Payload,
        _dir: tempfile::TempDir,
    }

    fn named() -> StreamRef {
        StreamRef {
            namespace: Namespace::default(),
            name: "frames".parse().unwrap(),
            incarnation: None,
        }
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("catalog.db");
            let clock = Arc::new(ManualClock::default());
            let catalog = Catalog::open(&path, &SqliteOptions::default(), clock, Arc::new(()), &|_| Ok(())).unwrap();
            let mut maker = Maker::new(75);
            let claim = (maker.node, catalog.claim(maker.node, at(0)).unwrap());
            let payload = Payload {
                state: State::Active { expires_at: None },
                ..maker.allocated()
            };
            let stream = maker.stream();
            let create = StreamChange::Create {
                id: stream,
                namespace: named().namespace,
                name: named().name,
                settings: StreamSettings::default(),
                at: at(0),
            };
            let first = ChangeSet {
                streams: vec![create],
                durability: Durability::Host,
                ..set([created(&payload)])
            };
            let made = catalog.commit_directly(claim, first, &Listener::default());
            assert_eq!(made.unwrap(), CommitOutcome::Applied);
            Self {
                catalog,
                claim,
                stream,
                payload,
                _dir: dir,
            }
        }

        /// Writes an entry down, and does not wait for the disk.
        fn append(&self) -> Written {
            let draft = EntryDraft {
                payload: self.payload.id,
                tags: Vec::new(),
            };
            let append = Append {
                stream: named(),
                entries: vec![draft],
                expected: None,
                producer: None,
                at: at(1),
            };
            let set = ChangeSet {
                streams: vec![StreamChange::Append(append)],
                durability: Durability::Host,
                ..set([])
            };
            match self.catalog.offer(self.claim, set).unwrap() {
                Offer::Written(written) => written,
                _ => panic!("the journal takes appends"),
            }
        }

        /// What readers see: the head, by id and by name, and how many entries, with and without waiting.
        fn seen(&self) -> [Option<u64>; 4] {
            let journal = &self.catalog.journal;
            let head = |stream: Option<Stream>| stream.map(|stream| stream.head.as_u64());
            let tail = journal.tail(self.stream, Offset::ZERO, 100);
            let at_hand = journal.at_hand(self.stream, Offset::ZERO, 100);
            [
                head(journal.stream(self.stream)),
                head(journal.stream_named(&named().namespace, &named().name)),
                tail.begins.map(|_| tail.entries.len() as u64),
                at_hand.map(|(_, entries)| entries.len() as u64),
            ]
        }
    }

    #[test]
    fn nobody_sees_an_entry_before_it_is_on_the_disk() {
        let world = World::new();
        let (first, second) = (world.append(), world.append());
        let place = |written: &Written| written.entry.outcome().appended().unwrap().first.as_u64();
        assert_eq!(
            (place(&first), place(&second)),
            (0, 1),
            "each is decided by those before it"
        );
        assert_eq!(world.seen(), [None; 4]);
        world.catalog.make_durable(&first.entry).unwrap();
        assert_eq!(world.seen(), [Some(1); 4]);
        world.catalog.make_durable(&second.entry).unwrap();
        assert_eq!(world.seen(), [Some(2); 4]);
        world.catalog.settle().unwrap();
        assert_eq!(world.seen(), [None; 4], "the tables have all of it");
    }
}
