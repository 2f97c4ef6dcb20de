//! The tables and the journal together: what is acknowledged is in one of them, and readers see both.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use payload_core::port::{Clock, Settle};
use payload_core::sync::Group;
use payload_core::{ChangeSet, CommitOutcome, Durability, Instant, NodeId, Result, Span, Timestamp};
use rusqlite::Connection;

use super::applier::{Progress, Work};
use super::checkpoint::{self, LogWatch};
use super::fault::Fault;
use super::journal::{self, Claim, Journal, Offer, Pending};
use super::pool::Pool;
use super::writer::{self, Sync, Writer};
use super::{PutBack, SqliteOptions, migrate};
use crate::log::Listener;
use crate::observer::CommitObserver;

/// How much the applier takes at once: those who want to write to the tables wait for so many sets at most, or for fewer
/// with many entries of streams.
const APPLY_MAX: usize = 256;

/// Less than this would not be worth a file.
const JOURNAL_HALF_MIN: u64 = 4 << 10;

/// How long contents wait at most until they are brought to their places on the device: not so long that the kernel does it
/// before, fails, and forgets the pages.
const SETTLE_WITHIN: Span = Span::from_secs(1);

type Outcomes = Vec<Result<CommitOutcome, Fault>>;

/// What a transaction did.
struct Transacted {
    /// Of the sets, in order.
    outcomes: Outcomes,
    /// How many pending entries went along.
    entries: usize,
}

/// What commits, reads and the threads behind them share.
pub(super) struct Catalog {
    path: PathBuf,
    writer: Mutex<Writer>,
    readers: Pool,
    pub(super) journal: Journal,
    /// What brings carried contents to the device, for each handle.
    homes: RwLock<Vec<Settle>>,
    carried_max: usize,
    /// Since when there have been contents that nobody has settled.
    unsettled_since: Mutex<Option<Instant>>,
    group: Group<(Claim, ChangeSet), Result<CommitOutcome, Fault>>,
    /// Set by a fault after which nothing may be written.
    ended: AtomicBool,
    log_watch: Arc<LogWatch>,
    pub(super) clock: Arc<dyn Clock>,
    observer: Arc<dyn CommitObserver>,
}

