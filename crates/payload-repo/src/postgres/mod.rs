//! The repository in PostgreSQL: one database for several servers, group commit in pipelined batches.
//!
//! Each server has one connection that writes, a few that read, and writes for one node at a time. A batch is one
//! transaction at READ COMMITTED that locks its rows in the order of their keys before it looks at them, so what it
//! decides is true when it commits, and two batches never wait for each other in a circle (ADR 19).

mod apply;
mod begin;
mod connect;
mod database;
mod decide;
mod fault;
mod feed;
mod lineage;
mod listing;
mod metadata;
mod migrate;
mod names;
mod namespaces;
mod options;
mod outright;
mod overlay;
mod pool;
mod quotas;
mod read;
mod retention;
mod row;
mod safety;
#[macro_use]
mod sql;
mod streams;
mod tls;
mod writer;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use payload_core::lineage::{Descendants, LineagePage, LineageQuery};
use payload_core::listing::{Count, Filter, ListPage, ListQuery};
use payload_core::port::{Clock, EventListener, PeerListener, Repository, Usage};
use payload_core::sync::Group;
use payload_core::{
    ChangeSet, CommitOutcome, Container, Durability, LogPage, LogPosition, LogQuery, MetadataRevision, NameMove,
    NameRecord, Namespace, NamespaceRecord, NamespaceUse, NodeId, Payload, PayloadId, PayloadName, Principal,
    RequestId, RequestRecord, Result, Revision, RevisionInfo, Timestamp, Version,
};

use crate::check;
use crate::log::{Listener, logs_of};
use crate::observer::CommitObserver;
use begin::{Locks, Sync};
use connect::Session;
pub use database::Database;
use fault::Fault;
use feed::{Ears, Feed};
use options::Target;
pub use options::{PostgresOptions, Rivals, Settings};
use pool::Pool;
use writer::Writer;

/// Keeps the catalog in a PostgreSQL database.
pub struct PostgresRepository {
    target: Arc<Target>,
    group: Group<ChangeSet, Result<CommitOutcome, Fault>>,
    writer: Mutex<Writer>,
    readers: Pool,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn CommitObserver>,
    listener: Arc<Listener>,
    /// There once somebody wants to hear of other servers.
    feed: RwLock<Option<Feed>>,
}

impl PostgresRepository {
    /// Connects to a database, looks whether it can be trusted, and makes or migrates its tables if need be.
    pub fn open(
        database: &Database,
        options: PostgresOptions,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn CommitObserver>,
    ) -> Result<Self> {
        let target = Arc::new(Target::new(database, options));
        if let Some(warning) = safety::check(&target)? {
            observer.warning(&warning);
        }
        migrate::run(&target, migrate::MIGRATIONS, clock.wall())?;
        let readers =
            Pool::open(Arc::clone(&target), Arc::clone(&observer)).map_err(|fault| fault.into_error(target.name()))?;
        Ok(Self {
            group: Group::new(options.group_max.max(1)),
            writer: Mutex::new(Writer::new(Arc::clone(&target), Arc::clone(&observer))),
            readers,
            target,
            clock,
            observer,
            listener: Arc::default(),
            feed: RwLock::default(),
        })
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write the closure in place")]
    fn read<T>(&self, work: impl AsyncFn(&Session) -> Result<T, Fault>) -> Result<T> {
        let result = self.readers.read(&|conn| conn.run(&work));
        result.map_err(|fault| self.error(fault))
    }

    fn write<T>(&self, work: impl FnOnce(&mut Writer) -> Result<T, Fault>) -> Result<T> {
        work(&mut self.writer.lock()).map_err(|fault| self.error(fault))
    }

    fn error(&self, fault: Fault) -> payload_core::Error {
        fault.into_error(self.target.name())
    }

    /// Commits a group in the thread of its leader.
    fn commit_group(&self, sets: &[ChangeSet]) -> Vec<Result<CommitOutcome, Fault>> {
        let host = sets.iter().any(|set| set.durability >= Durability::Host);
        let sync = if host { Sync::On } else { Sync::Off };
        let started = self.clock.now();
        let outcomes = self.writer.lock().commit(sync, sets);
        if outcomes.iter().any(Result::is_ok) {
            let applied =
                |outcome: &Result<CommitOutcome, Fault>| outcome.as_ref().is_ok_and(CommitOutcome::is_applied);
            let synced = host && outcomes.iter().any(applied);
            let took = self.clock.now().since(started);
            self.observer.group(sets.len(), synced, took);
            let applied = sets.iter().zip(&outcomes).filter(|(_, outcome)| applied(outcome));
            let applied: Vec<&ChangeSet> = applied.map(|(set, _)| set).collect();
            let namespaces = logs_of(applied.iter().copied());
            namespaces.iter().for_each(|namespace| self.listener.tell_of(namespace));
            if let Some(feed) = &*self.feed.read() {
                let appended = outcomes.iter().flatten().filter_map(CommitOutcome::appended);
                let appended = appended.map(|place| place.stream);
                let moved = applied.into_iter().flat_map(streams::moved);
                feed.tell(namespaces.into_iter(), appended.chain(moved));
            }
        }
        outcomes
    }
}

impl Repository for PostgresRepository {
    fn strongest(&self) -> Durability {
        Durability::Host
    }

