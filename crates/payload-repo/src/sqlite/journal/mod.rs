//! The journal of commits: what is acknowledged before the tables hold it.
//!
//! Most change sets lead payloads from one version to the next, or append to streams, and nothing else. The one process that has the catalog
//! can decide such a set by what is pending and by a few point reads, and one small write to a file makes it survive
//! the process (with an fsync: the host). Bringing it into the tables takes a dozen pages of SQLite's log and their
//! checksums; that is done later, for many sets at once.
//!
//! All other sets go to the tables directly, after everything pending. While one is on its way, so do all: whatever is
//! decided here is decided by rows that nobody is changing.

mod entry;
mod file;
mod stream_change;
mod streams;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use payload_core::stream::{
    EntryRead, Group as StreamGroup, GroupName, Offset, Producer, ProducerName, Stream, StreamName,
};
use payload_core::sync::Group;
use payload_core::{
    Change, ChangeSet, CommitOutcome, Durability, Namespace, NodeId, OverQuota, Payload, PayloadId, Principal,
    RequestId, RequestRecord, StreamId, Version,
};
use rusqlite::Connection;

use super::fault::Fault;
use super::pool::Pool;
use super::{namespaces, quotas, read};
use crate::memory::in_order;
pub(super) use entry::{decode, promises_host};
use file::{Found, JournalFile};
pub(super) use file::{Mark, Unusable, lock, path};
pub(super) use streams::Tail;
use streams::{Effects, Made, PendingStreams};

/// A handle's right to write: the node, and its epoch when the handle claimed it.
pub(super) type Claim = (NodeId, u64);

/// Pending entries, and the rows that they add up to.
pub(super) struct Journal {
    state: Mutex<State>,
    /// The same file, synced while others append.
    file: File,
    syncs: Group<u64, Result<(), Fault>>,
    pending: AtomicUsize,
}

/// The newest pending version of each payload, and the entry that made it.
type PendingRows = HashMap<PayloadId, (Arc<Payload>, u64)>;

struct State {
    file: JournalFile,
    pending: VecDeque<Arc<Pending>>,
    rows: PendingRows,
    streams: PendingStreams,
    /// What pending requests did, and the entry that says so.
    requests: HashMap<(Principal, RequestId), (RequestRecord, Arc<Pending>)>,
    /// Known to exist, and whether a quota bounds what is in them.
    namespaces: HashMap<Namespace, bool>,
    /// Who writes for each node.
    epochs: HashMap<NodeId, u64>,
    /// How many go to the tables directly now.
    direct: usize,
    /// The tables could not take what is pending the last time it was tried.
    stalled: bool,
    /// The tables hold something that is neither in the file nor on the disk.
    ahead: bool,
    /// Entries of class `host` are on the disk up to this one.
    synced: u64,
    /// A sync failed. The kernel may say of the next that it succeeded, with the same bytes gone.
    failed: Option<Fault>,
}

/// An entry that the tables do not hold yet.
pub(super) struct Pending {
    number: u64,
    pub(super) set: ChangeSet,
    /// What its stream changes come to.
    pub(super) streams: Effects,
}

/// What became of a set that was offered to the journal.
pub(super) enum Offer {
    /// It is decided, and nothing was written. The answer has to wait for the entry that it follows from.
    Decided(CommitOutcome, Option<Arc<Pending>>),
    /// It is in the journal.
    Written(Written),
    /// It is for the tables.
    Direct(Box<ChangeSet>),
}

enum Decision {
    Write(Effects),
    Answer(CommitOutcome, Option<Arc<Pending>>),
    /// It depends on sums that only the tables have.
    Direct,
}

/// An entry that was just written.
pub(super) struct Written {
    pub(super) entry: Arc<Pending>,
    /// How many are pending with it.
    pub(super) pending: usize,
}

impl Journal {
    /// Over a file that only this process has. What was found in it is to be applied before anything is appended.
    pub(super) fn open(file: File, path: &Path, mark: Mark, room: u64) -> Result<(Self, Mark, Found), Unusable> {
        let (file, found) = JournalFile::open(file, path, mark, room)?;
        let next = file.mark(mark);
        let journal = Self {
            file: file.for_sync()?,
            syncs: Group::new(usize::MAX),
            pending: AtomicUsize::new(0),
            state: Mutex::new(State {
                synced: file.last(),
                file,
                pending: VecDeque::new(),
                rows: HashMap::new(),
                streams: PendingStreams::default(),
                requests: HashMap::new(),
                namespaces: HashMap::new(),
                epochs: HashMap::new(),
                direct: 0,
                stalled: false,
                ahead: false,
                failed: None,
            }),
        };
        Ok((journal, next, found))
    }

