//! The repository in SQLite: one file, one writer, group commit, readers that never wait.
//!
//! The log (WAL) is fsynced by every group that holds a set of class `host`, and by no other. (One exception that
//! SQLite makes: the first commit after the log has begun anew fsyncs the log's header, once in thousands of commits.)
//! The file keeps SQLite's page size of 4 KiB, which is what the page cache works in, and is not vacuumed: pages that
//! forgotten requests leave free are filled again, and moving pages around would double the writes.

mod apply;
mod checkpoint;
mod fault;
mod lineage;
mod listing;
mod migrate;
mod names;
mod namespaces;
mod pool;
mod quotas;
mod read;
mod row;
#[macro_use]
mod sql;
mod streams;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use payload_core::lineage::{Descendants, LineagePage, LineageQuery};
use payload_core::listing::{Count, Filter, ListPage, ListQuery};
use payload_core::port::{Clock, EventListener, PeerListener, Repository, Usage};
use payload_core::sync::Group;
use payload_core::{
    ChangeSet, CommitOutcome, Container, Durability, LogPage, LogPosition, LogQuery, NameMove, NameRecord, Namespace,
    NamespaceRecord, NamespaceUse, NodeId, Payload, PayloadId, PayloadName, Principal, RequestId, RequestRecord,
    Result, Span, Timestamp, Version,
};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::check;
use crate::log::Listener;
use crate::observer::CommitObserver;
use checkpoint::Checkpointer;
use fault::Fault;
use pool::Pool;
use writer::{Sync, Writer};

/// More than there are statements.
const STATEMENTS_CACHED: usize = 128;

/// What can be chosen about a [`SqliteRepository`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How long to wait for another process that is writing to the file.
    pub busy_timeout: Span,
    /// How many reads run at a time.
    pub readers: usize,
    /// How many change sets share a transaction at most.
    pub group_max: usize,
    /// At how many pages of 4 KiB the log is moved into the database.
    pub log_pages_max: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            busy_timeout: Span::from_secs(5),
            readers: 4,
            group_max: 256,
            log_pages_max: 4_096,
        }
    }
}

/// Keeps the catalog in one SQLite file.
pub struct SqliteRepository {
    // Dropped first: the checkpoint thread uses the rest.
    checkpointer: Checkpointer,
    group: Group<ChangeSet, Result<CommitOutcome, Fault>>,
    readers: Pool,
    listener: Listener,
    catalog: Arc<Catalog>,
}

/// What commits and checkpoints share.
struct Catalog {
    path: PathBuf,
    writer: Mutex<Writer>,
    /// Set by a fault after which nothing may be written.
    ended: AtomicBool,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn CommitObserver>,
}

