//! Writes what a batch adds up to: a statement for each kind of row, however many rows, all sent in one go.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future;
use payload_core::delta;
use payload_core::stream::Appended;
use payload_core::{
    Change, Document, Durability, Edge, Label, NameChange, NameMove, Namespace, NodeId, Payload, PayloadId, Pin,
    Replica, RequestRecord, Revision, Tier, Timestamp, Version,
};
use tokio_postgres::types::ToSql;

use super::connect::Session;
use super::decide::{Effects, Step};
use super::fault::Fault;
use super::names::{self, Key};
use super::row::{int, uuid};
use super::{feed, metadata, quotas, row, sql, streams};
use crate::body;

/// A COMMIT that waits for a standby must not be cancelled: the server would acknowledge it all the same. And in a
/// transaction that has failed already the first half fails too, where COMMIT alone would roll back and call it a success.
pub(super) const COMMIT: &str = "SET LOCAL statement_timeout = 0; COMMIT";

/// One column of some rows, as a parameter.
pub(super) type Column<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// A statement and its parameters.
pub(super) struct Write<'a> {
    pub(super) sql: &'static str,
    pub(super) columns: Vec<Column<'a>>,
    /// How many rows there are; without any it has nothing to do.
    pub(super) rows: usize,
}

/// A statement with one value of each row in each of its columns.
macro_rules! write {
    ($sql:expr, $rows:expr, |$row:pat_param| $($value:expr),+ $(,)?) => {
        Write {
            sql: $sql,
            columns: vec![$(Box::new($rows.iter().map(|$row| $value).collect::<Vec<_>>())),+],
            rows: $rows.len(),
        }
    };
}
pub(super) use write;

/// Writes and commits. The server works through all of it without an answer from us in between; after the first
/// statement that fails, it refuses the others.
pub(super) async fn effects(session: &Session, node: NodeId, effects: &Effects<'_>) -> Result<(), Fault> {
    let writes: Vec<Write<'_>> = writes(effects)
        .into_iter()
        .chain([quotas::add(node, effects), notify_owners(node, effects)])
        .filter(|write| write.rows > 0)
        .collect();
    let writes = writes
        .iter()
        .map(async |write| session.execute(write.sql, &params(&write.columns)).await);
    // Polled in order, up to the first that fails at once: nothing is committed that was not sent as a whole.
    future::try_join(future::try_join_all(writes), session.batch(COMMIT)).await?;
    Ok(())
}

/// What a statement is run with.
pub(super) fn params<'c>(columns: &'c [Column<'_>]) -> Vec<&'c (dyn ToSql + Sync)> {
    columns.iter().map(|column| &**column as _).collect()
}

/// A statement for each kind of row, in the order in which they must come.
fn writes<'e>(effects: &'e Effects<'_>) -> Vec<Write<'e>> {
    let steps: Vec<Step<'e>> = effects.payloads.values().copied().collect();
    let (known, new): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step.before.is_some());
    let writes = [
        insert_payloads(&rows(&new)),
        update_payloads(&rows(&known)),
        delete_labels(&hanging(&steps, gone_labels)),
        move_labels(&turned(&steps)),
        put_labels(&new_labels(&steps)),
        delete_replicas(&hanging(&steps, gone_replicas)),
        put_replicas(&hanging(&steps, new_replicas)),
        add_usage(&usage(&steps)),
        insert_events(&effects.changes),
        insert_metadata(&metadata::made(&effects.changes)),
        supersede_metadata(&metadata::superseded(&effects.changes)),
        insert_edges(effects.lineage.edges()),
        delete_names(&gone_names(effects)),
        put_names(&pointing_names(effects)),
        insert_name_moves(&effects.names.moves),
        insert_moves_over(&names::over(&effects.names.moves)),
        insert_tombstones(&ends(effects)),
        insert_requests(&effects.requests),
    ];
    writes.into_iter().chain(streams::writes(&effects.streams)).collect()
}

pub(super) fn rows<'a>(steps: &[Step<'a>]) -> Vec<&'a Payload> {
    steps.iter().map(|step| step.after).collect()
}

/// What hangs on the payloads, each item with the payload that it hangs on.
pub(super) fn hanging<'a, T: 'a, I: Iterator<Item = &'a T>>(
    steps: &[Step<'a>],
    of: impl Fn(Step<'a>) -> I,
) -> Vec<(PayloadId, &'a T)> {
    let items = |step: &Step<'a>| {
        let id = step.after.id;
        of(*step).map(move |item| (id, item))
    };
    steps.iter().flat_map(items).collect()
}

