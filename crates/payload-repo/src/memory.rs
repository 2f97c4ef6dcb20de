//! The repository in memory: the executable specification of what every repository does.

mod lineage;
mod metadata;
mod names;
mod namespaces;
mod quotas;
mod retention;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::lineage::{Descendants, LineagePage, LineageQuery};
use payload_core::listing::{Count, Filter, ListPage, ListQuery};
use payload_core::port::{EventListener, PeerListener, Repository, Usage};
use payload_core::{
    Change, ChangeSet, CommitOutcome, Container, Durability, LogPage, LogPosition, LogQuery, LoggedEvent,
    MetadataRevision, NameMove, NameRecord, Namespace, NamespaceRecord, NamespaceUse, NodeId, Payload, PayloadId,
    PayloadName, Principal, Replica, RequestId, RequestRecord, Result, Revision, RevisionInfo, StateKind, Tier,
    Timestamp, Version, delta,
};

use self::retention::Tombstone;
use self::streams::StreamTables;
use crate::check;
use crate::log::{Listener, Pager};
use lineage::Edges;

/// Keeps everything until the process ends, and so promises nothing beyond [`Durability::Volatile`].
#[derive(Debug, Default)]
pub struct MemoryRepository {
    tables: Arc<Mutex<Tables>>,
    claim: Mutex<Option<(NodeId, u64)>>,
    listener: Listener,
}

impl MemoryRepository {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another server's view of the same rows, with a claim of its own.
    pub fn another(&self) -> Self {
        Self {
            tables: Arc::clone(&self.tables),
            claim: Mutex::default(),
            listener: Listener::default(),
        }
    }

    fn check_claim(&self, tables: &Tables) -> Result<()> {
        let (node, epoch) = self.claim.lock().ok_or_else(check::unclaimed)?;
        if tables.epochs.get(&node) != Some(&epoch) {
            return Err(check::fenced());
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default)]
struct Tables {
    payloads: BTreeMap<PayloadId, Payload>,
    logs: BTreeMap<Namespace, Log>,
    metadata: BTreeMap<(PayloadId, Revision), MetadataRevision>,
    requests: BTreeMap<(Principal, RequestId), RequestRecord>,
    epochs: BTreeMap<NodeId, u64>,
    namespaces: BTreeMap<Namespace, NamespaceRecord>,
    edges: Edges,
    uses: BTreeMap<Namespace, NamespaceUse>,
    names: BTreeMap<(Namespace, PayloadName), NameRecord>,
    moves: BTreeMap<(Namespace, PayloadName, Version), NameMove>,
    superseded: BTreeSet<(Timestamp, PayloadId, Revision)>,
    moves_over: BTreeSet<(Timestamp, Namespace, PayloadName, Version)>,
    tombstones: BTreeMap<PayloadId, Tombstone>,
    bases: BTreeMap<PayloadId, Payload>,
    streams: StreamTables,
}

/// The log of one namespace: events by their numbers, without gaps.
#[derive(Clone, Debug, Default)]
struct Log {
    events: BTreeMap<u64, LoggedEvent>,
    removed_through: u64,
}

impl Log {
    fn end(&self) -> u64 {
        self.events
            .last_key_value()
            .map_or(self.removed_through, |(last, _)| *last)
    }
}

impl Tables {
    /// All of the set, or nothing of it.
    fn apply(&mut self, set: &ChangeSet) -> Result<CommitOutcome> {
        if let Some(request) = &set.request {
            let key = (request.principal.clone(), request.request_id.clone());
            if let Some(first) = self.requests.get(&key) {
                return Ok(CommitOutcome::Duplicate(first.clone()));
            }
        }
        for (done, change) in set.changes.iter().enumerate() {
            if self.version(change.after.id) != change.before.as_ref().map(|before| before.version) {
                self.undo(&set.changes[..done]);
                return Ok(CommitOutcome::Conflict);
            }
            if change.before.is_none() && !self.namespaces.contains_key(&change.after.namespace) {
                self.undo(&set.changes[..done]);
                return Err(check::no_namespace(&change.after.namespace));
            }
            self.make_true(change);
        }
        if let Err(exceeded) = self.check_quotas(set) {
            self.undo(&set.changes);
            return Err(exceeded.into());
        }
        let moved = set.name.as_ref().map(|name| self.decide_name(name)).transpose();
        let moved = moved.inspect_err(|_| self.undo(&set.changes))?;
        let edges = self.edges.count();
        if let Err(refusal) = self.add_lineage(set) {
            self.undo(&set.changes);
            return Ok(CommitOutcome::Refused(refusal));
        }
        let appended = match streams::apply(self, &set.streams) {
            Ok(appended) => appended,
            Err(refusal) => {
                self.edges.truncate(edges);
                self.undo(&set.changes);
                return Ok(CommitOutcome::StreamRefused(refusal));
            }
        };
        self.charge(&set.changes);
        if let (Some(change), Some(step)) = (&set.name, moved) {
            self.move_name(change, step);
        }
        if let Some(request) = &set.request {
            let key = (request.principal.clone(), request.request_id.clone());
            let record = RequestRecord {
                appended,
                ..request.clone()
            };
            self.requests.insert(key, record);
        }
        Ok(appended.map_or(CommitOutcome::Applied, CommitOutcome::Appended))
    }

