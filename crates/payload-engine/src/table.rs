//! The payloads in memory: found without a global lock, read from the repository once however many ask.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use payload_core::port::Repository;
use payload_core::{NodeId, Payload, PayloadId, Result};

use crate::entry::Entry;

const SHARDS: usize = 64;
/// How many entries an insertion looks at for one to drop.
const DROP_ATTEMPTS: usize = 8;

/// All entries, by id.
#[derive(Debug)]
pub(crate) struct Table {
    shards: Vec<Shard>,
    hasher: RandomState,
    shard_max: usize,
    node: NodeId,
    keeps: Keeps,
    era: AtomicU64,
}

/// Which rows stay in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// All: nobody else changes them.
    All,
    /// Those with a replica that this node can reach. Changes by others are told of those with one of its own; all others
    /// are read each time.
    Own,
}

#[derive(Debug, Default)]
struct Shard {
    slots: Mutex<Slots>,
    loaded: Condvar,
}

#[derive(Debug, Default)]
struct Slots {
    map: BTreeMap<PayloadId, Known>,
    /// Where the last search for an entry to drop ended; searches go round and round, so that entries which must stay
    /// cannot hide others from them.
    hand: Option<PayloadId>,
}

#[derive(Debug)]
enum Known {
    Here(Arc<Entry>),
    /// Somebody reads it from the repository at this moment.
    Loading,
}

impl Table {
    /// Keeps about `cold_max` entries that could be read again.
    pub(crate) fn new(cold_max: usize, node: NodeId, keeps: Keeps) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            shard_max: cold_max.div_ceil(SHARDS),
            node,
            keeps,
            era: AtomicU64::new(0),
        }
    }

    /// A new one begins when others may have changed rows without a word of it: what was read before is read again before
    /// it is used.
    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::Acquire)
    }

    pub(crate) fn begin_era(&self) {
        self.era.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the row is one that may be gone by.
    pub(crate) fn keeps(&self, row: &Payload) -> bool {
        self.keeps == Keeps::All || row.replicas_for(self.node).next().is_some()
    }

    /// Whether changes of the row by others are told, if there are others: they are to the nodes of its replicas.
    pub(crate) fn hears_of(&self, row: &Payload) -> bool {
        self.keeps == Keeps::All || row.is_on(self.node)
    }

    /// What is in memory; never blocks on I/O.
    pub(crate) fn get(&self, id: PayloadId) -> Option<Arc<Entry>> {
        match self.shard(id).slots.lock().map.get(&id)? {
            Known::Here(entry) => Some(Arc::clone(entry)),
            Known::Loading => None,
        }
    }

    /// What is in memory, else what the repository has. Callers that come during a read share it.
    pub(crate) fn get_or_load(&self, id: PayloadId, repository: &dyn Repository) -> Result<Option<Arc<Entry>>> {
        let shard = self.shard(id);
        let mut slots = shard.slots.lock();
        loop {
            match slots.map.entry(id) {
                Slot::Occupied(slot) => match slot.get() {
                    Known::Here(entry) => return Ok(Some(Arc::clone(entry))),
                    Known::Loading => shard.loaded.wait(&mut slots),
                },
                Slot::Vacant(slot) => {
                    slot.insert(Known::Loading);
                    break;
                }
            }
        }
        drop(slots);

        let _load = Load { shard, id };
        let era = self.era();
        let row = repository.get(id)?;
        Ok(row.map(|row| match self.keeps(&row) {
            true => self.insert_of(Arc::new(row), true, era),
            false => self.entry(Arc::new(row), true, era),
        }))
    }

    /// Lets everybody who asks for a payload that is being made wait until it is put in, or until this is dropped. Without
    /// it somebody could read the new row, end the payload and forget it before its maker puts in what it was at first.
    pub(crate) fn make(&self, id: PayloadId) -> Load<'_> {
        let shard = self.shard(id);
        shard.slots.lock().map.insert(id, Known::Loading);
        Load { shard, id }
    }

    /// Puts a row in, unless there is an entry already, and returns the entry.
    pub(crate) fn insert(&self, row: Arc<Payload>, inherited: bool) -> Arc<Entry> {
        self.insert_of(row, inherited, self.era())
    }

    fn entry(&self, row: Arc<Payload>, inherited: bool, era: u64) -> Arc<Entry> {
        Arc::new(Entry::new(row, self.node, inherited, era))
    }

    fn insert_of(&self, row: Arc<Payload>, inherited: bool, era: u64) -> Arc<Entry> {
        let mut slots = self.shard(row.id).slots.lock();
        if let Some(Known::Here(entry)) = slots.map.get(&row.id) {
            // Somebody may have read a row that was just written before whoever wrote it came here.
            entry.inherited.fetch_and(inherited, Ordering::Relaxed);
            return Arc::clone(entry);
        }
        slots.make_room(self.shard_max);
        let entry = self.entry(row, inherited, era);
        slots.map.insert(entry.id, Known::Here(Arc::clone(&entry)));
        entry
    }

    /// Forgets an entry whose row is final.
    pub(crate) fn remove(&self, entry: &Arc<Entry>) {
        let mut slots = self.shard(entry.id).slots.lock();
        if matches!(slots.map.get(&entry.id), Some(Known::Here(known)) if Arc::ptr_eq(known, entry)) {
            slots.map.remove(&entry.id);
        }
    }

    /// Every entry at about this moment.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.slots.lock().map.values().filter_map(|known| match known {
                Known::Here(entry) => Some(Arc::clone(entry)),
                Known::Loading => None,
            }));
        }
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.slots.lock().map.len()).sum()
    }

    fn shard(&self, id: PayloadId) -> &Shard {
        &self.shards[self.hasher.hash_one(id) as usize % SHARDS]
    }
}