/// How many ids go into one notification: it holds less than 8,000 bytes.
const IDS_MAX: usize = 200;

/// Tells other nodes which of their payloads were changed.
pub(super) fn notify_owners<'e>(node: NodeId, effects: &Effects<'_>) -> Write<'e> {
    let mut changed: BTreeMap<NodeId, BTreeSet<PayloadId>> = BTreeMap::new();
    for step in effects.payloads.values() {
        let replicas = replicas_before(step).iter().chain(&step.after.replicas);
        for other in replicas
            .map(|replica| replica.node)
            .filter(|other| *other != node && *other != NodeId::NONE)
        {
            changed.entry(other).or_default().insert(step.after.id);
        }
    }
    let words = changed.into_iter().flat_map(|(node, ids)| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let words: Vec<_> = ids
            .chunks(IDS_MAX)
            .map(|few| (feed::channel_of(node), few.join(",")))
            .collect();
        words
    });
    let words: Vec<(String, String)> = words.collect();
    write!(sql::NOTIFY, words, |word| word.0.clone(), word.1.clone())
}

/// Only what differs: the version vouches for `before` being what the rows say.
pub(super) fn gone_labels(step: Step<'_>) -> impl Iterator<Item = &Label> {
    let kept = |label: &&Label| step.after.labels.iter().any(|other| other.key == label.key);
    let old = step.before.map_or(&[][..], |before| &before.labels);
    old.iter().filter(move |label| !kept(label))
}

/// Payloads that had labels and have ended, or not, unlike before.
pub(super) fn turned<'a>(steps: &[Step<'a>]) -> Vec<&'a Payload> {
    let has_ended = |row: &Payload| row.state.kind().has_ended();
    let differ = |step: &&Step<'a>| {
        let differs = |before: &Payload| !before.labels.is_empty() && has_ended(before) != has_ended(step.after);
        step.before.is_some_and(differs)
    };
    steps.iter().filter(differ).map(|step| step.after).collect()
}

pub(super) fn new_labels<'a>(steps: &[Step<'a>]) -> Vec<(&'a Payload, &'a Label)> {
    let new = |step: &Step<'a>| {
        let (after, old) = (step.after, step.before.map_or(&[][..], |before| &before.labels));
        let labels = after.labels.iter().filter(|label| !old.contains(label));
        labels.map(move |label| (after, label))
    };
    steps.iter().flat_map(new).collect()
}

pub(super) fn gone_replicas(step: Step<'_>) -> impl Iterator<Item = &Replica> {
    let old = replicas_before(&step);
    old.iter()
        .filter(move |replica| step.after.replica(replica.id).is_none())
}

pub(super) fn new_replicas(step: Step<'_>) -> impl Iterator<Item = &Replica> {
    let old = replicas_before(&step);
    step.after.replicas.iter().filter(|replica| !old.contains(replica))
}

fn replicas_before<'a>(step: &Step<'a>) -> &'a [Replica] {
    step.before.map_or(&[], |before| &before.replicas)
}

/// A counter, and by how much it moves.
pub(super) struct Moved<'a> {
    node: NodeId,
    tier: Tier,
    namespace: &'a Namespace,
    replicas: i64,
    charged: i64,
}

/// The difference between all old replicas and all new ones.
pub(super) fn usage<'a>(steps: &[Step<'a>]) -> Vec<Moved<'a>> {
    let mut sums: BTreeMap<(NodeId, Tier, &Namespace), (i64, i64)> = BTreeMap::new();
    for step in steps {
        for (replicas, sign) in [(replicas_before(step), -1), (&step.after.replicas[..], 1)] {
            for replica in replicas {
                let key = (replica.node, replica.tier(), &step.after.namespace);
                let sum = sums.entry(key).or_default();
                *sum = (sum.0 + sign, sum.1 + sign * int(replica.charged));
            }
        }
    }
    let moved = sums.into_iter().filter(|(_, sum)| *sum != (0, 0));
    moved
        .map(|((node, tier, namespace), (replicas, charged))| Moved {
            node,
            tier,
            namespace,
            replicas,
            charged,
        })
        .collect()
}