    /// How many entries the tables do not hold yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// Decides a set and writes it down, if it is one for the journal.
    pub(super) fn offer(&self, claim: Claim, set: ChangeSet, tables: &Pool) -> Result<Offer, Fault> {
        if !entry::fits(&set) {
            return Ok(Offer::Direct(Box::new(set)));
        }
        let mut state = self.state.lock();
        state.check_sync()?;
        let host = set.durability >= Durability::Host;
        if state.direct > 0 || state.stalled || (host && state.ahead) {
            return Ok(Offer::Direct(Box::new(set)));
        }
        state.check(claim)?;
        // What leaves the pending part while this is decided is in the tables as it was: no snapshot is needed.
        let effects = match tables.look(|conn| state.decide(conn, &set))? {
            Decision::Write(effects) => effects,
            Decision::Answer(outcome, from) => return Ok(Offer::Decided(outcome, from)),
            Decision::Direct => return Ok(Offer::Direct(Box::new(set))),
        };
        match state.file.append(&entry::encode(&set, effects.appended)) {
            Ok(Some(number)) => Ok(Offer::Written(self.note(&mut state, number, set, effects))),
            Ok(None) => Ok(Offer::Direct(Box::new(set))),
            Err(error) => Err(Fault::from(error)),
        }
    }

    fn note(&self, state: &mut MutexGuard<'_, State>, number: u64, set: ChangeSet, streams: Effects) -> Written {
        let entry = Arc::new(Pending { number, set, streams });
        state.enter(&entry);
        state.pending.push_back(Arc::clone(&entry));
        let pending = state.pending.len();
        self.pending.store(pending, Ordering::Release);
        Written { entry, pending }
    }

    /// Returns when the entry is as durable as it asks for, together with all others that ask now.
    pub(super) fn sync(&self, entry: &Pending, done: impl FnOnce(usize)) -> Result<(), Fault> {
        // What another's sync has covered is on the disk, whatever becomes of the next.
        if !entry.waits_for_sync(self.state.lock().synced) {
            done(1);
            return Ok(());
        }
        self.syncs.run(entry.number, |numbers| {
            let result = self.sync_now(numbers.iter().copied().max().unwrap_or(0));
            if result.is_ok() {
                done(numbers.len());
            }
            vec![result; numbers.len()]
        })
    }

    fn sync_now(&self, number: u64) -> Result<(), Fault> {
        {
            let state = self.state.lock();
            state.check_sync()?;
            if state.synced >= number {
                return Ok(());
            }
        }
        let result = self.file.sync_data().map_err(|error| Fault::from(error).in_sync());
        let mut state = self.state.lock();
        match &result {
            Ok(()) => state.synced = state.synced.max(number),
            Err(fault) => {
                // Nobody was told that these exist, and nobody will be before the restart.
                let synced = state.synced;
                state.failed = Some(fault.clone());
                state.pending.retain(|entry| !entry.waits_for_sync(synced));
                state.reenter();
                self.pending.store(state.pending.len(), Ordering::Release);
            }
        }
        result
    }

    /// Syncs whatever still waits for it, so that the tables can take everything that is pending now.
    pub(super) fn sync_all(&self) -> Result<(), Fault> {
        let last = self.state.lock().last_to_sync();
        last.map_or(Ok(()), |entry| self.sync(&entry, |_| ()))
    }

