//! The queries of the port, on one connection inside one snapshot.

use payload_core::port::Usage;
use payload_core::{
    Container, Location, LogPage, LogPosition, LogQuery, NodeId, Payload, PayloadId, Principal, RequestId,
    RequestRecord, Timestamp, Version, limits,
};
use rusqlite::{Connection, Params, Row, params};

use super::fault::Fault;
use super::{row, sql};
use crate::log::Pager;

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

/// The version of a payload, if it is there.
pub(super) fn version(conn: &Connection, id: PayloadId) -> Result<Option<Version>, Fault> {
    one(conn, sql::VERSION, [id.as_bytes()], |found| {
        row::uint(found, 0, "version").map(Version::from_u64)
    })
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
    payloads(conn, &ids)
}

fn position(after: Option<&PayloadId>) -> &[u8] {
    after.map_or(BEFORE_ALL, |id| id.as_bytes())
}

pub(super) fn payloads(conn: &Connection, ids: &[PayloadId]) -> Result<Vec<Payload>, Fault> {
    ids.iter().filter_map(|id| payload(conn, *id).transpose()).collect()
}

/// See the port.
pub(super) fn deletions(
    conn: &Connection,
    node: NodeId,
    after: Option<PayloadId>,
    limit: u32,
) -> Result<Vec<PayloadId>, Fault> {
    let position = position(after.as_ref());
    let params = params![node.as_bytes(), position, limit];
    all(conn, sql::DELETIONS, params, row::payload_id)
}

/// See the port.
pub(super) fn due(conn: &Connection, node: NodeId, now: Timestamp, limit: u32) -> Result<Vec<PayloadId>, Fault> {
    let params = params![node.as_bytes(), now.as_micros(), limit];
    all(conn, sql::DUE, params, row::payload_id)
}

/// See the port.
pub(super) fn next_deadline(conn: &Connection, node: NodeId) -> Result<Option<Timestamp>, Fault> {
    one(conn, sql::NEXT_DEADLINE, params![node.as_bytes(), i64::MIN], |found| {
        Ok(Timestamp::from_micros(found.get(0)?))
    })
}

/// See the port.
pub(super) fn containers_in_use(conn: &Connection, containers: &[Container]) -> Result<Vec<bool>, Fault> {
    let mut statement = conn.prepare_cached(sql::CONTAINER_IN_USE)?;
    containers
        .iter()
        .map(|container| {
            Ok(
                statement.query_row(params![container.as_bytes(), container.tier().as_str()], |found| {
                    found.get(0)
                })?,
            )
        })
        .collect()
}

/// See the port.
pub(super) fn payloads_in(
    conn: &Connection,
    container: &Container,
    after: Option<PayloadId>,
    limit: u32,
) -> Result<Vec<(PayloadId, u64)>, Fault> {
    let position = position(after.as_ref());
    let params = params![container.as_bytes(), container.tier().as_str(), position, limit];
    all(conn, sql::PAYLOADS_IN, params, |found| {
        Ok((row::payload_id(found)?, row::uint(found, 1, "charged")?))
    })
}

/// Whether a payload has its bytes at a location.
pub(super) fn is_place_of(conn: &Connection, id: PayloadId, location: &Location) -> Result<bool, Fault> {
    let mut statement = conn.prepare_cached(sql::IS_PLACE_OF)?;
    let container = location.container();
    let place = params![
        id.as_bytes(),
        container.as_bytes(),
        container.tier().as_str(),
        row::int(location.offset())
    ];
    Ok(statement.query_row(place, |found| found.get(0))?)
}

/// See the port.
pub(super) fn usage(conn: &Connection, node: NodeId) -> Result<Vec<Usage>, Fault> {
    let mut usage = all(conn, sql::USAGE, [node.as_bytes()], row::usage)?;
    usage.sort_by(|a, b| (a.tier, &a.namespace).cmp(&(b.tier, &b.namespace)));
    Ok(usage)
}

/// See the port. What is wrong with the query is told apart from what is wrong with the file.
pub(super) fn log(conn: &Connection, query: &LogQuery) -> Result<payload_core::Result<LogPage>, Fault> {
    let namespace = query.filter.namespace.as_str();
    let (start, end) = (log_start(conn, namespace)?, log_end(conn, namespace)?);
    let mut pager = match Pager::new(query, start, end) {
        Ok(pager) => pager,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (after, limit) = (row::int(pager.after().number), limits::LOG_SCAN_MAX + 1);
    let (mut whole, mut of_payload);
    let mut rows = match &query.filter.payload {
        None => {
            whole = conn.prepare_cached(sql::LOG)?;
            whole.query(params![namespace, after, limit])?
        }
        Some(id) => {
            of_payload = conn.prepare_cached(sql::LOG_OF_PAYLOAD)?;
            of_payload.query(params![namespace, after, limit, id.as_bytes()])?
        }
    };
    while let Some(found) = rows.next()? {
        if !pager.look_at(row::position(found)?) {
            break;
        }
        if query.filter.wants(row::event_kind(found)?) {
            pager.add(row::event(found)?);
        }
    }
    Ok(Ok(pager.finish(end)))
}

/// Up to where events were removed.
pub(super) fn log_start(conn: &Connection, namespace: &str) -> Result<LogPosition, Fault> {
    let removed = one(conn, sql::LOG_START, [namespace], row::position)?;
    Ok(removed.unwrap_or(LogPosition::START))
}

/// See the port. A log of which everything was removed ends where the removal did.
pub(super) fn log_end(conn: &Connection, namespace: &str) -> Result<LogPosition, Fault> {
    let last = one(conn, sql::LOG_END, [namespace], |found| {
        let last: Option<i64> = found.get(0)?;
        last.map(|_| row::position(found)).transpose()
    })?;
    match last.flatten() {
        Some(last) => Ok(last),
        None => log_start(conn, namespace),
    }
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

/// Every row of an answer.
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

/// The first row of an answer, if there is one.
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