/// Ends a load and wakes those who wait for it; one that found nothing leaves nothing.
pub(crate) struct Load<'a> {
    shard: &'a Shard,
    id: PayloadId,
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let mut slots = self.shard.slots.lock();
        if matches!(slots.map.get(&self.id), Some(Known::Loading)) {
            slots.map.remove(&self.id);
        }
        drop(slots);
        self.shard.loaded.notify_all();
    }
}

impl Slots {
    /// Drops entries that nobody uses until there is room for one more, but looks at a few only.
    fn make_room(&mut self, max: usize) {
        for _ in 0..DROP_ATTEMPTS {
            if self.map.len() < max {
                return;
            }
            let from = self.hand.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.map.range((from, Bound::Unbounded)).next();
            self.hand = next.map(|(id, _)| *id);
            if let Some((&id, Known::Here(entry))) = next
                && Arc::strong_count(entry) == 1
                && entry.is_droppable()
            {
                self.map.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use payload_core::{
        Actor, Change, ChangeSet, Durability, EventKind, EventRecord, Namespace, Principal, State, StateKind, Tier,
        Timestamp, Version,
    };
    use payload_repo::MemoryRepository;

    use super::*;

    fn row() -> Arc<Payload> {
        Arc::new(Payload {
            id: PayloadId::from_parts(1, [1; 10]),
            namespace: Namespace::default(),
            state: State::Active { expires_at: None },
            version: Version::FIRST,
            size: 0,
            digest: None,
            tier: Tier::Ram,
            durability: Durability::Volatile,
            policy: payload_core::Policy::default(),
            labels: Vec::new(),
            owner: Principal::uid(1),
            created_at: Timestamp::from_micros(1),
            committed_at: None,
            ttl: None,
            metadata: None,
            replicas: Vec::new(),
        })
    }

    fn table() -> Table {
        Table::new(10, NodeId::from_parts(1, [1; 10]), Keeps::All)
    }

    /// Knows the row already, as the repository does while its maker has not heard of it yet.
    fn repository(row: &Arc<Payload>) -> MemoryRepository {
        let repository = MemoryRepository::new();
        let at = Timestamp::from_micros(1);
        repository.claim(NodeId::from_parts(1, [1; 10]), at).unwrap();
        let change = Change {
            before: None,
            after: Arc::clone(row),
            event: EventRecord {
                kind: EventKind::Committed,
                actor: Actor::server("test"),
                reason: None,
                at,
                from: None,
                to: StateKind::Active,
                note: None,
            },
            metadata: None,
        };
        repository
            .commit(ChangeSet::new(vec![change], Durability::Volatile))
            .unwrap();
        repository
    }

    #[test]
    fn nobody_reads_a_payload_that_is_being_made() {
        for _ in 0..200 {
            let (table, row) = (table(), row());
            let repository = repository(&row);
            let making = table.make(row.id);
            std::thread::scope(|scope| {
                let asked = scope.spawn(|| table.get_or_load(row.id, &repository).unwrap().unwrap());
                std::thread::yield_now();
                let made = table.insert(Arc::clone(&row), false);
                drop(making);
                let asked = asked.join().unwrap();
                assert!(Arc::ptr_eq(&asked, &made) && Arc::ptr_eq(&asked.row(), &row));
            });
        }
        let (table, row) = (table(), row());
        drop(table.make(row.id));
        assert!(table.get_or_load(row.id, &MemoryRepository::new()).unwrap().is_none());
    }

    #[test]
    fn a_row_that_was_just_written_is_not_inherited_whoever_brings_it_first() {
        let row = row();
        let table = table();
        let read = table.insert(Arc::clone(&row), true);
        assert!(read.inherited.load(Ordering::Relaxed));
        let written = table.insert(row, false);
        assert!(Arc::ptr_eq(&read, &written) && !read.inherited.load(Ordering::Relaxed));
    }
}