    /// Keeps sets out of the journal until the guard is dropped.
    pub(super) fn direct(&self) -> Direct<'_> {
        self.state.lock().direct += 1;
        Direct(self)
    }

    /// The next entries for the tables, of a weight of `max` or the first alone: none that still waits for the disk.
    ///
    /// # Errors
    ///
    /// The sync that failed, if one has: nothing may go to the tables past what is pending.
    pub(super) fn batch(&self, max: usize) -> Result<Batch, Fault> {
        let state = self.state.lock();
        state.check_sync()?;
        let ready = state
            .pending
            .iter()
            .take_while(|entry| !entry.waits_for_sync(state.synced));
        let mut before = 0;
        let light = ready.take_while(|entry| {
            let fits = before == 0 || before + entry.weight() <= max;
            before += entry.weight();
            fits
        });
        let entries: Vec<_> = light.cloned().collect();
        let last = entries.last().map(|entry| entry.number);
        let frees_a_half = match (state.file.wants_durable(), last) {
            (Some(wanted), Some(last)) => last >= wanted,
            // Everything is in the tables, though not on the disk.
            (Some(_), None) => state.pending.is_empty(),
            (None, _) => false,
        };
        Ok(Batch {
            mark: last.or_else(|| frees_a_half.then(|| state.file.last())),
            entries,
            frees_a_half,
        })
    }

    /// The tables hold the batch, on the disk if they were synced.
    pub(super) fn applied(&self, batch: &Batch, synced: bool) {
        let mut state = self.state.lock();
        state.stalled = false;
        if let Some(mark) = batch.mark {
            while state.pending.front().is_some_and(|entry| entry.number <= mark) {
                state.leave();
            }
            if synced {
                state.file.durable(mark);
            }
        }
        if synced {
            state.ahead = false;
        }
        self.pending.store(state.pending.len(), Ordering::Release);
    }

    /// The tables hold a set that is not in the file, and an fsync is not yet over it.
    pub(super) fn tables_are_ahead(&self) {
        self.state.lock().ahead = true;
    }

    /// The tables could not take what is pending: until they can, every set finds that out for itself.
    pub(super) fn stalled(&self) {
        self.state.lock().stalled = true;
    }

    /// A handle claims its node. No set is on its way to the journal.
    pub(super) fn claimed(&self, (node, epoch): Claim) {
        self.state.lock().epochs.insert(node, epoch);
    }

    /// A namespace may have come or gone. No set is on its way to the journal.
    pub(super) fn forget_namespaces(&self) {
        self.state.lock().namespaces.clear();
    }

    /// The newest version of a payload, if the tables do not hold it yet.
    pub(super) fn row(&self, id: PayloadId) -> Option<Payload> {
        if self.pending() == 0 {
            return None;
        }
        self.state.lock().rows.get(&id).map(|(row, _)| in_order(row))
    }

    /// What a request did, if the tables do not know it yet, and the entry that the answer has to wait for.
    pub(super) fn request(
        &self,
        principal: &Principal,
        request_id: &RequestId,
    ) -> Option<(RequestRecord, Arc<Pending>)> {
        if self.pending() == 0 {
            return None;
        }
        let key = (principal.clone(), request_id.clone());
        self.state.lock().requests.get(&key).cloned()
    }
}

#[cfg(test)]
impl Journal {
    /// Has every further sync fail.
    pub(super) fn break_syncs(&mut self) {
        self.file = File::open("/dev/null").expect("every system has it");
    }
}

/// What readers see of streams that the tables do not hold yet.
impl Journal {
    /// The stream that has the name, if the tables have an older row of it.
    pub(super) fn stream_named(&self, namespace: &Namespace, name: &StreamName) -> Option<Stream> {
        let state = self.unless_empty()?;
        state.streams.named(namespace, name, state.synced)
    }

    /// A stream, if the tables have an older row of it.
    pub(super) fn stream(&self, id: StreamId) -> Option<Stream> {
        let state = self.unless_empty()?;
        state.streams.stream(id, state.synced)
    }

    /// A group that the tables do not know like this, and the entry that the answer has to wait for.
    pub(super) fn group(&self, stream: StreamId, name: &GroupName) -> Option<Made<StreamGroup>> {
        self.unless_empty()?.streams.group(stream, name)
    }

    /// A producer that the tables do not know like this, and the entry that the answer has to wait for.
    pub(super) fn producer(&self, stream: StreamId, name: &ProducerName) -> Option<Made<Option<Producer>>> {
        self.unless_empty()?.streams.producer(stream, name)
    }

    /// How many entries hold a payload, if the tables do not know it yet.
    pub(super) fn holds(&self, payload: PayloadId) -> Option<u64> {
        self.unless_empty()?.streams.holds(payload)
    }

    /// The part of a stream that the tables do not hold yet.
    pub(super) fn tail(&self, stream: StreamId, from: Offset, limit: u32) -> Tail {
        let Some(state) = self.unless_empty() else {
            return Tail::default();
        };
        state.streams.tail(&state.rows, stream, from, limit, state.synced)
    }

    /// A stream and its entries from `from` on, if all of that is pending and nobody is deciding about the next set now.
    pub(super) fn at_hand(&self, stream: StreamId, from: Offset, limit: u32) -> Option<(Stream, Vec<EntryRead>)> {
        let state = (self.pending() > 0).then(|| self.state.try_lock())??;
        state
            .streams
            .begins(stream, state.synced)
            .filter(|begins| *begins <= from)?;
        let row = state.streams.stream(stream, state.synced)?;
        let tail = state.streams.tail(&state.rows, stream, from, limit, state.synced);
        Some((row, tail.entries))
    }

    fn unless_empty(&self) -> Option<MutexGuard<'_, State>> {
        (self.pending() > 0).then(|| self.state.lock())
    }
}

impl State {
    /// The last entry that is not on the disk yet, and has to be.
    fn last_to_sync(&self) -> Option<Arc<Pending>> {
        let mut waiting = self.pending.iter().filter(|entry| entry.waits_for_sync(self.synced));
        waiting.next_back().cloned()
    }

    fn check_sync(&self) -> Result<(), Fault> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn check(&self, (node, epoch): Claim) -> Result<(), Fault> {
        match self.epochs.get(&node) == Some(&epoch) {
            true => Ok(()),
            false => Err(Fault::fenced()),
        }
    }

