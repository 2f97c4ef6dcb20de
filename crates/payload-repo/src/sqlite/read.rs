//! The queries of the port, on one connection inside one snapshot.

use payload_core::page::ListQuery;
use payload_core::port::Usage;
use payload_core::{
    Container, EventRecord, Location, NodeId, Payload, PayloadId, Principal, RequestId, RequestRecord, Timestamp,
    Version,
};
use rusqlite::{Connection, Params, Row, params};

use super::fault::Fault;
use super::{row, sql};

/// Comes before every id.
const BEFORE_ALL: &[u8] = &[];

/// One payload with what hangs on it.
pub(super) fn payload(conn: &Connection, id: PayloadId) -> Result<Option<Payload>, Fault> {
    let Some(mut payload) = one(conn, sql::PAYLOAD, [id.as_bytes()], |found| row::payload(id, found))? else {
        return Ok(None);
    };
    payload.labels = all(conn, sql::LABELS, [id.as_bytes()], row::label)?;
    payload.replicas = all(conn, sql::REPLICAS, [id.as_bytes()], row::replica)?;
    Ok(Some(payload))
}

/// See the port.
pub(super) fn list(conn: &Connection, query: &ListQuery) -> Result<Vec<Payload>, Fault> {
    let namespace = query.namespace.as_str();
    let after = position(query.after.as_ref());
    let ids = match query.state {
        Some(state) => all(
            conn,
            sql::LIST_STATE,
            params![namespace, state.as_str(), after, query.limit],
            row::payload_id,
        ),
        None => all(conn, sql::LIST, params![namespace, after, query.limit], row::payload_id),
    };
    payloads(conn, ids?)
}

/// See the port.
pub(super) fn resident(
    conn: &Connection,
    node: NodeId,
    after: Option<PayloadId>,
    limit: u32,
) -> Result<Vec<Payload>, Fault> {
    let position = position(after.as_ref());
    let ids = all(
        conn,
        sql::RESIDENT,
        params![node.as_bytes(), position, limit],
        row::payload_id,
    )?;
    payloads(conn, ids)
}

fn position(after: Option<&PayloadId>) -> &[u8] {
    after.map_or(BEFORE_ALL, |id| id.as_bytes())
}

fn payloads(conn: &Connection, ids: Vec<PayloadId>) -> Result<Vec<Payload>, Fault> {
    ids.into_iter().filter_map(|id| payload(conn, id).transpose()).collect()
}

/// See the port.
pub(super) fn due(conn: &Connection, now: Timestamp, limit: u32) -> Result<Vec<PayloadId>, Fault> {
    all(conn, sql::DUE, params![now.as_micros(), limit], row::payload_id)
}

/// See the port.
pub(super) fn next_deadline(conn: &Connection) -> Result<Option<Timestamp>, Fault> {
    one(conn, sql::NEXT_DEADLINE, [i64::MIN], |found| {
        Ok(Timestamp::from_micros(found.get(0)?))
    })
}

/// See the port.
pub(super) fn containers_in_use(conn: &Connection, containers: &[Container]) -> Result<Vec<bool>, Fault> {
    let mut statement = conn.prepare_cached(sql::CONTAINER_IN_USE)?;
    containers
        .iter()
        .map(|container| {
            let bytes = row::container_bytes(container);
            Ok(statement.query_row(params![bytes, tier(container).as_str()], |found| found.get(0))?)
        })
        .collect()
}

fn tier(container: &Container) -> payload_core::Tier {
    match container {
        Container::Segment(segment) => Location::Segment(*segment).tier(),
        Container::File(file) => Location::File(*file).tier(),
    }
}

/// See the port.
pub(super) fn usage(conn: &Connection, node: NodeId) -> Result<Vec<Usage>, Fault> {
    let mut usage = all(conn, sql::USAGE, [node.as_bytes()], row::usage)?;
    usage.sort_by(|a, b| (a.tier, &a.namespace).cmp(&(b.tier, &b.namespace)));
    Ok(usage)
}

/// See the port.
pub(super) fn events(conn: &Connection, id: PayloadId) -> Result<Vec<(Version, EventRecord)>, Fault> {
    all(conn, sql::EVENTS, [id.as_bytes()], row::event)
}

/// See the port.
pub(super) fn request(
    conn: &Connection,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Option<RequestRecord>, Fault> {
    one(conn, sql::REQUEST, [principal.as_str(), request_id.as_str()], |found| {
        row::request(principal, request_id, found)
    })
}

/// The epoch at which a node was last claimed.
pub(super) fn epoch(conn: &Connection, node: NodeId) -> Result<Option<u64>, Fault> {
    one(conn, sql::EPOCH, [node.as_bytes()], |found| {
        row::uint(found, 0, "epoch")
    })
}

pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut items = Vec::new();
    while let Some(found) = rows.next()? {
        items.push(read(found)?);
    }
    Ok(items)
}

pub(super) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}