impl Catalog {
    /// Opens the file and its journal, and brings the tables up to date.
    pub(super) fn open(
        path: &Path,
        options: &SqliteOptions,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn CommitObserver>,
        put_back: PutBack<'_>,
    ) -> Result<Self> {
        let fault = |fault: Fault| fault.into_error(path);
        let beside = journal::path(path);
        let lock = journal::lock(&beside).map_err(|unusable| fault(unusable.into()))?;
        let mut conn = writer::open(path, options).map_err(fault)?;
        migrate::run(&mut conn, path, migrate::MIGRATIONS, clock.wall())?;
        // A predecessor may have stopped because an fsync failed. What the kernel still shows of its log need not be on
        // the disk, and a log that goes on after a hole ends there at the next recovery. Copying all of it into the
        // database writes and fsyncs it anew.
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|error| fault(error.into()))?;
        let mut writer = Writer::new(conn).map_err(|error| fault(error.into()))?;
        let mark = writer.mark().map_err(fault)?;
        let (journal, next, found) = Journal::open(lock, &beside, mark, options.journal_half.max(JOURNAL_HALF_MIN))
            .map_err(|unusable| fault(unusable.into()))?;
        let left = writer.recover(&found, next, put_back).map_err(fault)? + found.cut_off;
        if left > 0 {
            observer.warning(&format!(
                "{left} commits of class volatile did not outlive the host: what came before them in {} is missing",
                beside.display()
            ));
        }
        Ok(Self {
            readers: Pool::open(path, options).map_err(|error| fault(error.into()))?,
            path: path.to_owned(),
            writer: Mutex::new(writer),
            journal,
            homes: RwLock::default(),
            carried_max: options.carried_max,
            unsettled_since: Mutex::default(),
            group: Group::new(options.group_max.max(1)),
            ended: AtomicBool::new(false),
            log_watch: Arc::new(LogWatch::new(options.log_pages_max)),
            clock,
            observer,
        })
    }

    pub(super) fn log_watch(&self) -> Arc<LogWatch> {
        Arc::clone(&self.log_watch)
    }

    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        self.readers.read(work).inspect_err(|fault| {
            if fault.is_damage() {
                self.note(fault);
            }
        })
    }

    /// Lets the journal decide.
    pub(super) fn offer(&self, claim: Claim, set: ChangeSet) -> Result<Offer, Fault> {
        if self.ended.load(Ordering::Relaxed) {
            return Err(Fault::ended());
        }
        let offered = self.journal.offer(claim, set, &self.readers);
        offered.inspect_err(|fault| self.note(fault))
    }

    /// Returns when an entry that was just written is as durable as it asks for.
    pub(super) fn make_durable(&self, entry: &Pending) -> Result<(), Fault> {
        let started = self.clock.now();
        let synced = entry.set.durability >= Durability::Host;
        let done = |count| self.observer.group(count, synced, self.clock.now().since(started));
        self.journal.sync(entry, done).inspect_err(|fault| self.note(fault))
    }

    /// Returns when an answer that follows from an entry may be given.
    pub(super) fn wait_for(&self, entry: &Pending) -> Result<(), Fault> {
        self.journal.sync(entry, |_| ()).inspect_err(|fault| self.note(fault))
    }

    /// Commits a set to the tables, in a group with all others that come at the same time.
    pub(super) fn commit_directly(
        &self,
        claim: Claim,
        set: ChangeSet,
        listener: &Listener,
    ) -> Result<CommitOutcome, Fault> {
        if !set.contents.is_empty() {
            self.settle_contents()?;
        }
        let _direct = self.journal.direct();
        self.group.run((claim, set), |sets| self.commit_group(&sets, listener))
    }

    /// Commits a group in the thread of its leader.
    fn commit_group(&self, sets: &[(Claim, ChangeSet)], listener: &Listener) -> Outcomes {
        let host = sets.iter().any(|(_, set)| set.durability >= Durability::Host);
        let sync = if host { Sync::Full } else { Sync::Normal };
        let started = self.clock.now();
        let outcomes = self
            .journal
            .sync_all()
            .and_then(|()| self.transact(sync, usize::MAX, sets));
        match outcomes {
            Ok(Transacted { outcomes, .. }) => {
                let took = self.clock.now().since(started);
                let synced = host && outcomes.iter().any(is_applied);
                self.observer.group(sets.len(), synced, took);
                let applied = sets.iter().zip(&outcomes).filter(|(_, outcome)| is_applied(outcome));
                listener.tell(applied.map(|((_, set), _)| set));
                outcomes
            }
            Err(fault) => {
                self.note(&fault);
                vec![Err(fault); sets.len()]
            }
        }
    }

    /// Brings everything that was acknowledged before this call into the tables.
    pub(super) fn settle(&self) -> Result<(), Fault> {
        if self.journal.pending() == 0 {
            return Ok(());
        }
        self.journal.sync_all().inspect_err(|fault| self.note(fault))?;
        self.transact(Sync::Normal, usize::MAX, &[]).map(drop)
    }

    /// One transaction with at most `max` pending entries and then `sets`.
    fn transact(&self, sync: Sync, max: usize, sets: &[(Claim, ChangeSet)]) -> Result<Transacted, Fault> {
        let started = self.clock.now();
        let (mut log_pages, mut entries) = (0, 0);
        if let Some(last) = self.journal.wants_settled() {
            self.settle_up_to(last)?;
        }
        let outcomes = self.write(|writer| {
            let batch = self.journal.batch(max)?;
            if batch.mark.is_none() && sets.is_empty() {
                return Ok(Vec::new());
            }
            let sync = if batch.frees_a_half { Sync::Full } else { sync };
            let outcomes = writer
                .commit(sync, &batch, sets)
                .inspect_err(|_| self.journal.stalled())?;
            let changed = outcomes.iter().any(is_applied);
            let synced = sync == Sync::Full && (changed || batch.mark.is_some());
            self.journal.applied(&batch, synced);
            if changed && !synced {
                self.journal.tables_are_ahead();
            }
            (log_pages, entries) = (writer.log_pages(), batch.entries.len());
            Ok(outcomes)
        });
        self.log_watch.notice(log_pages);
        if entries > 0 {
            self.observer.applied(entries, self.clock.now().since(started));
        }
        outcomes.map(|outcomes| Transacted { outcomes, entries })
    }

    /// Has commits carry contents, which `settle` brings to the device; how many bytes each.
    pub(super) fn carry(&self, settle: Settle) -> usize {
        self.homes.write().push(settle);
        self.carried_max
    }

    /// Returns when all contents that were carried before this call are on the device.
    fn settle_contents(&self) -> Result<(), Fault> {
        let homes = self.homes.read().clone();
        let settled = homes.iter().try_for_each(|settle| settle()).map_err(Fault::unsettled);
        settled.inspect_err(|fault| self.note(fault))
    }

    /// The same for the contents of entries up to this one, which the journal may forget then.
    fn settle_up_to(&self, last: u64) -> Result<(), Fault> {
        self.settle_contents()?;
        self.journal.settled(last);
        Ok(())
    }

    /// Claims a node: earlier claims of it write nothing any more.
    pub(super) fn claim(&self, node: NodeId, at: Timestamp) -> Result<u64, Fault> {
        self.write_directly(|writer| {
            let epoch = writer.claim(node, at)?;
            self.journal.claimed((node, epoch));
            Ok(epoch)
        })
    }

    /// Writes to the tables, after everything that is pending and while nothing is added to it.
    pub(super) fn write_directly<T>(&self, work: impl FnOnce(&mut Writer) -> Result<T, Fault>) -> Result<T, Fault> {
        let _direct = self.journal.direct();
        self.settle()?;
        self.journal.forget_namespaces();
        self.write(|writer| {
            let result = work(writer);
            if !writer.is_synced() {
                self.journal.tables_are_ahead();
            }
            result
        })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Writer) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut writer = self.writer.lock();
        if self.ended.load(Ordering::Relaxed) {
            return Err(Fault::ended());
        }
        // Noted before the lock is given back: nobody may come in between.
        work(&mut writer).inspect_err(|fault| self.note(fault))
    }

    /// Ends all writing if the fault demands it.
    fn note(&self, fault: &Fault) {
        if fault.ends_writing() && !self.ended.swap(true, Ordering::Relaxed) {
            self.observer.fatal(&self.error(fault.clone()));
        }
    }

    pub(super) fn error(&self, fault: Fault) -> payload_core::Error {
        fault.into_error(&self.path)
    }
}