    fn version(&self, id: PayloadId) -> Option<Version> {
        self.payloads.get(&id).map(|row| row.version)
    }

    fn make_true(&mut self, change: &Change) {
        let row = in_order(&change.after);
        let log = self.logs.entry(row.namespace.clone()).or_default();
        let number = log.end() + 1;
        let event = LoggedEvent {
            position: LogPosition::numbered(number),
            payload: row.id,
            version: row.version,
            record: change.event.clone(),
            delta: delta::delta(change.before.as_deref(), &change.after),
        };
        log.events.insert(number, event);
        self.add_revision(change);
        self.note_end(change);
        self.payloads.insert(row.id, row);
    }

    fn undo(&mut self, changes: &[Change]) {
        for change in changes.iter().rev() {
            let id = change.after.id;
            if let Some(log) = self.logs.get_mut(&change.after.namespace) {
                log.events.pop_last();
            }
            self.remove_revision(change);
            self.take_back_end(change);
            match &change.before {
                Some(before) => self.payloads.insert(id, in_order(before)),
                None => self.payloads.remove(&id),
            };
        }
    }
}

/// Labels and replicas are sets: they come back in order of their keys, however they were written.
pub(crate) fn in_order(payload: &Payload) -> Payload {
    let mut row = payload.clone();
    row.labels.sort();
    row.replicas.sort_by_key(|replica| replica.id);
    row
}

impl Repository for MemoryRepository {
    fn strongest(&self) -> Durability {
        Durability::Volatile
    }

    fn claim(&self, node: NodeId, at: Timestamp) -> Result<u64> {
        let mut tables = self.tables.lock();
        let epoch = tables.epochs.entry(node).or_insert(0);
        *epoch += 1;
        let epoch = *epoch;
        *self.claim.lock() = Some((node, epoch));
        tables.make_default_namespace(at);
        Ok(epoch)
    }

    fn commit(&self, set: ChangeSet) -> Result<CommitOutcome> {
        check::change_set(&set, self.strongest(), 0)?;
        let mut tables = self.tables.lock();
        self.check_claim(&tables)?;
        let outcome = tables.apply(&set)?;
        drop(tables);
        if outcome.is_applied() {
            self.listener.tell([&set]);
        }
        Ok(outcome)
    }

    fn get(&self, id: PayloadId) -> Result<Option<Payload>> {
        Ok(self.tables.lock().payloads.get(&id).cloned())
    }

    fn list(&self, query: &ListQuery) -> Result<ListPage> {
        let tables = self.tables.lock();
        let mut shown: Vec<&Payload> = tables.payloads.values().filter(|row| query.shows(row)).collect();
        query.order.sort(&mut shown, |row| query.order.position(row));
        let limit = query.limit as usize;
        let more = shown.len() > limit;
        let rows: Vec<Payload> = shown.into_iter().take(limit).cloned().collect();
        let next = rows.last().map(|last| query.order.position(last)).filter(|_| more);
        Ok(ListPage { rows, next })
    }

    fn count(&self, namespace: &Namespace, filter: &Filter) -> Result<Count> {
        let tables = self.tables.lock();
        let rows = tables.payloads.values().filter(|row| row.namespace == *namespace);
        let payloads = rows.filter(|row| filter.fits(row)).count() as u64;
        Ok(Count { payloads, exact: true })
    }