    fn claim(&self, node: NodeId, at: Timestamp) -> Result<u64> {
        self.write(|writer| writer.claim(node, at))
    }

    fn commit(&self, set: ChangeSet) -> Result<CommitOutcome> {
        check::change_set(&set, self.strongest(), 0)?;
        self.group
            .run(set, |sets| self.commit_group(&sets))
            .map_err(|fault| self.error(fault))
    }

    fn get(&self, id: PayloadId) -> Result<Option<Payload>> {
        self.read(async |session| read::payload(session, id).await)
    }

    fn list(&self, query: &ListQuery) -> Result<ListPage> {
        let page = self.readers.snapshot(|conn| listing::page(conn, query));
        page.map_err(|fault| self.error(fault))
    }

    fn count(&self, namespace: &Namespace, filter: &Filter) -> Result<Count> {
        let count = self.readers.snapshot(|conn| listing::count(conn, namespace, filter));
        count.map_err(|fault| self.error(fault))
    }

    fn log(&self, query: &LogQuery) -> Result<LogPage> {
        self.read(async |session| read::log(session, query).await)?
    }

    fn log_end(&self, namespace: &Namespace) -> Result<LogPosition> {
        self.read(async |session| read::log_end(session, namespace).await)
    }

    fn metadata(&self, id: PayloadId, revision: Option<Revision>) -> Result<Option<MetadataRevision>> {
        self.read(async |session| metadata::get(session, id, revision).await)
    }

    fn metadata_history(&self, id: PayloadId, after: Option<Revision>, limit: u32) -> Result<Vec<RevisionInfo>> {
        self.read(async |session| metadata::history(session, id, after, limit).await)
    }