fn is_applied(outcome: &Result<CommitOutcome, Fault>) -> bool {
    outcome.as_ref().is_ok_and(CommitOutcome::is_applied)
}

impl Work for Catalog {
    fn apply_some(&self) -> Progress {
        match self.transact(Sync::Normal, APPLY_MAX, &[]) {
            Ok(_) if self.journal.pending() == 0 => Progress::Done,
            Ok(applied) if applied.entries == 0 => Progress::Waiting,
            Ok(_) => Progress::More,
            Err(_) if checkpoint::Host::has_ended(self) => Progress::Ended,
            Err(_) => Progress::Failed,
        }
    }

    fn settle_some(&self) -> Option<Span> {
        let mut since = self.unsettled_since.lock();
        let Some(last) = self.journal.unsettled() else {
            *since = None;
            return None;
        };
        let now = self.clock.now();
        let waited = now.since(*since.get_or_insert(now));
        if waited < SETTLE_WITHIN {
            return Some(SETTLE_WITHIN.saturating_sub(waited));
        }
        *since = None;
        // A failure has been noted, and ends all writing.
        self.settle_up_to(last).ok()?;
        self.journal.unsettled().map(|_| SETTLE_WITHIN)
    }

    /// Leaves nothing in the journal that the next opening would have to look at.
    fn finish(&self) {
        let settled = self.journal.unsettled().map_or(Ok(()), |last| self.settle_up_to(last));
        if settled.is_ok() && self.journal.has_entries() {
            // A failure has been noted; the entries stay valid.
            let _noted = self.write(Writer::end_session);
        }
    }
}

impl checkpoint::Host for Catalog {
    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn without_commits(&self, work: &mut dyn FnMut()) {
        let _writer = self.writer.lock();
        if !self.has_ended() {
            work();
        }
    }

    fn failed(&self, fault: Fault) {
        self.note(&fault);
    }
}
