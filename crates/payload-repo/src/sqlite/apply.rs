//! Makes one change set true, inside a transaction that the caller can roll back.

use std::collections::BTreeMap;

use payload_core::stream::Appended;
use payload_core::{
    Change, ChangeSet, CommitOutcome, Durability, Label, NodeId, Payload, PayloadId, Pin, Replica, RequestRecord,
    State, Tier,
};
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::row::int;
use super::{lineage, metadata, names, namespaces, quotas, read, row, sql, streams};
use crate::body;

/// Applies the set, or finds out why not; then some of it may be written, and the caller must roll back.
pub(super) fn change_set(conn: &Connection, set: &ChangeSet) -> Result<CommitOutcome, Fault> {
    if let Some(refusal) = payloads(conn, set, None)? {
        return Ok(refusal);
    }
    if let Some(name) = &set.name {
        names::apply(conn, name)?;
    }
    if let Err(refusal) = lineage::add(conn, set)? {
        return Ok(CommitOutcome::Refused(refusal));
    }
    let appended = match streams::apply(conn, &set.streams)? {
        Ok(appended) => appended,
        Err(refusal) => return Ok(CommitOutcome::StreamRefused(refusal)),
    };
    if let (Some(request), Some(appended)) = (&set.request, appended) {
        streams::note_appended(conn, request, appended)?;
    }
    Ok(appended.map_or(CommitOutcome::Applied, CommitOutcome::Appended))
}

/// The part of it that payloads and the request are, with where its entries are if that is known; or why not.
pub(super) fn payloads(
    conn: &Connection,
    set: &ChangeSet,
    appended: Option<Appended>,
) -> Result<Option<CommitOutcome>, Fault> {
    if let Some(request) = &set.request
        && !insert_request(conn, request, appended)?
    {
        let first = read::request(conn, &request.principal, &request.request_id)?;
        return Ok(Some(CommitOutcome::Duplicate(
            first.ok_or_else(|| Fault::bad_row("request_id"))?,
        )));
    }
    for change in &set.changes {
        if !write_payload(conn, change)? {
            return Ok(Some(CommitOutcome::Conflict));
        }
        if change.before.is_none() {
            namespaces::must_exist(conn, &change.after.namespace)?;
        }
        let before = change.before.as_deref();
        write_labels(conn, before, &change.after)?;
        write_replicas(conn, before, &change.after)?;
        metadata::write(conn, change)?;
        write_event(conn, change)?;
        if change.ends() {
            let when = params![change.after.id.as_bytes(), change.event.at.as_micros()];
            conn.prepare_cached(sql::INSERT_TOMBSTONE)?.execute(when)?;
        }
    }
    quotas::charge(conn, set)?;
    Ok(None)
}

fn insert_request(conn: &Connection, request: &RequestRecord, appended: Option<Appended>) -> Result<bool, Fault> {
    let stream = appended.as_ref().map(|place| place.stream.as_bytes());
    let inserted = conn.prepare_cached(sql::INSERT_REQUEST)?.execute(params![
        request.principal.as_str(),
        request.request_id.as_str(),
        request.fingerprint.as_bytes(),
        request.operation.as_str(),
        request.payload.as_bytes(),
        int(request.version.as_u64()),
        request.at.as_micros(),
        stream,
        appended.map(|place| int(place.first.as_u64())),
    ])?;
    Ok(inserted == 1)
}

/// The row itself; false if it is not at the version that the decision saw.
fn write_payload(conn: &Connection, change: &Change) -> Result<bool, Fault> {
    let after = &*change.after;
    let deadline = after.state.deadline().map(|at| at.as_micros());
    let committed_at = after.committed_at.map(|at| at.as_micros());
    let digest = after.digest.as_ref().map(|digest| digest.as_bytes());
    let written = match &change.before {
        None => conn.prepare_cached(sql::INSERT_PAYLOAD)?.execute(params![
            after.id.as_bytes(),
            after.namespace.as_str(),
            state(&after.state),
            deadline,
            int(after.version.as_u64()),
            int(after.size),
            digest,
            after.tier.as_str(),
            after.durability.as_str(),
            after.owner.as_str(),
            after.created_at.as_micros(),
            committed_at,
            row::span_ns(after.ttl),
            after.policy.priority.as_str(),
            after.policy.spill_to.as_str(),
            after.policy.rederivable,
            after.metadata.map(|revision| int(revision.as_u64())),
            after.policy.min_tier.map(Tier::as_str),
            row::span_ns(after.policy.min_residency),
            after.policy.write_behind.map(Durability::as_str),
        ])?,
        Some(before) => conn.prepare_cached(sql::UPDATE_PAYLOAD)?.execute(params![
            after.id.as_bytes(),
            int(before.version.as_u64()),
            state(&after.state),
            deadline,
            int(after.version.as_u64()),
            int(after.size),
            digest,
            after.tier.as_str(),
            after.durability.as_str(),
            committed_at,
            row::span_ns(after.ttl),
            after.policy.priority.as_str(),
            after.policy.spill_to.as_str(),
            after.policy.rederivable,
            after.metadata.map(|revision| int(revision.as_u64())),
            after.policy.min_tier.map(Tier::as_str),
            row::span_ns(after.policy.min_residency),
            after.policy.write_behind.map(Durability::as_str),
        ])?,
    };
    Ok(written == 1)
}

