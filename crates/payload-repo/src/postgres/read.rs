//! The queries of the port, each one statement and so one snapshot.

use payload_core::page::ListQuery;
use payload_core::port::Usage;
use payload_core::{
    Container, EventRecord, NodeId, Payload, PayloadId, Principal, RequestId, RequestRecord, Timestamp, Version,
};
use uuid::Uuid;

use super::connect::Session;
use super::fault::Fault;
use super::{row, sql};

/// One payload with what hangs on it.
pub(super) async fn payload(session: &Session, id: PayloadId) -> Result<Option<Payload>, Fault> {
    session
        .one(sql::PAYLOAD, &[&row::uuid(id.as_bytes())], row::payload)
        .await
}

/// See the port.
pub(super) async fn list(session: &Session, query: &ListQuery) -> Result<Vec<Payload>, Fault> {
    let namespace = query.namespace.as_str();
    let (after, limit) = (position(query.after), i64::from(query.limit));
    match query.state {
        Some(state) => {
            let state = state.as_str();
            session
                .all(sql::LIST_STATE, &[&namespace, &state, &after, &limit], row::payload)
                .await
        }
        None => {
            session
                .all(sql::LIST, &[&namespace, &after, &limit], row::payload)
                .await
        }
    }
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
pub(super) async fn due(session: &Session, now: Timestamp, limit: u32) -> Result<Vec<PayloadId>, Fault> {
    session
        .all(sql::DUE, &[&now.as_micros(), &i64::from(limit)], row::payload_id)
        .await
}

/// See the port.
pub(super) async fn next_deadline(session: &Session) -> Result<Option<Timestamp>, Fault> {
    session
        .one(sql::NEXT_DEADLINE, &[&i64::MIN], |found| {
            Ok(Timestamp::from_micros(row::get(found, "deadline")?))
        })
        .await
}

/// See the port.
pub(super) async fn containers_in_use(session: &Session, containers: &[Container]) -> Result<Vec<bool>, Fault> {
    let ids: Vec<Uuid> = containers.iter().map(row::container).collect();
    let tiers: Vec<&str> = containers.iter().map(|one| row::tier_of(one).as_str()).collect();
    session
        .all(sql::CONTAINERS_IN_USE, &[&ids, &tiers], |found| row::get(found, "used"))
        .await
}

/// See the port.
pub(super) async fn usage(session: &Session, node: NodeId) -> Result<Vec<Usage>, Fault> {
    let node = row::uuid(node.as_bytes());
    let mut usage = session.all(sql::USAGE, &[&node], row::usage).await?;
    usage.sort_by(|a, b| (a.tier, &a.namespace).cmp(&(b.tier, &b.namespace)));
    Ok(usage)
}

/// See the port.
pub(super) async fn events(session: &Session, id: PayloadId) -> Result<Vec<(Version, EventRecord)>, Fault> {
    session.all(sql::EVENTS, &[&row::uuid(id.as_bytes())], row::event).await
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
