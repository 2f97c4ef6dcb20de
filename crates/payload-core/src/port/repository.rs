//! The catalog's store: one contract, the same answers from every engine.

use std::sync::Arc;

use super::{Retention, StreamReader};
use crate::change::{ChangeSet, CommitOutcome, RequestRecord};
use crate::error::Result;
use crate::id::{NodeId, PayloadId, StreamId};
use crate::lineage::{Descendants, LineagePage, LineageQuery};
use crate::listing::{Count, Filter, ListPage, ListQuery};
use crate::log::{LogPage, LogPosition, LogQuery};
use crate::metadata::{MetadataRevision, Revision, RevisionInfo};
use crate::name::{Namespace, Principal, RequestId};
use crate::namespace::NamespaceRecord;
use crate::naming::{NameMove, NameRecord, PayloadName};
use crate::payload::{Payload, Version};
use crate::quota::NamespaceUse;
use crate::tier::{Container, Durability, Tier};
use crate::time::Timestamp;

/// Rows of payloads, their events and the requests that made them.
///
/// Several servers may share one repository: nothing here assumes that this process is the only writer. A row's
/// replicas belong to nodes, and every change set is checked against the versions that its decision saw.
pub trait Repository: StreamReader + Retention {
    /// The strongest class that a commit here can promise; `host` is the most there is. A set that asks for `object`
    /// asks for its rows what one with `host` does: only bytes are in a bucket.
    fn strongest(&self) -> Durability;

    /// Takes a node over: raises its epoch and returns it. From then on every commit of an earlier claimant of the
    /// same node fails with `FENCED`, whatever it says. Must come before the first `commit`.
    fn claim(&self, node: NodeId, at: Timestamp) -> Result<u64>;

    /// Makes one change set true, all or nothing, and returns when that is as durable as the set asks for.
    /// Concurrent calls share a transaction and an fsync; each has its own outcome.
    ///
    /// The set is applied in order. `Duplicate` is looked for first, then versions, then what depends on
    /// `without_dependents`, then each edge. Two sets whose edges would close a circle together are never both applied,
    /// whichever servers they come from. An error whose
    /// [`outcome`](crate::Error::outcome) is unknown must be resolved with [`find_request`](Self::find_request) or
    /// [`get`](Self::get).
    ///
    /// A set that lets its namespaces grow beyond their quotas fails with `QUOTA_EXCEEDED`, unless it
    /// [may](ChangeSet::over_quota); that is looked at after versions, and exact whichever servers ask at once.
    ///
    /// The id of a new payload begins with the millisecond in which it was created: listings rely on that.
    ///
    /// A new payload whose namespace is not there fails with `NAMESPACE_NOT_FOUND`, also if it was removed a moment ago:
    /// that is looked at after versions.
    fn commit(&self, set: ChangeSet) -> Result<CommitOutcome>;

    /// How many bytes of [contents](ChangeSet::contents) a set may carry from now on. Until they are in their places on the
    /// device, the repository keeps them: it has `settle` bring everything there that was put in a place before the
    /// call, and forgets nothing that was carried before that has succeeded. It is called by whichever thread needs it.
    /// Zero, unless a repository says otherwise: then a commit follows only when the bytes are on the device.
    fn carry(&self, settle: Settle) -> usize {
        drop(settle);
        0
    }

    /// One payload, with labels and replicas; tombstones too.
    fn get(&self, id: PayloadId) -> Result<Option<Payload>>;

    /// A page of what a filter of one namespace lets through, as [`listing`](crate::listing) defines it. It looks at
    /// [`LIST_SCAN_MAX`](crate::limits::LIST_SCAN_MAX) payloads at most and may be short or empty because of that: only a
    /// page that names no next one is the last.
    fn list(&self, query: &ListQuery) -> Result<ListPage>;

    /// How many payloads of a namespace fit a filter, exactly if
    /// [`LIST_COUNT_MAX`](crate::limits::LIST_COUNT_MAX) have to be looked at to know that.
    fn count(&self, namespace: &Namespace, filter: &Filter) -> Result<Count>;

    /// A page of a namespace's log. Every applied change adds one event, which carries the [`delta`](crate::delta) of its
    /// row; the order is one in which all readers see them, and agrees with the versions of each payload. What a page
    /// says it was through never gets another event. Pages look at
    /// [`LOG_SCAN_MAX`](crate::limits::LOG_SCAN_MAX) events at most.
    ///
    /// Refused: a position beyond the end with `BAD_PAGE_TOKEN`, one below what was removed with `HISTORY_REMOVED`.
    fn log(&self, query: &LogQuery) -> Result<LogPage>;

    /// Where a namespace's log ends: the events from now on come after it.
    fn log_end(&self, namespace: &Namespace) -> Result<LogPosition>;

    /// A revision of a payload's metadata, or the latest.
    fn metadata(&self, id: PayloadId, revision: Option<Revision>) -> Result<Option<MetadataRevision>>;

    /// At most `limit` revisions of a payload's metadata, without what they say, the first first, after `after`. The cost
    /// depends on their number, not on how many revisions there are.
    fn metadata_history(&self, id: PayloadId, after: Option<Revision>, limit: u32) -> Result<Vec<RevisionInfo>>;

    /// Has `listener` told the namespace of every commit that added events, as soon as they can be read. It must not
    /// block. There is one; a later one takes its place.
    fn on_events(&self, listener: EventListener);

    /// Whether other servers may change rows. If so, a row that was read is what it is only until somebody says otherwise.
    fn is_shared(&self) -> bool;