fn state(state: &State) -> &'static str {
    state.kind().as_str()
}

/// Only what differs: the version vouches for `before` being what the rows say.
fn write_labels(conn: &Connection, before: Option<&Payload>, after: &Payload) -> Result<(), Fault> {
    let old = before.map_or(&[][..], |before| &before.labels);
    let has = |labels: &[Label], key: &str| labels.iter().any(|label| *label.key == *key);
    for label in old.iter().filter(|label| !has(&after.labels, &label.key)) {
        conn.prepare_cached(sql::DELETE_LABEL)?
            .execute(params![after.id.as_bytes(), label.key])?;
    }
    let ended = after.state.kind().has_ended();
    if before.is_some_and(|before| before.state.kind().has_ended() != ended && !old.is_empty()) {
        conn.prepare_cached(sql::MOVE_LABELS)?
            .execute(params![after.id.as_bytes(), ended])?;
    }
    for label in after.labels.iter().filter(|label| !old.contains(label)) {
        conn.prepare_cached(sql::PUT_LABEL)?.execute(params![
            after.id.as_bytes(),
            label.key,
            label.value,
            after.namespace.as_str(),
            ended,
        ])?;
    }
    Ok(())
}

fn write_replicas(conn: &Connection, before: Option<&Payload>, after: &Payload) -> Result<(), Fault> {
    let old = before.map_or(&[][..], |before| &before.replicas);
    if old == after.replicas {
        return Ok(());
    }
    for replica in old.iter().filter(|replica| after.replica(replica.id).is_none()) {
        conn.prepare_cached(sql::DELETE_REPLICA)?
            .execute(params![after.id.as_bytes(), replica.id.as_bytes()])?;
    }
    for replica in after.replicas.iter().filter(|replica| !old.contains(replica)) {
        put_replica(conn, after.id, replica)?;
    }
    add_usage(conn, old, after)
}

fn put_replica(conn: &Connection, payload: PayloadId, replica: &Replica) -> Result<(), Fault> {
    let (kind, container, start) = row::place(&replica.location);
    conn.prepare_cached(sql::PUT_REPLICA)?.execute(params![
        payload.as_bytes(),
        replica.id.as_bytes(),
        replica.node.as_bytes(),
        replica.state.as_str(),
        replica.tier().as_str(),
        kind,
        container,
        start,
        int(replica.charged),
        replica.pin.map(Pin::as_micros),
    ])?;
    Ok(())
}

/// Moves the counters by the difference between the old replicas and the new.
fn add_usage(conn: &Connection, old: &[Replica], after: &Payload) -> Result<(), Fault> {
    let mut sums: BTreeMap<(NodeId, Tier), (i64, i64)> = BTreeMap::new();
    for (replicas, sign) in [(old, -1), (&after.replicas[..], 1)] {
        for replica in replicas {
            let sum = sums.entry((replica.node, replica.tier())).or_default();
            *sum = (sum.0 + sign, sum.1 + sign * int(replica.charged));
        }
    }
    for ((node, tier), (replicas, charged)) in sums.into_iter().filter(|(_, sum)| *sum != (0, 0)) {
        conn.prepare_cached(sql::ADD_USAGE)?.execute(params![
            node.as_bytes(),
            tier.as_str(),
            after.namespace.as_str(),
            replicas,
            charged,
        ])?;
    }
    Ok(())
}

fn write_event(conn: &Connection, change: &Change) -> Result<(), Fault> {
    let event = &change.event;
    let delta = payload_core::delta::delta(change.before.as_deref(), &change.after);
    conn.prepare_cached(sql::INSERT_EVENT)?.execute(params![
        change.after.namespace.as_str(),
        change.after.id.as_bytes(),
        int(change.after.version.as_u64()),
        event.kind.as_str(),
        event.actor.as_str(),
        event.reason,
        event.at.as_micros(),
        event.from.map(|state| state.as_str()),
        event.to.as_str(),
        body::encode(&delta, event.note.as_deref()),
    ])?;
    Ok(())
}