pub(super) fn insert_payloads<'a>(rows: &[&'a Payload]) -> Write<'a> {
    write!(
        sql::INSERT_PAYLOADS,
        rows,
        |row| uuid(row.id.as_bytes()),
        row.namespace.as_str(),
        row.state.kind().as_str(),
        row.state.deadline().map(Timestamp::as_micros),
        int(row.version.as_u64()),
        int(row.size),
        row.digest.as_ref().map(|digest| &digest.as_bytes()[..]),
        row.tier.as_str(),
        row.durability.as_str(),
        row.owner.as_str(),
        row.created_at.as_micros(),
        row.committed_at.map(Timestamp::as_micros),
        row::span_ns(row.ttl),
        row.policy.priority.as_str(),
        row.policy.spill_to.as_str(),
        row.policy.rederivable,
        row.metadata.map(|revision| int(revision.as_u64())),
        row.policy.min_tier.map(Tier::as_str),
        row::span_ns(row.policy.min_residency),
        row.policy.write_behind.map(Durability::as_str),
    )
}

pub(super) fn update_payloads<'a>(rows: &[&'a Payload]) -> Write<'a> {
    write!(
        sql::UPDATE_PAYLOADS,
        rows,
        |row| uuid(row.id.as_bytes()),
        row.state.kind().as_str(),
        row.state.deadline().map(Timestamp::as_micros),
        int(row.version.as_u64()),
        int(row.size),
        row.digest.as_ref().map(|digest| &digest.as_bytes()[..]),
        row.tier.as_str(),
        row.durability.as_str(),
        row.committed_at.map(Timestamp::as_micros),
        row::span_ns(row.ttl),
        row.policy.priority.as_str(),
        row.policy.spill_to.as_str(),
        row.policy.rederivable,
        row.metadata.map(|revision| int(revision.as_u64())),
        row.policy.min_tier.map(Tier::as_str),
        row::span_ns(row.policy.min_residency),
        row.policy.write_behind.map(Durability::as_str),
    )
}

fn delete_labels<'a>(rows: &[(PayloadId, &'a Label)]) -> Write<'a> {
    write!(sql::DELETE_LABELS, rows, |hung| uuid(hung.0.as_bytes()), &*hung.1.key,)
}

fn move_labels<'a>(rows: &[&'a Payload]) -> Write<'a> {
    write!(
        sql::MOVE_LABELS,
        rows,
        |row| uuid(row.id.as_bytes()),
        row.state.kind().has_ended(),
    )
}

pub(super) fn put_labels<'a>(rows: &[(&'a Payload, &'a Label)]) -> Write<'a> {
    write!(
        sql::PUT_LABELS,
        rows,
        |hung| uuid(hung.0.id.as_bytes()),
        &*hung.1.key,
        hung.1.value.as_bytes(),
        hung.0.namespace.as_str(),
        hung.0.state.kind().has_ended(),
    )
}

fn delete_replicas<'a>(rows: &[(PayloadId, &'a Replica)]) -> Write<'a> {
    write!(
        sql::DELETE_REPLICAS,
        rows,
        |hung| uuid(hung.0.as_bytes()),
        uuid(hung.1.id.as_bytes()),
    )
}

pub(super) fn put_replicas<'a>(rows: &[(PayloadId, &'a Replica)]) -> Write<'a> {
    write!(
        sql::PUT_REPLICAS,
        rows,
        |hung| uuid(hung.0.as_bytes()),
        uuid(hung.1.id.as_bytes()),
        uuid(hung.1.node.as_bytes()),
        hung.1.state.as_str(),
        hung.1.tier().as_str(),
        row::kind(&hung.1.location),
        row::container(&hung.1.location.container()),
        int(hung.1.location.offset()),
        int(hung.1.charged),
        hung.1.pin.map(Pin::as_micros),
    )
}

pub(super) fn add_usage<'a>(rows: &[Moved<'a>]) -> Write<'a> {
    write!(
        sql::ADD_USAGE,
        rows,
        |moved| uuid(moved.node.as_bytes()),
        moved.tier.as_str(),
        moved.namespace.as_str(),
        moved.replicas,
        moved.charged,
    )
}

pub(super) fn insert_events<'a>(rows: &[&'a Change]) -> Write<'a> {
    write!(
        sql::INSERT_EVENTS,
        rows,
        |change| change.after.namespace.as_str(),
        uuid(change.after.id.as_bytes()),
        int(change.after.version.as_u64()),
        change.event.kind.as_str(),
        change.event.actor.as_str(),
        change.event.reason.as_ref().map(|reason| reason.as_bytes()),
        change.event.at.as_micros(),
        change.event.from.map(|state| state.as_str()),
        change.event.to.as_str(),
        body::encode(
            &delta::delta(change.before.as_deref(), &change.after),
            change.event.note.as_deref()
        ),
    )
}