    /// Whether the set may be written, by what is pending and by the tables below that.
    fn decide(&mut self, tables: &Connection, set: &ChangeSet) -> Result<Decision, Fault> {
        if let Some(request) = &set.request {
            let key = (request.principal.clone(), request.request_id.clone());
            let first = match self.requests.get(&key) {
                Some((first, entry)) => Some((first.clone(), Some(Arc::clone(entry)))),
                None => read::request(tables, &request.principal, &request.request_id)?.map(|first| (first, None)),
            };
            if let Some((first, entry)) = first {
                return Ok(Decision::Answer(CommitOutcome::Duplicate(first), entry));
            }
        }
        for (place, change) in set.changes.iter().enumerate() {
            let earlier = set.changes[..place].iter().rev();
            let mut earlier = earlier.filter(|earlier| earlier.after.id == change.after.id);
            let version = match earlier.next() {
                Some(earlier) => Some(earlier.after.version),
                None => self.version(tables, change.after.id)?,
            };
            if version != change.before.as_ref().map(|before| before.version) {
                return Ok(Decision::Answer(CommitOutcome::Conflict, None));
            }
            let has_quota = self.has_quota(tables, change)?;
            if has_quota && set.over_quota == OverQuota::Refuse {
                return Ok(Decision::Direct);
            }
        }
        Ok(match streams::decide(&self.streams, &self.rows, tables, set)? {
            Ok(effects) => Decision::Write(effects),
            Err(refusal) => Decision::Answer(CommitOutcome::StreamRefused(refusal), self.last_to_sync()),
        })
    }

    /// Whether a quota bounds the payload's namespace, which must be there for a new one.
    fn has_quota(&mut self, tables: &Connection, change: &Change) -> Result<bool, Fault> {
        let namespace = &change.after.namespace;
        if let Some(has_quota) = self.namespaces.get(namespace) {
            return Ok(*has_quota);
        }
        if change.before.is_none() {
            namespaces::must_exist(tables, namespace)?;
        }
        let has_quota = quotas::bounds(tables, namespace)?.is_some();
        if change.before.is_none() {
            self.namespaces.insert(namespace.clone(), has_quota);
        }
        Ok(has_quota)
    }

    fn version(&self, tables: &Connection, id: PayloadId) -> Result<Option<Version>, Fault> {
        match self.rows.get(&id) {
            Some((row, _)) => Ok(Some(row.version)),
            None => read::version(tables, id),
        }
    }

    fn enter(&mut self, entry: &Arc<Pending>) {
        for change in &entry.set.changes {
            let row = (Arc::clone(&change.after), entry.number);
            self.rows.insert(change.after.id, row);
        }
        if let Some(request) = &entry.set.request {
            let key = (request.principal.clone(), request.request_id.clone());
            let record = RequestRecord {
                appended: entry.streams.appended,
                ..request.clone()
            };
            self.requests.insert(key, (record, Arc::clone(entry)));
        }
        self.streams.enter(entry);
    }

    /// Drops the oldest entry.
    fn leave(&mut self) {
        let Some(entry) = self.pending.pop_front() else { return };
        for change in &entry.set.changes {
            let id = change.after.id;
            if self.rows.get(&id).is_some_and(|(_, number)| *number == entry.number) {
                self.rows.remove(&id);
            }
        }
        if let Some(request) = &entry.set.request {
            self.requests
                .remove(&(request.principal.clone(), request.request_id.clone()));
        }
        self.streams.leave(&entry);
    }

    fn reenter(&mut self) {
        self.rows.clear();
        self.requests.clear();
        self.streams.clear();
        let pending: Vec<_> = self.pending.iter().cloned().collect();
        pending.iter().for_each(|entry| self.enter(entry));
    }
}

impl Pending {
    /// What its caller is told.
    pub(super) fn outcome(&self) -> CommitOutcome {
        let appended = self.streams.appended;
        appended.map_or(CommitOutcome::Applied, CommitOutcome::Appended)
    }

    /// What it costs the tables, by how many sets without entries of a stream cost as much.
    fn weight(&self) -> usize {
        1 + self.set.entries() / 32
    }

    fn waits_for_sync(&self, synced: u64) -> bool {
        self.set.durability >= Durability::Host && self.number > synced
    }
}

/// Entries on their way into the tables.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Arc<Pending>>,
    /// What the tables are to note as applied.
    pub(super) mark: Option<u64>,
    /// Whether an fsync of the tables is worth it: it makes room in the file.
    pub(super) frees_a_half: bool,
}

/// While it lives, every set goes to the tables.
pub(super) struct Direct<'a>(&'a Journal);

impl Drop for Direct<'_> {
    fn drop(&mut self) {
        self.0.state.lock().direct -= 1;
    }
}
