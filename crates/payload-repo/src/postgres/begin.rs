//! How a transaction that writes begins: fenced, with every lock that it needs, and with what it will decide about.

use std::collections::HashSet;

use futures_util::future::{try_join, try_join3, try_join5};
use payload_core::retention::History;
use payload_core::stream::StreamChange;
use payload_core::{Change, ChangeSet, Edge, NodeId, PayloadId, RequestRecord, StateKind};
use uuid::Uuid;

use super::connect::{Params, Session};
use super::decide::Seen;
use super::fault::Fault;
use super::quotas::Quotas;
use super::{names, row, sql, streams};

/// Waits for the disk or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// The log is flushed before the commit is acknowledged.
    On,
    /// The log is flushed a moment later; until then a crash of the database's host loses the commit.
    Off,
}

/// Who writes, and what has been promised to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) node: NodeId,
    /// The claim's own, whatever its epoch.
    pub(super) token: Uuid,
    /// The last batch that was acknowledged as safe. The next one has a higher number, unless the database has forgotten
    /// what it promised: it was restored from a backup, or a standby has taken over that lagged.
    pub(super) synced: u64,
}

/// What a transaction needs beyond its rows: locks on rules that span rows, until it ends. They cost no write.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Locks {
    /// That namespaces are not removed under new payloads and streams.
    namespaces: Option<Hold>,
    /// That nobody closes a circle, or deletes a payload on condition, past an edge that is being added.
    lineage: Option<Hold>,
    /// That two servers do not remove the same part of the history.
    history: Option<Hold>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hold {
    Shared,
    Exclusive,
}

/// Nobody else's numbers: they spell "namespac", "lineages" and "historys".
const NAMESPACES: &str = "x'6e616d6573706163'::bigint";
const LINEAGE: &str = "x'6c696e6561676573'::bigint";
const HISTORY: &str = "x'686973746f727973'::bigint";

impl Locks {
    /// No payload is made meanwhile.
    pub(super) fn to_remove_namespaces() -> Self {
        Self {
            namespaces: Some(Hold::Exclusive),
            ..Self::default()
        }
    }

    /// Nobody else removes any; and nobody makes something from a payload that goes.
    pub(super) fn to_remove(what: &History) -> Self {
        Self {
            lineage: (*what == History::Tombstones).then_some(Hold::Exclusive),
            history: Some(Hold::Exclusive),
            ..Self::default()
        }
    }

    /// Those that a batch needs.
    pub(super) fn of(sets: &[ChangeSet]) -> Self {
        let creates = |set: &ChangeSet| {
            set.changes.iter().any(|change| change.before.is_none())
                || set
                    .streams
                    .iter()
                    .any(|change| matches!(change, StreamChange::Create { .. }))
        };
        Self {
            namespaces: sets.iter().any(creates).then_some(Hold::Shared),
            lineage: sets.iter().filter_map(lineage).max(),
            history: None,
        }
    }

    fn sql(self) -> String {
        let lock = |(hold, number): (Option<Hold>, &str)| match hold {
            None => String::new(),
            Some(Hold::Shared) => format!("; SELECT pg_advisory_xact_lock_shared({number})"),
            Some(Hold::Exclusive) => format!("; SELECT pg_advisory_xact_lock({number})"),
        };
        [
            (self.namespaces, NAMESPACES),
            (self.lineage, LINEAGE),
            (self.history, HISTORY),
        ]
        .map(lock)
        .concat()
    }
}

/// A payload that was never committed has no descendants, so edges from it close no circle, whoever else adds some: to
/// publish is to share. Everything else looks at what others may be adding.
fn lineage(set: &ChangeSet) -> Option<Hold> {
    let was_not_committed = |change: &&Change| {
        let before = change.before.as_ref().map(|before| before.state.kind());
        before.is_none_or(|state| state == StateKind::Allocated)
    };
    let new: HashSet<PayloadId> = set
        .changes
        .iter()
        .filter(was_not_committed)
        .map(|change| change.after.id)
        .collect();
    if set.without_dependents.is_some() || set.edges.iter().any(|edge| !new.contains(&edge.child)) {
        return Some(Hold::Exclusive);
    }
    (!set.edges.is_empty()).then_some(Hold::Shared)
}

/// The words that begin a transaction.
pub(super) fn begin(sync: Sync, locks: Locks) -> String {
    let begin = match sync {
        Sync::On => "BEGIN",
        Sync::Off => "BEGIN; SET LOCAL synchronous_commit = off",
    };
    format!("{begin}{}", locks.sql())
}

/// Begins, and takes the node's row; gives the number of the batch.
pub(super) async fn fenced(session: &Session, sync: Sync, locks: Locks, claim: Claim) -> Result<u64, Fault> {
    let begin = begin(sync, locks);
    let node = row::uuid(claim.node.as_bytes());
    let fence: Params<'_> = &[&node, &claim.token];
    let number = session.one(sql::FENCE, fence, |found| row::uint(found, "batch"));
    let ((), number) = try_join(session.batch(&begin), number).await?;
    match number {
        None => Err(Fault::fenced()),
        Some(number) if number <= claim.synced => Err(Fault::forgotten()),
        Some(number) => Ok(number),
    }
}