impl SqliteRepository {
    /// Opens the file, makes or migrates it if need be, and recovers what a predecessor left.
    pub fn open(
        path: &Path,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn CommitObserver>,
    ) -> Result<Self> {
        let fault = |error: rusqlite::Error| Fault::from(error).into_error(path);
        let mut conn = writer::open(path, &options).map_err(|fault| fault.into_error(path))?;
        migrate::run(&mut conn, path, migrate::MIGRATIONS, clock.wall())?;
        // A predecessor may have stopped because an fsync failed. What the kernel still shows of its log need not be on
        // the disk, and a log that goes on after a hole ends there at the next recovery. Copying all of it into the
        // database writes and fsyncs it anew. Another process that is at work on the log does so in its own time.
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(fault)?;
        let readers = Pool::open(path, &options).map_err(fault)?;
        let catalog = Arc::new(Catalog {
            path: path.to_owned(),
            writer: Mutex::new(Writer::new(conn).map_err(fault)?),
            ended: AtomicBool::new(false),
            clock,
            observer,
        });
        let conn = connect(path, &options).map_err(fault)?;
        let checkpointer =
            Checkpointer::start(conn, options.log_pages_max, Arc::clone(&catalog) as _).map_err(|error| {
                let reason = payload_core::Reason::RepositoryUnavailable;
                payload_core::Error::new(reason, "no thread to be had for checkpoints").source(error)
            })?;
        Ok(Self {
            checkpointer,
            group: Group::new(options.group_max.max(1)),
            readers,
            listener: Listener::default(),
            catalog,
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T> {
        self.readers.read(work).map_err(|fault| {
            if fault.is_damage() {
                self.catalog.note(&fault);
            }
            self.catalog.error(fault)
        })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Writer) -> Result<T, Fault>) -> Result<T> {
        self.catalog.write(work).map_err(|fault| self.catalog.error(fault))
    }

    /// Commits a group in the thread of its leader.
    fn commit_group(&self, sets: &[ChangeSet]) -> Vec<Result<CommitOutcome, Fault>> {
        let host = sets.iter().any(|set| set.durability >= Durability::Host);
        let sync = if host { Sync::Full } else { Sync::Normal };
        let started = self.catalog.clock.now();
        let mut log_pages = 0;
        let outcomes = self.catalog.write(|writer| {
            let outcomes = writer.commit(sync, sets)?;
            log_pages = writer.log_pages();
            Ok(outcomes)
        });
        self.checkpointer.notice(log_pages);
        match outcomes {
            Ok(outcomes) => {
                let applied = outcomes
                    .iter()
                    .any(|outcome| outcome.as_ref().is_ok_and(CommitOutcome::is_applied));
                let took = self.catalog.clock.now().since(started);
                self.catalog.observer.group(sets.len(), host && applied, took);
                let applied = sets.iter().zip(&outcomes);
                let applied = applied.filter(|(_, outcome)| matches!(outcome, Ok(CommitOutcome::Applied)));
                self.listener.tell(applied.map(|(set, _)| set));
                outcomes
            }
            Err(fault) => vec![Err(fault); sets.len()],
        }
    }
}

impl Catalog {
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

    fn error(&self, fault: Fault) -> payload_core::Error {
        fault.into_error(&self.path)
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

/// Closing never writes: a log whose fsync failed must not be tried again, and another is as good as it is.
fn connect(path: &Path, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(options.busy_timeout)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(conn)
}

impl Repository for SqliteRepository {
    fn strongest(&self) -> Durability {
        Durability::Host
    }

    fn claim(&self, node: NodeId, at: Timestamp) -> Result<u64> {
        self.write(|writer| writer.claim(node, at))
    }

    fn commit(&self, set: ChangeSet) -> Result<CommitOutcome> {
        check::change_set(&set, self.strongest())?;
        self.group
            .run(set, |sets| self.commit_group(&sets))
            .map_err(|fault| self.catalog.error(fault))
    }

    fn get(&self, id: PayloadId) -> Result<Option<Payload>> {
        self.read(|conn| read::payload(conn, id))
    }

    fn list(&self, query: &ListQuery) -> Result<ListPage> {
        self.read(|conn| listing::page(conn, query))
    }

    fn count(&self, namespace: &Namespace, filter: &Filter) -> Result<Count> {
        self.read(|conn| listing::count(conn, namespace, filter))
    }

    fn log(&self, query: &LogQuery) -> Result<LogPage> {
        self.read(|conn| read::log(conn, query))?
    }

    fn log_end(&self, namespace: &Namespace) -> Result<LogPosition> {
        self.read(|conn| read::log_end(conn, namespace.as_str()))
    }

    fn on_events(&self, listener: EventListener) {
        self.listener.set(listener);
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn on_peers(&self, _node: NodeId, _listener: PeerListener) -> Result<()> {
        Ok(())
    }

    fn lineage(&self, query: &LineageQuery) -> Result<LineagePage> {
        self.read(|conn| lineage::page(conn, query))?
    }

    fn descendants(&self, root: PayloadId, limit: u32) -> Result<Descendants> {
        self.read(|conn| lineage::descendants(conn, root, limit))
    }

    fn find_request(&self, principal: &Principal, request_id: &RequestId) -> Result<Option<RequestRecord>> {
        self.read(|conn| read::request(conn, principal, request_id))
    }

    fn forget_requests(&self, before: Timestamp, limit: u32) -> Result<u32> {
        self.write(|writer| writer.forget_requests(before, limit))
    }

    fn resident(&self, node: NodeId, after: Option<PayloadId>, limit: u32) -> Result<Vec<Payload>> {
        self.read(|conn| read::resident(conn, node, after, limit))
    }

    fn deletions(&self, node: NodeId, after: Option<PayloadId>, limit: u32) -> Result<Vec<PayloadId>> {
        self.read(|conn| read::deletions(conn, node, after, limit))
    }

    fn due(&self, node: NodeId, now: Timestamp, limit: u32) -> Result<Vec<PayloadId>> {
        self.read(|conn| read::due(conn, node, now, limit))
    }

    fn next_deadline(&self, node: NodeId) -> Result<Option<Timestamp>> {
        self.read(|conn| read::next_deadline(conn, node))
    }

    fn containers_in_use(&self, containers: &[Container]) -> Result<Vec<bool>> {
        self.read(|conn| read::containers_in_use(conn, containers))
    }

    fn usage(&self, node: NodeId) -> Result<Vec<Usage>> {
        self.read(|conn| read::usage(conn, node))
    }

    fn namespace_use(&self, name: &Namespace) -> Result<NamespaceUse> {
        self.read(|conn| quotas::get(conn, name))
    }

    fn create_namespace(&self, record: &NamespaceRecord) -> Result<()> {
        self.write(|writer| writer.change_namespaces(|conn| namespaces::create(conn, record)))
    }

    fn update_namespace(&self, record: &NamespaceRecord) -> Result<()> {
        self.write(|writer| writer.change_namespaces(|conn| namespaces::update(conn, record)))
    }

    fn remove_namespace(&self, name: &Namespace, version: Version) -> Result<()> {
        check::removable(name)?;
        self.write(|writer| writer.change_namespaces(|conn| namespaces::remove(conn, name, version)))
    }

    fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceRecord>> {
        self.read(|conn| namespaces::get(conn, name))
    }

    fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<NamespaceRecord>> {
        self.read(|conn| namespaces::list(conn, after, limit))
    }

    fn name(&self, namespace: &Namespace, name: &PayloadName) -> Result<Option<NameRecord>> {
        self.read(|conn| names::get(conn, namespace, name))
    }

    fn names(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&PayloadName>,
        limit: u32,
    ) -> Result<Vec<NameRecord>> {
        self.read(|conn| names::list(conn, namespace, prefix, after, limit))
    }

    fn names_of(&self, id: PayloadId) -> Result<Vec<PayloadName>> {
        self.read(|conn| names::of(conn, id))
    }

    fn name_history(
        &self,
        namespace: &Namespace,
        name: &PayloadName,
        before: Option<Version>,
        limit: u32,
    ) -> Result<Vec<NameMove>> {
        self.read(|conn| names::history(conn, namespace, name, before, limit))
    }

    fn check(&self) -> Result<()> {
        let now = self.catalog.clock.wall();
        self.namespace(&Namespace::default())?;
        self.write(|writer| writer.prove_writable(now))
    }
}
