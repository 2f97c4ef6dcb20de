//! A repository whose calls are counted and may fail.

use std::sync::Arc;

use payload_core::lineage::{Descendants, LineagePage, LineageQuery};
use payload_core::listing::{Count, Filter, ListPage, ListQuery};
use payload_core::port::{EventListener, PeerListener, Repository, Retention, Settle, StreamReader, Usage};
use payload_core::retention::{History, Removed};
use payload_core::stream::{
    EntryRead, Group, GroupName, Offset, Producer, ProducerName, Stream, StreamName, StreamQuery,
};
use payload_core::{
    ChangeSet, CommitOutcome, Container, Durability, LogPage, LogPosition, LogQuery, MetadataRevision, NameMove,
    NameRecord, Namespace, NamespaceRecord, NamespaceUse, NodeId, Payload, PayloadId, PayloadName, Principal,
    RequestId, RequestRecord, Result, Revision, RevisionInfo, StreamId, Timestamp, Version,
};

use super::Switch;

/// Around any repository.
pub struct FaultyRepository {
    inner: Arc<dyn Repository>,
    switch: Arc<Switch>,
}

impl FaultyRepository {
    /// Lets calls through as the switch says.
    pub const fn new(inner: Arc<dyn Repository>, switch: Arc<Switch>) -> Self {
        Self { inner, switch }
    }
}

impl std::fmt::Debug for FaultyRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyRepository")
    }
}

impl Repository for FaultyRepository {
    fn strongest(&self) -> Durability {
        self.inner.strongest()
    }

    fn claim(&self, node: NodeId, at: Timestamp) -> Result<u64> {
        self.switch.run("repository.claim", || self.inner.claim(node, at))
    }

    fn commit(&self, set: ChangeSet) -> Result<CommitOutcome> {
        if set.durability >= Durability::Host {
            self.switch.count("repository.commit synced");
        }
        self.switch.run("repository.commit", || self.inner.commit(set))
    }

    fn carry(&self, settle: Settle) -> usize {
        self.inner.carry(settle)
    }

    fn get(&self, id: PayloadId) -> Result<Option<Payload>> {
        self.switch.run("repository.get", || self.inner.get(id))
    }

    fn list(&self, query: &ListQuery) -> Result<ListPage> {
        self.switch.run("repository.list", || self.inner.list(query))
    }

    fn count(&self, namespace: &Namespace, filter: &Filter) -> Result<Count> {
        self.switch
            .run("repository.count", || self.inner.count(namespace, filter))
    }

    fn log(&self, query: &LogQuery) -> Result<LogPage> {
        self.switch.run("repository.log", || self.inner.log(query))
    }

    fn log_end(&self, namespace: &Namespace) -> Result<LogPosition> {
        self.switch.run("repository.log_end", || self.inner.log_end(namespace))
    }

    fn metadata(&self, id: PayloadId, revision: Option<Revision>) -> Result<Option<MetadataRevision>> {
        self.switch
            .run("repository.metadata", || self.inner.metadata(id, revision))
    }

    fn metadata_history(&self, id: PayloadId, after: Option<Revision>, limit: u32) -> Result<Vec<RevisionInfo>> {
        self.switch.run("repository.metadata_history", || {
            self.inner.metadata_history(id, after, limit)
        })
    }