/// Begins a batch, locks its payloads and finds out what else it meets. All of it is sent at once; each statement sees
/// what was committed before it began, and so whatever the locks waited for.
pub(super) async fn batch(
    session: &Session,
    sync: Sync,
    claim: Claim,
    sets: &[ChangeSet],
) -> Result<(u64, Seen, streams::Had), Fault> {
    let (number, (versions, requests, namespaces), quotas, names, (lineage, had)) = try_join5(
        fenced(session, sync, Locks::of(sets), claim),
        rows(session, sets),
        Quotas::find(session, sets),
        names::find(session, sets),
        try_join(ends(session, sets), streams::find(session, sets)),
    )
    .await?;
    let key = |request: &RequestRecord| (request.principal.clone(), request.request_id.clone());
    let seen = Seen {
        versions: versions.into_iter().collect(),
        requests: requests.into_iter().map(|request| (key(&request), request)).collect(),
        namespaces: namespaces.into_iter().collect(),
        quotas,
        names,
        ..lineage
    };
    Ok((number, seen, had))
}

type Met = (
    Vec<(PayloadId, payload_core::Version)>,
    Vec<RequestRecord>,
    Vec<payload_core::Namespace>,
);

async fn rows(session: &Session, sets: &[ChangeSet]) -> Result<Met, Fault> {
    let requests = sets.iter().filter_map(|set| set.request.as_ref());
    let (principals, request_ids): (Vec<&str>, Vec<&str>) = requests
        .map(|request| (request.principal.as_str(), request.request_id.as_str()))
        .unzip();
    let changes = || sets.iter().flat_map(|set| &set.changes);
    // A payload that a name is to point at, or an entry to refer to, must not end meanwhile.
    let ids = changes()
        .map(|change| change.after.id)
        .chain(names::targets(sets))
        .chain(streams::payloads(sets));
    let ids: Vec<Uuid> = ids.map(|id| row::uuid(id.as_bytes())).collect();
    let new = changes().filter(|change| change.before.is_none());
    let namespaces: HashSet<&str> = new.map(|change| change.after.namespace.as_str()).collect();
    let namespaces: Vec<&str> = namespaces.into_iter().collect();
    try_join3(
        find(&ids, session.all(sql::LOCK_PAYLOADS, &[&ids], row::version)),
        find(
            &principals,
            session.all(sql::FIND_REQUESTS, &[&principals, &request_ids], row::request),
        ),
        find(
            &namespaces,
            session.all(sql::FIND_NAMESPACES, &[&namespaces], row::namespace_name),
        ),
    )
    .await
}

/// What decides about edges, as far as it is known before anybody walks along them.
async fn ends(session: &Session, sets: &[ChangeSet]) -> Result<Seen, Fault> {
    let edges: Vec<&Edge> = sets.iter().flat_map(|set| &set.edges).collect();
    let ids = |end: fn(&&Edge) -> PayloadId| {
        let ids: HashSet<PayloadId> = edges.iter().map(end).collect();
        ids.into_iter().collect::<Vec<_>>()
    };
    let (children, parents) = (ids(|edge| edge.child), ids(|edge| edge.parent));
    let uuids = |ids: &[PayloadId]| ids.iter().map(|id| row::uuid(id.as_bytes())).collect::<Vec<Uuid>>();
    let named: Vec<PayloadId> = names::targets(sets).collect();
    let both = uuids(&[&children[..], &parents[..], &named[..]].concat());
    let (child, parent): (Vec<Uuid>, Vec<Uuid>) = edges
        .iter()
        .map(|edge| (row::uuid(edge.child.as_bytes()), row::uuid(edge.parent.as_bytes())))
        .unzip();
    let (operation, role): (Vec<&str>, Vec<&str>) = edges
        .iter()
        .map(|edge| (edge.operation.as_str(), edge.role.as_str()))
        .unzip();
    let asked = uuids(&children);
    let (ends, known, with_children) = try_join3(
        find(&both, session.all(sql::FIND_ENDS, &[&both], row::end)),
        find(
            &child,
            session.all(sql::FIND_EDGES, &[&child, &parent, &operation, &role], row::edge_key),
        ),
        find(&asked, session.all(sql::FIND_PARENTS, &[&asked], row::payload_id)),
    )
    .await?;
    let mut childless: HashSet<PayloadId> = children.into_iter().collect();
    for id in with_children {
        childless.remove(&id);
    }
    Ok(Seen {
        ends: ends.into_iter().collect(),
        edges: known.into_iter().collect(),
        childless,
        ..Seen::default()
    })
}

/// Asks only if something is asked for.
async fn find<K, T>(keys: &[K], ask: impl Future<Output = Result<Vec<T>, Fault>>) -> Result<Vec<T>, Fault> {
    if keys.is_empty() { Ok(Vec::new()) } else { ask.await }
}
