//! The one connection that writes: fenced transactions, as durable as asked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use payload_core::{Carried, ChangeSet, CommitOutcome, NodeId, Timestamp};
use rusqlite::{Connection, DropBehavior, MAIN_DB, Transaction, TransactionBehavior, params};

use super::fault::Fault;
use super::journal::{self, Batch, Claim, Found, Mark, Pending};
use super::row::int;
use super::{PutBack, SqliteOptions, apply, connect, read, sql, streams};

/// Waits for the disk or not. The file stays whole either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// The log is fsynced before the commit is acknowledged.
    Full,
    /// The log is handed to the kernel; a later fsync or checkpoint brings it to the disk.
    Normal,
}

/// Writes.
pub(super) struct Writer {
    conn: Connection,
    sync: Sync,
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
            log_pages,
        })
    }

    /// How long the log was after the last commit, in pages.
    pub(super) fn log_pages(&self) -> u32 {
        self.log_pages.load(Ordering::Relaxed)
    }

    /// Whether the last transaction waited for the disk, and with it everything before.
    pub(super) fn is_synced(&self) -> bool {
        self.sync == Sync::Full
    }

    /// Raises the epoch of a node.
    pub(super) fn claim(&mut self, node: NodeId, at: Timestamp) -> Result<u64, Fault> {
        let epoch: i64 = self.transaction(Sync::Full, |tx| {
            let mut statement = tx.prepare_cached(sql::CLAIM)?;
            Ok(statement.query_row(params![node.as_bytes(), at.as_micros()], |row| row.get(0))?)
        })?;
        u64::try_from(epoch).map_err(|_| Fault::bad_row("epoch"))
    }

    /// Commits what is pending and then the sets, in one transaction; each set has an outcome of its own.
    pub(super) fn commit(
        &mut self,
        sync: Sync,
        pending: &Batch,
        sets: &[(Claim, ChangeSet)],
    ) -> Result<Vec<Result<CommitOutcome, Fault>>, Fault> {
        self.transaction(sync, |tx| {
            for entry in &pending.entries {
                apply_decided(tx, entry)?;
            }
            streams::write(tx, pending.entries.iter().map(|entry| &entry.streams.layer))?;
            if let Some(mark) = pending.mark {
                tx.prepare_cached(sql::NOTE_APPLIED)?.execute([int(mark)])?;
            }
            let outcomes = sets.iter().map(|(claim, set)| match is_current(tx, *claim)? {
                true => apply_one(tx, set),
                false => Ok(Err(Fault::fenced())),
            });
            let outcomes = outcomes.collect::<Result<Vec<_>, Fault>>()?;
            let applied =
                |outcome: &Result<CommitOutcome, Fault>| outcome.as_ref().is_ok_and(CommitOutcome::is_applied);
            if sync == Sync::Full && (pending.mark.is_some() || outcomes.iter().any(applied)) {
                // SQLite syncs nothing if nothing was changed, and what others changed before would stay unsynced.
                tx.prepare_cached(sql::NOTE_SYNC)?.execute([])?;
            }
            Ok(outcomes)
        })
    }

    /// How far the tables are.
    pub(super) fn mark(&self) -> Result<Mark, Fault> {
        let mark = self.conn.query_row(sql::MARK, [], |found| {
            let numbers: [i64; 3] = [found.get(1)?, found.get(2)?, found.get(3)?];
            Ok((found.get(0)?, numbers))
        });
        let (catalog, [session, applied, next_session]) = mark?;
        let number = |value| u64::try_from(value).map_err(|_| Fault::bad_row("journal"));
        Ok(Mark {
            catalog,
            session: number(session)?,
            applied: number(applied)?,
            next_session: number(next_session)?,
        })
    }

    /// Brings entries that an earlier session left into the tables, has what they and the ones before them carry put back as
    /// far as a row still names its place, and begins the next session. Returns how many
    /// entries do not continue what the tables hold: a crash of the host took what came before them, and so they were
    /// never acknowledged as surviving one.
    pub(super) fn recover(&mut self, found: &Found, next: Mark, put_back: PutBack<'_>) -> Result<usize, Fault> {
        let entries = &found.entries;
        self.transaction(Sync::Full, |tx| {
            let mut applied = 0;
            for (_, content) in entries {
                let Some(set) = journal::decode(content, |id| read::payload(tx, id))? else {
                    break;
                };
                if !apply_one(tx, &set)??.is_applied() {
                    break;
                }
                applied += 1;
            }
            let carried = carried_by(tx, found)?;
            if !carried.is_empty() {
                put_back(&carried).map_err(Fault::unsettled)?;
            }
            tx.prepare_cached(sql::BEGIN_SESSION)?
                .execute([int(next.session), int(next.applied)])?;
            // What a crash of the host takes comes before everything that it may take: a set that promises to outlive it is
            // only ever written behind what is on the disk.
            if entries[applied..]
                .iter()
                .any(|(_, content)| journal::promises_host(content))
            {
                return Err(Fault::bad_row("an entry of the journal that continues no row"));
            }
            Ok(entries.len() - applied)
        })
    }

    /// Has the next opening take nothing from the journal. The tables hold all of it, and contents are in their places.
    pub(super) fn end_session(&mut self) -> Result<(), Fault> {
        self.transaction(Sync::Full, |tx| {
            tx.prepare_cached(sql::END_SESSION)?.execute([])?;
            Ok(())
        })
    }

    /// Forgets old requests; that may be lost with the host, because forgetting again is all it takes.
    pub(super) fn forget_requests(&mut self, claim: Claim, before: Timestamp, limit: u32) -> Result<u32, Fault> {
        self.fenced(claim, Sync::Normal, |tx| {
            let mut statement = tx.prepare_cached(sql::FORGET_REQUESTS)?;
            let forgotten = statement.execute(params![before.as_micros(), limit])?;
            u32::try_from(forgotten).map_err(|_| Fault::bad_row("at"))
        })
    }

    /// Removes a part of the history; what a crash of the host brings back is removed again.
    pub(super) fn remove_history<T>(
        &mut self,
        claim: Claim,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.fenced(claim, Sync::Normal, |tx| work(tx))
    }

    /// Does something to the namespaces, for good.
    pub(super) fn change_namespaces(
        &mut self,
        claim: Claim,
        work: impl FnOnce(&Connection) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.fenced(claim, Sync::Full, |tx| work(tx))
    }

    /// Writes something: only that shows whether writing works.
    pub(super) fn prove_writable(&mut self, claim: Claim, at: Timestamp) -> Result<(), Fault> {
        self.fenced(claim, Sync::Normal, |tx| {
            tx.prepare_cached(sql::PROVE_WRITABLE)?
                .execute(params![claim.0.as_bytes(), at.as_micros()])?;
            Ok(())
        })
    }

    /// A transaction of whoever claimed the node last, and of nobody before.
    fn fenced<T>(
        &mut self,
        claim: Claim,
        sync: Sync,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.transaction(sync, |tx| match is_current(tx, claim)? {
            true => work(tx),
            false => Err(Fault::fenced()),
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

/// What entries carry, as far as a row names its place. The tables hold the rows of all of them.
fn carried_by(tables: &Connection, found: &Found) -> Result<Vec<Carried>, Fault> {
    let later = found.entries.iter().map(|(_, bytes)| bytes);
    let mut carried = Vec::new();
    for bytes in found.earlier.iter().chain(later) {
        for content in journal::contents(bytes)? {
            if read::is_place_of(tables, content.payload, &content.location)? {
                carried.push(content);
            }
        }
    }
    Ok(carried)
}

/// Opens the file for a [`Writer`], which makes it if need be.
pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Connection, Fault> {
    let conn = connect(path, options)?;
    if conn.is_readonly(MAIN_DB)? {
        return Err(Fault::read_only());
    }
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::no_shared_memory());
    }
    // FULL is what a new writer takes for set. Sorting and savepoints need no files.
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;")?;
    Ok(conn)
}

fn is_current(tx: &Transaction<'_>, (node, epoch): Claim) -> Result<bool, Fault> {
    Ok(read::epoch(tx, node)? == Some(epoch))
}

/// A set that the journal has decided, but for its streams: anything but success means that the tables are not what it was
/// decided by.
fn apply_decided(tx: &Transaction<'_>, entry: &Pending) -> Result<(), Fault> {
    match apply::payloads(tx, &entry.set, entry.streams.appended)? {
        None => Ok(()),
        Some(_) => Err(Fault::bad_row("a row of the journal")),
    }
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