    fn on_events(&self, listener: EventListener) {
        self.inner.on_events(listener);
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn on_peers(&self, node: NodeId, listener: PeerListener) -> Result<()> {
        self.inner.on_peers(node, listener)
    }

    fn lineage(&self, query: &LineageQuery) -> Result<LineagePage> {
        self.switch.run("repository.lineage", || self.inner.lineage(query))
    }

    fn descendants(&self, root: PayloadId, limit: u32) -> Result<Descendants> {
        self.switch
            .run("repository.descendants", || self.inner.descendants(root, limit))
    }

    fn find_request(&self, principal: &Principal, request_id: &RequestId) -> Result<Option<RequestRecord>> {
        self.switch.run("repository.find_request", || {
            self.inner.find_request(principal, request_id)
        })
    }

    fn forget_requests(&self, before: Timestamp, limit: u32) -> Result<u32> {
        self.switch.run("repository.forget_requests", || {
            self.inner.forget_requests(before, limit)
        })
    }

    fn resident(&self, node: NodeId, after: Option<PayloadId>, limit: u32) -> Result<Vec<Payload>> {
        self.switch
            .run("repository.resident", || self.inner.resident(node, after, limit))
    }

    fn deletions(&self, node: NodeId, after: Option<PayloadId>, limit: u32) -> Result<Vec<PayloadId>> {
        self.switch
            .run("repository.deletions", || self.inner.deletions(node, after, limit))
    }

    fn due(&self, node: NodeId, now: Timestamp, limit: u32) -> Result<Vec<PayloadId>> {
        self.switch.run("repository.due", || self.inner.due(node, now, limit))
    }

    fn next_deadline(&self, node: NodeId) -> Result<Option<Timestamp>> {
        self.switch
            .run("repository.next_deadline", || self.inner.next_deadline(node))
    }

    fn containers_in_use(&self, containers: &[Container]) -> Result<Vec<bool>> {
        self.switch.run("repository.containers_in_use", || {
            self.inner.containers_in_use(containers)
        })
    }

    fn payloads_in(&self, container: Container, after: Option<PayloadId>, limit: u32) -> Result<Vec<(PayloadId, u64)>> {
        self.switch.run("repository.payloads_in", || {
            self.inner.payloads_in(container, after, limit)
        })
    }

    fn usage(&self, node: NodeId) -> Result<Vec<Usage>> {
        self.switch.run("repository.usage", || self.inner.usage(node))
    }

    fn namespace_use(&self, name: &Namespace) -> Result<NamespaceUse> {
        self.switch
            .run("repository.namespace_use", || self.inner.namespace_use(name))
    }

    fn create_namespace(&self, record: &NamespaceRecord) -> Result<()> {
        self.switch
            .run("repository.create_namespace", || self.inner.create_namespace(record))
    }

    fn update_namespace(&self, record: &NamespaceRecord) -> Result<()> {
        self.switch
            .run("repository.update_namespace", || self.inner.update_namespace(record))
    }

    fn remove_namespace(&self, name: &Namespace, version: Version) -> Result<()> {
        self.switch.run("repository.remove_namespace", || {
            self.inner.remove_namespace(name, version)
        })
    }

    fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceRecord>> {
        self.switch.run("repository.namespace", || self.inner.namespace(name))
    }

    fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<NamespaceRecord>> {
        self.switch
            .run("repository.namespaces", || self.inner.namespaces(after, limit))
    }

    fn name(&self, namespace: &Namespace, name: &PayloadName) -> Result<Option<NameRecord>> {
        self.switch.run("repository.name", || self.inner.name(namespace, name))
    }

    fn names(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&PayloadName>,
        limit: u32,
    ) -> Result<Vec<NameRecord>> {
        self.switch
            .run("repository.names", || self.inner.names(namespace, prefix, after, limit))
    }

    fn names_of(&self, id: PayloadId) -> Result<Vec<PayloadName>> {
        self.switch.run("repository.names_of", || self.inner.names_of(id))
    }

    fn name_history(
        &self,
        namespace: &Namespace,
        name: &PayloadName,
        before: Option<Version>,
        limit: u32,
    ) -> Result<Vec<NameMove>> {
        self.switch.run("repository.name_history", || {
            self.inner.name_history(namespace, name, before, limit)
        })
    }

    fn check(&self) -> Result<()> {
        self.switch.run("repository.check", || self.inner.check())
    }
}

impl Retention for FaultyRepository {
    fn logs(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>> {
        self.switch.run("repository.logs", || self.inner.logs(after, limit))
    }

    fn event_base(&self, id: PayloadId) -> Result<Option<Payload>> {
        self.switch.run("repository.event_base", || self.inner.event_base(id))
    }

    fn remove_history(&self, what: &History, before: Timestamp, limit: u32) -> Result<Removed> {
        self.switch.run("repository.remove_history", || {
            self.inner.remove_history(what, before, limit)
        })
    }
}

impl StreamReader for FaultyRepository {
    fn stream(&self, namespace: &Namespace, name: &StreamName) -> Result<Option<Stream>> {
        self.switch
            .run("repository.stream", || self.inner.stream(namespace, name))
    }

    fn incarnation(&self, id: StreamId) -> Result<Option<Stream>> {
        self.switch.run("repository.incarnation", || self.inner.incarnation(id))
    }

    fn streams(&self, query: &StreamQuery) -> Result<Vec<Stream>> {
        self.switch.run("repository.streams", || self.inner.streams(query))
    }

    fn streams_to_trim(&self, after: Option<StreamId>, limit: u32) -> Result<Vec<Stream>> {
        self.switch.run("repository.streams_to_trim", || {
            self.inner.streams_to_trim(after, limit)
        })
    }

    fn entries(&self, stream: StreamId, from: Offset, limit: u32) -> Result<Vec<EntryRead>> {
        self.switch
            .run("repository.entries", || self.inner.entries(stream, from, limit))
    }

    /// What the switch should hold up or refuse is never at hand.
    fn at_hand(&self, _stream: StreamId, _from: Offset, _limit: u32) -> Option<(Stream, Vec<EntryRead>)> {
        None
    }

    fn group(&self, stream: StreamId, name: &GroupName) -> Result<Option<Group>> {
        self.switch.run("repository.group", || self.inner.group(stream, name))
    }

    fn groups(&self, stream: StreamId) -> Result<Vec<Group>> {
        self.switch.run("repository.groups", || self.inner.groups(stream))
    }

    fn producer(&self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>> {
        self.switch
            .run("repository.producer", || self.inner.producer(stream, name))
    }

    fn holds(&self, payload: PayloadId) -> Result<u64> {
        self.switch.run("repository.holds", || self.inner.holds(payload))
    }
}
