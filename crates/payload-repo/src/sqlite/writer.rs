//! The one connection that writes: fenced transactions, as durable as asked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use payload_core::{ChangeSet, CommitOutcome, NodeId, Timestamp};
use rusqlite::{Connection, DropBehavior, Transaction, TransactionBehavior, params};

use super::fault::Fault;
use super::{SqliteOptions, apply, connect, read, sql};

/// Waits for the disk or not. The file stays whole either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// The log is fsynced before the commit is acknowledged.
    Full,
    /// The log is handed to the kernel; a later fsync or checkpoint brings it to the disk.
    Normal,
}

/// Writes, for one claim on one node.
pub(super) struct Writer {
    conn: Connection,
    sync: Sync,
    claim: Option<(NodeId, u64)>,
    log_pages: Arc<AtomicU32>,
}

impl Writer {
    /// Over a connection that is set up and migrated.
    pub(super) fn new(mut conn: Connection) -> rusqlite::Result<Self> {
        let log_pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&log_pages);
        // Takes the place of SQLite's own hook, which would run checkpoints inside commits.
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self {
            conn,
            sync: Sync::Full,
            claim: None,
            log_pages,
        })
    }

    /// How long the log was after the last commit, in pages.
    pub(super) fn log_pages(&self) -> u32 {
        self.log_pages.load(Ordering::Relaxed)
    }

    /// Raises the epoch of a node and writes for it from now on.
    pub(super) fn claim(&mut self, node: NodeId, at: Timestamp) -> Result<u64, Fault> {
        let epoch: i64 = self.transaction(Sync::Full, |tx| {
            let mut statement = tx.prepare_cached(sql::CLAIM)?;
            Ok(statement.query_row(params![node.as_bytes(), at.as_micros()], |row| row.get(0))?)
        })?;
        let epoch = u64::try_from(epoch).map_err(|_| Fault::bad_row("epoch"))?;
        self.claim = Some((node, epoch));
        Ok(epoch)
    }

    /// Commits the sets in one transaction; each has an outcome of its own.
    pub(super) fn commit(
        &mut self,
        sync: Sync,
        sets: &[ChangeSet],
    ) -> Result<Vec<Result<CommitOutcome, Fault>>, Fault> {
        self.fenced(sync, |tx| sets.iter().map(|set| apply_one(tx, set)).collect())
    }

    /// Forgets old requests; that may be lost with the host, because forgetting again is all it takes.
    pub(super) fn forget_requests(&mut self, before: Timestamp, limit: u32) -> Result<u32, Fault> {
        self.fenced(Sync::Normal, |tx| {
            let mut statement = tx.prepare_cached(sql::FORGET_REQUESTS)?;
            let forgotten = statement.execute(params![before.as_micros(), limit])?;
            u32::try_from(forgotten).map_err(|_| Fault::bad_row("at"))
        })
    }

    /// Does something to the namespaces, for good.
    pub(super) fn change_namespaces(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.fenced(Sync::Full, |tx| work(tx))
    }

    /// Writes something: only that shows whether writing works.
    pub(super) fn prove_writable(&mut self, at: Timestamp) -> Result<(), Fault> {
        let Some((node, _)) = self.claim else {
            return self.transaction(Sync::Normal, |_| Ok(()));
        };
        self.fenced(Sync::Normal, |tx| {
            tx.prepare_cached(sql::PROVE_WRITABLE)?
                .execute(params![node.as_bytes(), at.as_micros()])?;
            Ok(())
        })
    }

    /// A transaction of whoever claimed the node last, and of nobody before.
    fn fenced<T>(
        &mut self,
        sync: Sync,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (node, epoch) = self.claim.ok_or_else(Fault::unclaimed)?;
        self.transaction(sync, |tx| {
            if read::epoch(tx, node)? != Some(epoch) {
                return Err(Fault::fenced());
            }
            work(tx)
        })
    }

    /// All of `work`, or nothing of it.
    fn transaction<T>(
        &mut self,
        sync: Sync,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.set_sync(sync)?;
        let mut tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&mut tx)?;
        match tx.commit() {
            Ok(()) => Ok(result),
            Err(error) => Err(Fault::from(error).in_commit()),
        }
    }

    fn set_sync(&mut self, sync: Sync) -> Result<(), Fault> {
        if self.sync != sync {
            self.conn.execute_batch(match sync {
                Sync::Full => "PRAGMA synchronous = FULL",
                Sync::Normal => "PRAGMA synchronous = NORMAL",
            })?;
            self.sync = sync;
        }
        Ok(())
    }
}

/// Opens the file for a [`Writer`], which makes it if need be.
pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Connection, Fault> {
    let conn = connect(path, options)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::no_shared_memory());
    }
    // FULL is what a new writer takes for set. Sorting and savepoints need no files.
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;")?;
    Ok(conn)
}

/// One set inside a savepoint. The outer error means that the transaction is gone, and with it the other sets.
fn apply_one(tx: &mut Transaction<'_>, set: &ChangeSet) -> Result<Result<CommitOutcome, Fault>, Fault> {
    let mut savepoint = tx.savepoint()?;
    savepoint.set_drop_behavior(DropBehavior::Ignore);
    let outcome = apply::change_set(&savepoint, set);
    match &outcome {
        Ok(outcome) if outcome.is_applied() => savepoint.commit()?,
        Err(fault) if fault.ends_writing() || savepoint.is_autocommit() => return outcome.map(Ok),
        Ok(_) | Err(_) => {
            savepoint.rollback()?;
            savepoint.commit()?;
        }
    }
    Ok(outcome)
}
