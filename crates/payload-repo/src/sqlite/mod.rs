//! The repository in SQLite: one file, a journal in front of it, one writer, group commit, readers that wait for
//! nobody but whoever brings the tables up to date.
//!
//! [`catalog`] says how the journal and the tables work together. The log (WAL) is fsynced by every group that holds a
//! set of class `host`, and by no other. (One exception that
//! SQLite makes: the first commit after the log has begun anew fsyncs the log's header, once in thousands of commits.)
//! The file keeps SQLite's page size of 4 KiB, which is what the page cache works in, and is not vacuumed: pages that
//! forgotten requests leave free are filled again, and moving pages around would double the writes.

mod applier;
mod apply;
mod catalog;
mod checkpoint;
mod fault;
mod journal;
mod lineage;
mod listing;
mod metadata;
mod migrate;
mod names;
mod namespaces;
mod pool;
mod quotas;
mod read;
mod retention;
mod row;
#[macro_use]
mod sql;
mod streams;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use payload_core::lineage::{Descendants, LineagePage, LineageQuery};
use payload_core::listing::{Count, Filter, ListPage, ListQuery};
use payload_core::port::{Clock, EventListener, PeerListener, Repository, Settle, Usage};
use payload_core::{
    Carried, ChangeSet, CommitOutcome, Container, Durability, Error, LogPage, LogPosition, LogQuery, MetadataRevision,
    NameMove, NameRecord, Namespace, NamespaceRecord, NamespaceUse, NodeId, Payload, PayloadId, PayloadName, Principal,
    Reason, RequestId, RequestRecord, Result, Revision, RevisionInfo, Span, Timestamp, Version,
};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::check;
use crate::log::Listener;
use crate::observer::CommitObserver;
use applier::Applier;
use catalog::Catalog;
use checkpoint::Checkpointer;
use fault::Fault;
use journal::{Claim, Offer};
use writer::Writer;

/// More than there are statements.
const STATEMENTS_CACHED: usize = 128;

/// Puts contents in their places on the device, where those are still there.
pub type PutBack<'a> = &'a dyn Fn(&[Carried]) -> Result<()>;

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
    /// How many bytes each of the two halves of a new journal has. When one is full, the tables are brought up to date
    /// and synced behind the commits' backs.
    pub journal_half: u64,
    /// How many bytes a set may carry through the journal. Writing much more twice would cost more than a second sync does.
    pub carried_max: usize,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            busy_timeout: Span::from_secs(5),
            readers: 4,
            group_max: 256,
            log_pages_max: 4_096,
            journal_half: 4 << 20,
            carried_max: 16 << 10,
        }
    }
}

/// Keeps the catalog in one SQLite file, and what its tables do not hold yet in a journal beside it. One process at a
/// time has both.
pub struct SqliteRepository {
    shared: Arc<Shared>,
    /// What sets of this handle may carry: nothing before somebody settles it.
    carried_max: AtomicUsize,
    claim: Mutex<Option<Claim>>,
    listener: Listener,
}

/// The threads end in this order: what is pending goes into the log, and the log into the file.
struct Shared {
    applier: Applier,
    _checkpointer: Checkpointer,
    catalog: Arc<Catalog>,
}

impl SqliteRepository {
    /// Opens the file, makes or migrates it if need be, and recovers what a predecessor left. Fails with
    /// `REPOSITORY_IN_USE` while another process has it. If commits carried contents that may not be in their places,
    /// `put_back` has to put them there, and if it fails so does this.
    pub fn open(
        path: &Path,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn CommitObserver>,
        put_back: PutBack<'_>,
    ) -> Result<Self> {
        let catalog = Arc::new(Catalog::open(path, &options, clock, observer, put_back)?);
        let conn = connect(path, &options).map_err(|error| catalog.error(error.into()))?;
        let no_thread =
            |error| Error::new(Reason::RepositoryUnavailable, "no thread to be had for the catalog").source(error);
        let checkpointer = Checkpointer::start(conn, catalog.log_watch(), Arc::clone(&catalog) as _);
        let checkpointer = checkpointer.map_err(no_thread)?;
        let applier = Applier::start(Arc::clone(&catalog) as _);
        Ok(Self {
            shared: Arc::new(Shared {
                applier: applier.map_err(no_thread)?,
                _checkpointer: checkpointer,
                catalog,
            }),
            carried_max: AtomicUsize::new(0),
            claim: Mutex::default(),
            listener: Listener::default(),
        })
    }