    fn log(&self, query: &LogQuery) -> Result<LogPage> {
        let tables = self.tables.lock();
        let none = Log::default();
        let log = tables.logs.get(&query.filter.namespace).unwrap_or(&none);
        let end = LogPosition::numbered(log.end());
        let mut pager = Pager::new(query, LogPosition::numbered(log.removed_through), end)?;
        let after = (Bound::Excluded(pager.after().number), Bound::Unbounded);
        let events = log.events.range(after).map(|(_, event)| event);
        for event in events.filter(|event| query.filter.payload.is_none_or(|id| id == event.payload)) {
            if !pager.look_at(event.position) {
                break;
            }
            if query.filter.wants(event.record.kind) {
                pager.add(event.clone());
            }
        }
        Ok(pager.finish(end))
    }

    fn log_end(&self, namespace: &Namespace) -> Result<LogPosition> {
        let tables = self.tables.lock();
        let end = tables.logs.get(namespace).map_or(0, Log::end);
        Ok(LogPosition::numbered(end))
    }

    fn metadata(&self, id: PayloadId, revision: Option<Revision>) -> Result<Option<MetadataRevision>> {
        Ok(self.tables.lock().revision(id, revision))
    }

    fn metadata_history(&self, id: PayloadId, after: Option<Revision>, limit: u32) -> Result<Vec<RevisionInfo>> {
        Ok(self.tables.lock().revisions(id, after, limit))
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
        self.tables.lock().lineage_page(query)
    }

    fn descendants(&self, root: PayloadId, limit: u32) -> Result<Descendants> {
        Ok(self.tables.lock().descendants(root, limit))
    }

    fn find_request(&self, principal: &Principal, request_id: &RequestId) -> Result<Option<RequestRecord>> {
        let key = (principal.clone(), request_id.clone());
        Ok(self.tables.lock().requests.get(&key).cloned())
    }

    fn forget_requests(&self, before: Timestamp, limit: u32) -> Result<u32> {
        let mut tables = self.tables.lock();
        self.check_claim(&tables)?;
        let mut old: Vec<_> = tables
            .requests
            .iter()
            .filter(|(_, request)| request.at < before)
            .map(|(key, request)| (request.at, key.clone()))
            .collect();
        old.sort();
        old.truncate(limit as usize);
        for (_, key) in &old {
            tables.requests.remove(key);
        }
        Ok(u32::try_from(old.len()).expect("at most `limit` of them"))
    }

    fn resident(&self, node: NodeId, after: Option<PayloadId>, limit: u32) -> Result<Vec<Payload>> {
        let unsettled = |row: &Payload| matches!(row.state.kind(), StateKind::Allocated | StateKind::Deleting);
        let kept = |replica: &Replica| replica.tier() == Tier::Ram || replica.pin.is_some();
        let in_mind = |row: &Payload| row.replicas_of(node).any(kept);
        let tables = self.tables.lock();
        let rows = tables.payloads.values();
        Ok(rows
            .filter(|row| after.is_none_or(|after| row.id > after))
            .filter(|row| row.is_on(node) && (unsettled(row) || row.owes().is_some()) || in_mind(row))
            .take(limit as usize)
            .cloned()
            .collect())
    }

    fn deletions(&self, node: NodeId, after: Option<PayloadId>, limit: u32) -> Result<Vec<PayloadId>> {
        let tables = self.tables.lock();
        let rows = tables.payloads.values();
        Ok(rows
            .filter(|row| after.is_none_or(|after| row.id > after))
            .filter(|row| row.is_on(node) && row.state.kind() == StateKind::Deleting)
            .map(|row| row.id)
            .take(limit as usize)
            .collect())
    }

    fn due(&self, node: NodeId, now: Timestamp, limit: u32) -> Result<Vec<PayloadId>> {
        let tables = self.tables.lock();
        let mut due: Vec<_> = deadlines(&tables, node)
            .filter(|(deadline, _)| *deadline <= now)
            .collect();
        due.sort();
        Ok(due.into_iter().map(|(_, id)| id).take(limit as usize).collect())
    }

    fn next_deadline(&self, node: NodeId) -> Result<Option<Timestamp>> {
        let tables = self.tables.lock();
        Ok(deadlines(&tables, node).map(|(deadline, _)| deadline).min())
    }

