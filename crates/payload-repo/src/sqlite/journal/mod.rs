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
mod state;
mod stream_change;
mod streams;
mod view;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use payload_core::sync::Group;
use payload_core::{ChangeSet, CommitOutcome, Durability, NodeId};

use super::fault::Fault;
use super::pool::Pool;
pub(super) use entry::{contents, decode, promises_host};
use file::JournalFile;
pub(super) use file::{Found, Mark, Unusable, lock, path};
pub(super) use state::Pending;
use state::{Decision, State};
pub(super) use streams::Tail;
use streams::{Effects, PendingStreams};

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

/// What became of a set that was offered to the journal.
pub(super) enum Offer {
    /// It is decided, and nothing was written. The answer has to wait for the entry that it follows from.
    Decided(CommitOutcome, Option<Arc<Pending>>),
    /// It is in the journal.
    Written(Written),
    /// It is for the tables.
    Direct(Box<ChangeSet>),
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
    pub(super) fn offer(&self, claim: Claim, mut set: ChangeSet, tables: &Pool) -> Result<Offer, Fault> {
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
            Ok(Some(number)) => {
                // They are in the file and in their places; nobody needs them in memory besides.
                if !mem::take(&mut set.contents).is_empty() {
                    state.file.carries();
                }
                Ok(Offer::Written(self.note(&mut state, number, set, effects)))
            }
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

    /// The last entry, if a half waits for contents to be settled.
    pub(super) fn wants_settled(&self) -> Option<u64> {
        let state = self.state.lock();
        state.file.wants_settled().then(|| state.file.last())
    }

    /// The last entry, if any contents may not be in their places.
    pub(super) fn unsettled(&self) -> Option<u64> {
        let state = self.state.lock();
        state.file.has_unsettled().then(|| state.file.last())
    }

    /// Whether this session has written anything.
    pub(super) fn has_entries(&self) -> bool {
        self.state.lock().file.has_entries()
    }

    /// The contents of all entries up to this one are in their places, on the device.
    pub(super) fn settled(&self, number: u64) {
        self.state.lock().file.settled(number);
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
}

#[cfg(test)]
impl Journal {
    /// Has every further sync fail.
    pub(super) fn break_syncs(&mut self) {
        self.file = File::open("/dev/null").expect("every system has it");
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
