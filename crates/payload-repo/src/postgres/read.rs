//! The queries of the port, each one statement and so one snapshot.

use payload_core::port::Usage;
use payload_core::{
    Container, LogPage, LogPosition, LogQuery, LoggedEvent, Namespace, NodeId, Payload, PayloadId, Principal,
    RequestId, RequestRecord, Timestamp,
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::connect::{Params, Session};
use super::fault::Fault;
use super::{row, sql};
use crate::log::Pager;

/// How many events of a log are fetched at a time.
const LOG_ROWS: i64 = 200;

/// One payload with what hangs on it.
pub(super) async fn payload(session: &Session, id: PayloadId) -> Result<Option<Payload>, Fault> {
    session
        .one(sql::PAYLOAD, &[&row::uuid(id.as_bytes())], row::payload)
        .await
}

/// See the port.
pub(super) async fn resident(
    session: &Session,
    node: NodeId,
    after: Option<PayloadId>,
    limit: u32,
) -> Result<Vec<Payload>, Fault> {
    let node = row::uuid(node.as_bytes());
    let (after, limit) = (position(after), i64::from(limit));
    session.all(sql::RESIDENT, &[&node, &after, &limit], row::payload).await
}

/// The nil id comes before every other, and belongs to no payload.
fn position(after: Option<PayloadId>) -> Uuid {
    after.map_or(Uuid::nil(), |id| row::uuid(id.as_bytes()))
}

/// See the port.
pub(super) async fn deletions(
    session: &Session,
    node: NodeId,
    after: Option<PayloadId>,
    limit: u32,
) -> Result<Vec<PayloadId>, Fault> {
    let node = row::uuid(node.as_bytes());
    let (after, limit) = (position(after), i64::from(limit));
    let params: Params<'_> = &[&node, &after, &limit];
    session.all(sql::DELETIONS, params, row::payload_id).await
}

/// See the port.
pub(super) async fn due(session: &Session, node: NodeId, now: Timestamp, limit: u32) -> Result<Vec<PayloadId>, Fault> {
    let node = row::uuid(node.as_bytes());
    let params: Params<'_> = &[&node, &now.as_micros(), &i64::from(limit)];
    session.all(sql::DUE, params, row::payload_id).await
}

/// See the port.
pub(super) async fn next_deadline(session: &Session, node: NodeId) -> Result<Option<Timestamp>, Fault> {
    let node = row::uuid(node.as_bytes());
    session
        .one(sql::NEXT_DEADLINE, &[&node, &i64::MIN], |found| {
            Ok(Timestamp::from_micros(row::get(found, "deadline")?))
        })
        .await
}

/// See the port.
pub(super) async fn containers_in_use(session: &Session, containers: &[Container]) -> Result<Vec<bool>, Fault> {
    let ids: Vec<Uuid> = containers.iter().map(row::container).collect();
    let tiers: Vec<&str> = containers.iter().map(|one| one.tier().as_str()).collect();
    session
        .all(sql::CONTAINERS_IN_USE, &[&ids, &tiers], |found| row::get(found, "used"))
        .await
}

/// See the port.
pub(super) async fn payloads_in(
    session: &Session,
    container: &Container,
    after: Option<PayloadId>,
    limit: u32,
) -> Result<Vec<(PayloadId, u64)>, Fault> {
    let (id, tier) = (row::container(container), container.tier().as_str());
    let (after, limit) = (position(after), i64::from(limit));
    let params: Params<'_> = &[&id, &tier, &after, &limit];
    session
        .all(sql::PAYLOADS_IN, params, |found| {
            Ok((row::payload_id(found)?, row::uint(found, "charged")?))
        })
        .await
}

/// See the port.
pub(super) async fn usage(session: &Session, node: NodeId) -> Result<Vec<Usage>, Fault> {
    let node = row::uuid(node.as_bytes());
    let mut usage = session.all(sql::USAGE, &[&node], row::usage).await?;
    usage.sort_by(|a, b| (a.tier, &a.namespace).cmp(&(b.tier, &b.namespace)));
    Ok(usage)
}

/// See the port. What is wrong with the query is told apart from what is wrong with the database.
pub(super) async fn log(session: &Session, query: &LogQuery) -> Result<payload_core::Result<LogPage>, Fault> {
    let (start, end) = log_bounds(session, &query.filter.namespace).await?;
    let mut pager = match Pager::new(query, start, end) {
        Ok(pager) => pager,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut after = pager.after();
    loop {
        let rows = log_rows(session, query, after, end).await?;
        let is_last = rows.len() < LOG_ROWS as usize;
        for (position, event) in rows {
            if !pager.look_at(position) {
                return Ok(Ok(pager.finish(end)));
            }
            event.into_iter().for_each(|event| pager.add(event));
            after = position;
        }
        if is_last {
            return Ok(Ok(pager.finish(end)));
        }
    }
}

async fn log_rows(
    session: &Session,
    query: &LogQuery,
    after: LogPosition,
    end: LogPosition,
) -> Result<Vec<(LogPosition, Option<LoggedEvent>)>, Fault> {
    let namespace = query.filter.namespace.as_str();
    let kinds: Vec<&str> = query.filter.kinds.iter().map(|kind| kind.as_str()).collect();
    let (transaction, number) = (row::int(after.transaction), row::int(after.number));
    let last = row::int(end.transaction);
    match query.filter.payload {
        None => {
            let params: [&(dyn ToSql + Sync); 6] = [&namespace, &transaction, &number, &last, &kinds, &LOG_ROWS];
            session.all(sql::LOG, &params, row::logged).await
        }
        Some(id) => {
            let id = row::uuid(id.as_bytes());
            let params: [&(dyn ToSql + Sync); 7] = [&namespace, &transaction, &number, &last, &kinds, &LOG_ROWS, &id];
            session.all(sql::LOG_OF_PAYLOAD, &params, row::logged).await
        }
    }
}

/// See the port.
pub(super) async fn log_end(session: &Session, namespace: &Namespace) -> Result<LogPosition, Fault> {
    Ok(log_bounds(session, namespace).await?.1)
}

/// Up to where events were removed, and up to where none will be added any more.
pub(super) async fn log_bounds(session: &Session, namespace: &Namespace) -> Result<(LogPosition, LogPosition), Fault> {
    let bounds = session
        .one(sql::LOG_BOUNDS, &[&namespace.as_str()], |found| {
            let removed = row::get::<Option<i64>>(found, "transaction")?;
            let start = removed.map(|_| row::position(found)).transpose()?;
            let end = LogPosition {
                transaction: row::uint(found, "last")?,
                number: i64::MAX as u64,
            };
            Ok((start.unwrap_or(LogPosition::START), end))
        })
        .await?;
    bounds.ok_or_else(|| Fault::bad_row("transaction"))
}

/// See the port.
pub(super) async fn request(
    session: &Session,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Option<RequestRecord>, Fault> {
    let key: [&str; 2] = [principal.as_str(), request_id.as_str()];
    session.one(sql::REQUEST, &[&key[0], &key[1]], row::request).await
}