    fn containers_in_use(&self, containers: &[Container]) -> Result<Vec<bool>> {
        let tables = self.tables.lock();
        let in_use = |container: &Container| {
            let mut replicas = tables.payloads.values().flat_map(|row| &row.replicas);
            replicas.any(|replica| replica.location.container() == *container)
        };
        Ok(containers.iter().map(in_use).collect())
    }

    fn payloads_in(&self, container: Container, after: Option<PayloadId>, limit: u32) -> Result<Vec<(PayloadId, u64)>> {
        let tables = self.tables.lock();
        let charged = |row: &Payload| {
            let there = row.replicas.iter().filter(|one| one.location.container() == container);
            there.map(|replica| replica.charged).reduce(|sum, more| sum + more)
        };
        let rows = tables
            .payloads
            .values()
            .filter(|row| after.is_none_or(|after| row.id > after));
        Ok(rows
            .filter_map(|row| Some((row.id, charged(row)?)))
            .take(limit as usize)
            .collect())
    }

    fn usage(&self, node: NodeId) -> Result<Vec<Usage>> {
        let tables = self.tables.lock();
        let mut sums: BTreeMap<(Tier, Namespace), (u64, u64)> = BTreeMap::new();
        for row in tables.payloads.values() {
            for replica in row.replicas_of(node) {
                let sum = sums.entry((replica.tier(), row.namespace.clone())).or_default();
                *sum = (sum.0 + 1, sum.1 + replica.charged);
            }
        }
        Ok(sums
            .into_iter()
            .map(|((tier, namespace), (replicas, charged))| Usage {
                tier,
                namespace,
                replicas,
                charged,
            })
            .collect())
    }

    fn namespace_use(&self, name: &Namespace) -> Result<NamespaceUse> {
        Ok(self.tables.lock().namespace_use(name))
    }

    fn create_namespace(&self, record: &NamespaceRecord) -> Result<()> {
        let mut tables = self.tables.lock();
        self.check_claim(&tables)?;
        tables.create_namespace(record)
    }

    fn update_namespace(&self, record: &NamespaceRecord) -> Result<()> {
        let mut tables = self.tables.lock();
        self.check_claim(&tables)?;
        tables.update_namespace(record)
    }

    fn remove_namespace(&self, name: &Namespace, version: Version) -> Result<()> {
        check::removable(name)?;
        let mut tables = self.tables.lock();
        self.check_claim(&tables)?;
        tables.remove_namespace(name, version)
    }

    fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceRecord>> {
        Ok(self.tables.lock().namespaces.get(name).cloned())
    }

    fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<NamespaceRecord>> {
        let tables = self.tables.lock();
        let rows = tables.namespaces.values();
        let rows = rows.filter(|row| after.is_none_or(|after| row.name > *after));
        Ok(rows.take(limit as usize).cloned().collect())
    }

    fn name(&self, namespace: &Namespace, name: &PayloadName) -> Result<Option<NameRecord>> {
        let key = (namespace.clone(), name.clone());
        Ok(self.tables.lock().names.get(&key).cloned())
    }

    fn names(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&PayloadName>,
        limit: u32,
    ) -> Result<Vec<NameRecord>> {
        Ok(self.tables.lock().list_names(namespace, prefix, after, limit))
    }

    fn names_of(&self, id: PayloadId) -> Result<Vec<PayloadName>> {
        Ok(self.tables.lock().names_of(id))
    }

    fn name_history(
        &self,
        namespace: &Namespace,
        name: &PayloadName,
        before: Option<Version>,
        limit: u32,
    ) -> Result<Vec<NameMove>> {
        Ok(self.tables.lock().name_history(namespace, name, before, limit))
    }

    fn check(&self) -> Result<()> {
        let claimed = self.claim.lock().is_some();
        if claimed {
            self.check_claim(&self.tables.lock())
        } else {
            Ok(())
        }
    }
}

/// What a node has to do some day, and when.
fn deadlines(tables: &Tables, node: NodeId) -> impl Iterator<Item = (Timestamp, PayloadId)> {
    let free = tables.payloads.values().filter(|row| tables.streams.holds(row.id) == 0);
    free.filter(move |row| row.state.kind() == StateKind::Active || row.is_on(node))
        .filter_map(|row| Some((row.state.deadline()?, row.id)))
}