    fn on_events(&self, listener: EventListener) {
        self.listener.set(listener);
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn on_peers(&self, node: NodeId, listener: PeerListener) -> Result<()> {
        let feed = Feed::start(Ears {
            target: Arc::clone(&self.target),
            node,
            peers: listener,
            events: Arc::clone(&self.listener),
            observer: Arc::clone(&self.observer),
        });
        let feed = feed.map_err(|fault| self.error(fault))?;
        // The one before ends when nobody holds the lock.
        let before = self.feed.write().replace(feed);
        drop(before);
        Ok(())
    }

    fn lineage(&self, query: &LineageQuery) -> Result<LineagePage> {
        let page = self.readers.snapshot(|conn| lineage::page(conn, query));
        page.map_err(|fault| self.error(fault))?
    }

    fn descendants(&self, root: PayloadId, limit: u32) -> Result<Descendants> {
        let descendants = self.readers.snapshot(|conn| lineage::descendants(conn, root, limit));
        descendants.map_err(|fault| self.error(fault))
    }

    fn find_request(&self, principal: &Principal, request_id: &RequestId) -> Result<Option<RequestRecord>> {
        self.read(async |session| read::request(session, principal, request_id).await)
    }

    fn forget_requests(&self, before: Timestamp, limit: u32) -> Result<u32> {
        self.write(|writer| writer.forget_requests(before, limit))
    }

    fn resident(&self, node: NodeId, after: Option<PayloadId>, limit: u32) -> Result<Vec<Payload>> {
        self.read(async |session| read::resident(session, node, after, limit).await)
    }

    fn deletions(&self, node: NodeId, after: Option<PayloadId>, limit: u32) -> Result<Vec<PayloadId>> {
        self.read(async |session| read::deletions(session, node, after, limit).await)
    }

    fn due(&self, node: NodeId, now: Timestamp, limit: u32) -> Result<Vec<PayloadId>> {
        self.read(async |session| read::due(session, node, now, limit).await)
    }

    fn next_deadline(&self, node: NodeId) -> Result<Option<Timestamp>> {
        self.read(async |session| read::next_deadline(session, node).await)
    }

    fn containers_in_use(&self, containers: &[Container]) -> Result<Vec<bool>> {
        self.read(async |session| read::containers_in_use(session, containers).await)
    }

    fn payloads_in(&self, container: Container, after: Option<PayloadId>, limit: u32) -> Result<Vec<(PayloadId, u64)>> {
        self.read(async |session| read::payloads_in(session, &container, after, limit).await)
    }

    fn usage(&self, node: NodeId) -> Result<Vec<Usage>> {
        self.read(async |session| read::usage(session, node).await)
    }

    fn namespace_use(&self, name: &Namespace) -> Result<NamespaceUse> {
        self.read(async |session| quotas::get(session, name).await)
    }

    fn create_namespace(&self, record: &NamespaceRecord) -> Result<()> {
        let create = async |session: &Session| namespaces::create(session, record).await;
        self.write(|writer| writer.change_namespaces(Locks::default(), &create))
    }

    fn update_namespace(&self, record: &NamespaceRecord) -> Result<()> {
        let update = async |session: &Session| namespaces::update(session, record).await;
        self.write(|writer| writer.change_namespaces(Locks::default(), &update))
    }

    fn remove_namespace(&self, name: &Namespace, version: Version) -> Result<()> {
        check::removable(name)?;
        let remove = async |session: &Session| namespaces::remove(session, name, version).await;
        self.write(|writer| writer.change_namespaces(Locks::to_remove_namespaces(), &remove))
    }

    fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceRecord>> {
        self.read(async |session| namespaces::get(session, name).await)
    }

    fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<NamespaceRecord>> {
        self.read(async |session| namespaces::list(session, after, limit).await)
    }

    fn name(&self, namespace: &Namespace, name: &PayloadName) -> Result<Option<NameRecord>> {
        self.read(async |session| names::get(session, namespace, name).await)
    }

    fn names(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&PayloadName>,
        limit: u32,
    ) -> Result<Vec<NameRecord>> {
        self.read(async |session| names::list(session, namespace, prefix, after, limit).await)
    }

    fn names_of(&self, id: PayloadId) -> Result<Vec<PayloadName>> {
        self.read(async |session| names::of(session, id).await)
    }

    fn name_history(
        &self,
        namespace: &Namespace,
        name: &PayloadName,
        before: Option<Version>,
        limit: u32,
    ) -> Result<Vec<NameMove>> {
        self.read(async |session| names::history(session, namespace, name, before, limit).await)
    }

    fn check(&self) -> Result<()> {
        let now = self.clock.wall();
        self.namespace(&Namespace::default())?;
        self.write(|writer| writer.prove_writable(now))
    }
}