    /// One more handle on the same catalog, with a claim of its own.
    pub fn another(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            carried_max: AtomicUsize::new(0),
            claim: Mutex::default(),
            listener: Listener::default(),
        }
    }

    fn claimed(&self) -> Result<Claim> {
        self.claim.lock().ok_or_else(check::unclaimed)
    }

    /// Reads the tables, once they hold everything that was acknowledged.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T> {
        let catalog = &self.shared.catalog;
        catalog.settle().map_err(|fault| catalog.error(fault))?;
        self.read_as_it_is(work)
    }

    /// Reads rows that no pending entry changes.
    fn read_as_it_is<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T> {
        let catalog = &self.shared.catalog;
        catalog.read(work).map_err(|fault| catalog.error(fault))
    }

    fn write<T>(&self, work: impl FnOnce(&mut Writer, Claim) -> Result<T, Fault>) -> Result<T> {
        let (catalog, claim) = (&self.shared.catalog, self.claimed()?);
        catalog
            .write_directly(|writer| work(writer, claim))
            .map_err(|fault| catalog.error(fault))
    }

    /// Through the journal if the set is one for it, and else in a transaction with whoever comes at the same time.
    fn commit_either_way(&self, set: ChangeSet) -> Result<CommitOutcome> {
        let (catalog, claim) = (&self.shared.catalog, self.claimed()?);
        let outcome = match catalog.offer(claim, set) {
            Ok(Offer::Decided(outcome, None)) => Ok(outcome),
            Ok(Offer::Decided(outcome, Some(from))) => catalog.wait_for(&from).map(|()| outcome),
            Ok(Offer::Written(written)) => {
                self.shared.applier.notice(written.pending);
                catalog.make_durable(&written.entry).map(|()| {
                    self.listener.tell([&written.entry.set]);
                    written.entry.outcome()
                })
            }
            Ok(Offer::Direct(set)) => catalog.commit_directly(claim, *set, &self.listener),
            Err(fault) => Err(fault),
        };
        outcome.map_err(|fault| catalog.error(fault))
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
        let catalog = &self.shared.catalog;
        let epoch = catalog.claim(node, at).map_err(|fault| catalog.error(fault))?;
        *self.claim.lock() = Some((node, epoch));
        Ok(epoch)
    }

    fn commit(&self, set: ChangeSet) -> Result<CommitOutcome> {
        check::change_set(&set, self.strongest(), self.carried_max.load(Ordering::Relaxed))?;
        self.commit_either_way(set)
    }

    fn carry(&self, settle: Settle) -> usize {
        let max = self.shared.catalog.carry(settle);
        self.carried_max.store(max, Ordering::Relaxed);
        max
    }

    fn get(&self, id: PayloadId) -> Result<Option<Payload>> {
        match self.shared.catalog.journal.row(id) {
            Some(row) => Ok(Some(row)),
            None => self.read_as_it_is(|conn| read::payload(conn, id)),
        }
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

    fn metadata(&self, id: PayloadId, revision: Option<Revision>) -> Result<Option<MetadataRevision>> {
        self.read(|conn| metadata::get(conn, id, revision))
    }

    fn metadata_history(&self, id: PayloadId, after: Option<Revision>, limit: u32) -> Result<Vec<RevisionInfo>> {
        self.read(|conn| metadata::history(conn, id, after, limit))
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
        match self.shared.catalog.journal.request(principal, request_id) {
            Some((record, from)) => {
                let catalog = &self.shared.catalog;
                let waited = catalog.wait_for(&from).map_err(|fault| catalog.error(fault));
                waited.map(|()| Some(record))
            }
            None => self.read_as_it_is(|conn| read::request(conn, principal, request_id)),
        }
    }

    fn forget_requests(&self, before: Timestamp, limit: u32) -> Result<u32> {
        self.write(|writer, claim| writer.forget_requests(claim, before, limit))
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

    fn payloads_in(&self, container: Container, after: Option<PayloadId>, limit: u32) -> Result<Vec<(PayloadId, u64)>> {
        self.read(|conn| read::payloads_in(conn, &container, after, limit))
    }

    fn usage(&self, node: NodeId) -> Result<Vec<Usage>> {
        self.read(|conn| read::usage(conn, node))
    }

    fn namespace_use(&self, name: &Namespace) -> Result<NamespaceUse> {
        self.read(|conn| quotas::get(conn, name))
    }

    fn create_namespace(&self, record: &NamespaceRecord) -> Result<()> {
        self.write(|writer, claim| writer.change_namespaces(claim, |conn| namespaces::create(conn, record)))
    }

    fn update_namespace(&self, record: &NamespaceRecord) -> Result<()> {
        self.write(|writer, claim| writer.change_namespaces(claim, |conn| namespaces::update(conn, record)))
    }

    fn remove_namespace(&self, name: &Namespace, version: Version) -> Result<()> {
        check::removable(name)?;
        self.write(|writer, claim| writer.change_namespaces(claim, |conn| namespaces::remove(conn, name, version)))
    }

    fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceRecord>> {
        self.read_as_it_is(|conn| namespaces::get(conn, name))
    }

    fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<NamespaceRecord>> {
        self.read_as_it_is(|conn| namespaces::list(conn, after, limit))
    }

    fn name(&self, namespace: &Namespace, name: &PayloadName) -> Result<Option<NameRecord>> {
        self.read_as_it_is(|conn| names::get(conn, namespace, name))
    }

    fn names(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&PayloadName>,
        limit: u32,
    ) -> Result<Vec<NameRecord>> {
        self.read_as_it_is(|conn| names::list(conn, namespace, prefix, after, limit))
    }

    fn names_of(&self, id: PayloadId) -> Result<Vec<PayloadName>> {
        self.read_as_it_is(|conn| names::of(conn, id))
    }

    fn name_history(
        &self,
        namespace: &Namespace,
        name: &PayloadName,
        before: Option<Version>,
        limit: u32,
    ) -> Result<Vec<NameMove>> {
        self.read_as_it_is(|conn| names::history(conn, namespace, name, before, limit))
    }

    fn check(&self) -> Result<()> {
        let now = self.shared.catalog.clock.wall();
        self.namespace(&Namespace::default())?;
        match self.claimed() {
            Ok(_) => self.write(|writer, claim| writer.prove_writable(claim, now)),
            Err(_) => Ok(()),
        }
    }
}