    /// Has `listener` told what other servers do to payloads with a replica of `node` and to streams, and has what they add
    /// to logs told to whoever listens with [`on_events`](Self::on_events). It must not block. There is one. What happens
    /// from the return of this call on is told; a repository that is not shared never tells anything.
    fn on_peers(&self, node: NodeId, listener: PeerListener) -> Result<()>;

    /// A page of the lineage graph around a payload, as [`lineage::page`](crate::lineage::page) defines it.
    fn lineage(&self, query: &LineageQuery) -> Result<LineagePage>;

    /// What descends from a payload, nearest first, as far as `limit` edges lead.
    fn descendants(&self, root: PayloadId, limit: u32) -> Result<Descendants>;

    /// What a request id did.
    fn find_request(&self, principal: &Principal, request_id: &RequestId) -> Result<Option<RequestRecord>>;

    /// Forgets at most `limit` requests made before `before`; returns how many.
    fn forget_requests(&self, before: Timestamp, limit: u32) -> Result<u32>;

    /// What a node must know before it serves, in order of ids, after `after`: of the payloads with a replica of the node
    /// those that are allocated or being deleted, those with one in the RAM tier, those with one that is pinned, and those that
    /// [owe](Payload::owes) something. The cost depends on their number alone, and on that of all payloads that are allocated, being
    /// deleted or owing.
    fn resident(&self, node: NodeId, after: Option<PayloadId>, limit: u32) -> Result<Vec<Payload>>;

    /// Payloads with a replica of the node that are being deleted, in order of ids, after `after`.
    fn deletions(&self, node: NodeId, after: Option<PayloadId>, limit: u32) -> Result<Vec<PayloadId>>;

    /// At most `limit` payloads whose deadline is at or before `now`, the earliest first: active ones, and allocated ones with
    /// a replica of the node. One that an entry of a stream holds has none.
    fn due(&self, node: NodeId, now: Timestamp, limit: u32) -> Result<Vec<PayloadId>>;

    /// The earliest deadline of a payload that [`due`](Self::due) will name.
    fn next_deadline(&self, node: NodeId) -> Result<Option<Timestamp>>;

    /// For each container whether a replica of any state is in it.
    fn containers_in_use(&self, containers: &[Container]) -> Result<Vec<bool>>;

    /// At most `limit` payloads with a replica of any state in a container, in order of ids, after `after`; with what their
    /// replicas there are charged.
    fn payloads_in(&self, container: Container, after: Option<PayloadId>, limit: u32) -> Result<Vec<(PayloadId, u64)>>;

    /// What the node's replicas add up to, by tier and namespace; kept by counters, not by scanning.
    fn usage(&self, node: NodeId) -> Result<Vec<Usage>>;

    /// What a namespace takes up on all nodes; kept by counters, not by scanning.
    fn namespace_use(&self, name: &Namespace) -> Result<NamespaceUse>;

    /// Makes a namespace; fails with `NAMESPACE_EXISTS`. This and the next two outlive the host as soon as they are
    /// acknowledged, on a repository that can promise it. `default` is there from the first claim on.
    fn create_namespace(&self, record: &NamespaceRecord) -> Result<()>;

    /// Replaces a namespace's row by its next version. Fails with `CONFLICT` if it is not at the version before, with
    /// `NAMESPACE_NOT_FOUND` if it is not there.
    fn update_namespace(&self, record: &NamespaceRecord) -> Result<()>;

    /// Removes a namespace in which every payload has ended, and which has no streams. The payloads' tombstones stay
    /// where they are, for whoever knows their ids. Fails with `NAMESPACE_IN_USE`, `NAMESPACE_NOT_FOUND`, or `CONFLICT` if it is not at `version`.
    fn remove_namespace(&self, name: &Namespace, version: Version) -> Result<()>;

    /// One namespace.
    fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceRecord>>;

    /// At most `limit` namespaces in order of their names, after `after`.
    fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<NamespaceRecord>>;

    /// Where a name points.
    fn name(&self, namespace: &Namespace, name: &PayloadName) -> Result<Option<NameRecord>>;

    /// At most `limit` names that begin with `prefix`, in order, after `after`.
    fn names(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&PayloadName>,
        limit: u32,
    ) -> Result<Vec<NameRecord>>;

    /// The names that point at a payload, in order.
    fn names_of(&self, id: PayloadId) -> Result<Vec<PayloadName>>;

    /// At most `limit` moves of a name, the newest first, before version `before`.
    fn name_history(
        &self,
        namespace: &Namespace,
        name: &PayloadName,
        before: Option<Version>,
        limit: u32,
    ) -> Result<Vec<NameMove>>;

    /// Whether reads and writes work now.
    fn check(&self) -> Result<()>;
}

/// Brings everything that was put in a place without a sync to the device. Once it has failed it always fails.
pub type Settle = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// Hears in whose log there are new events.
pub type EventListener = Arc<dyn Fn(&Namespace) + Send + Sync>;

/// Hears what other servers do.
pub type PeerListener = Arc<dyn Fn(PeerNews) + Send + Sync>;

/// What other servers have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerNews {
    /// They have changed these payloads.
    Changed(Vec<PayloadId>),
    /// They have appended to these streams, changed or deleted them, or moved their groups.
    Moved(Vec<StreamId>),
    /// Nobody could say for a while: they may have changed any.
    Missed,
    /// Nothing that is known; it is time to make sure.
    Look,
}

/// What the replicas of one namespace in one tier of one node add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Which tier.
    pub tier: Tier,
    /// Whose.
    pub namespace: Namespace,
    /// How many replicas, of any state.
    pub replicas: u64,
    /// Bytes of capacity charged for them.
    pub charged: u64,
}