fn insert_metadata<'a>(rows: &[(&'a Change, &'a Document, Revision)]) -> Write<'a> {
    write!(
        sql::INSERT_METADATA,
        rows,
        |made| uuid(made.0.after.id.as_bytes()),
        int(made.2.as_u64()),
        int(made.0.after.version.as_u64()),
        made.1.content_type.as_str(),
        made.0.event.actor.as_str(),
        made.0.event.reason.as_ref().map(|reason| reason.as_bytes()),
        made.0.event.at.as_micros(),
        &made.1.body[..],
    )
}

fn supersede_metadata<'a>(rows: &[(&'a Change, Revision)]) -> Write<'a> {
    write!(
        sql::SUPERSEDE_METADATA,
        rows,
        |old| old.0.event.at.as_micros(),
        uuid(old.0.after.id.as_bytes()),
        int(old.1.as_u64()),
    )
}

fn insert_edges<'a>(rows: &[&'a Edge]) -> Write<'a> {
    write!(
        sql::INSERT_EDGES,
        rows,
        |edge| uuid(edge.child.as_bytes()),
        uuid(edge.parent.as_bytes()),
        edge.operation.as_str(),
        edge.role.as_str(),
        &*edge.parameters,
        edge.actor.as_str(),
        edge.at.as_micros(),
    )
}

fn gone_names<'e>(effects: &'e Effects<'_>) -> Vec<&'e Key> {
    let gone = effects.names.ends.iter().filter(|(_, end)| end.is_none());
    gone.map(|(key, _)| key).collect()
}

/// Each with what it points at, and the version that it has then.
fn pointing_names<'a>(effects: &Effects<'a>) -> Vec<(&'a NameChange, PayloadId, Version)> {
    let ends = effects.names.ends.values().flatten();
    ends.filter_map(|(change, version)| Some((*change, change.to?, *version)))
        .collect()
}

fn delete_names<'a>(rows: &[&Key]) -> Write<'a> {
    write!(
        sql::DELETE_NAMES,
        rows,
        |key| key.0.as_str().to_owned(),
        key.1.as_str().to_owned(),
    )
}

fn put_names<'a>(rows: &[(&'a NameChange, PayloadId, Version)]) -> Write<'a> {
    write!(
        sql::PUT_NAMES,
        rows,
        |named| named.0.namespace.as_str(),
        named.0.naming.name.as_str(),
        uuid(named.1.as_bytes()),
        int(named.2.as_u64()),
        named.0.actor.as_str(),
        named.0.at.as_micros(),
    )
}

fn insert_name_moves<'a>(rows: &[(&'a NameChange, NameMove)]) -> Write<'a> {
    write!(
        sql::INSERT_NAME_MOVES,
        rows,
        |moved| moved.0.namespace.as_str(),
        moved.0.naming.name.as_str(),
        int(moved.1.version.as_u64()),
        moved.1.from.map(|id| uuid(id.as_bytes())),
        moved.1.to.map(|id| uuid(id.as_bytes())),
        moved.0.actor.as_str(),
        moved.0.reason.as_ref().map(|reason| reason.as_bytes()),
        moved.0.at.as_micros(),
    )
}

/// The changes with which payloads end.
fn ends<'a>(effects: &Effects<'a>) -> Vec<&'a Change> {
    effects.changes.iter().copied().filter(|change| change.ends()).collect()
}

fn insert_tombstones<'a>(rows: &[&'a Change]) -> Write<'a> {
    write!(
        sql::INSERT_TOMBSTONES,
        rows,
        |change| uuid(change.after.id.as_bytes()),
        change.event.at.as_micros(),
    )
}

fn insert_moves_over<'a>(rows: &[(&'a NameChange, Version)]) -> Write<'a> {
    write!(
        sql::MOVES_OVER,
        rows,
        |over| over.0.at.as_micros(),
        over.0.namespace.as_str(),
        over.0.naming.name.as_str(),
        int(over.1.as_u64()),
    )
}

pub(super) fn insert_requests<'a>(rows: &[(&'a RequestRecord, Option<Appended>)]) -> Write<'a> {
    write!(
        sql::INSERT_REQUESTS,
        rows,
        |row| row.0.principal.as_str(),
        row.0.request_id.as_str(),
        &row.0.fingerprint.as_bytes()[..],
        row.0.operation.as_str(),
        uuid(row.0.payload.as_bytes()),
        int(row.0.version.as_u64()),
        row.0.at.as_micros(),
        row.1.map(|place| uuid(place.stream.as_bytes())),
        row.1.map(|place| int(place.first.as_u64())),
    )
}
