//! Namespaces in PostgreSQL: each statement guards itself, and what it did not do is asked about afterwards.

use payload_core::{Namespace, NamespaceRecord, Version};

use super::connect::Session;
use super::fault::Fault;
use super::row::int;
use super::{row, sql};
use crate::check::Refusal;

/// See the port.
pub(super) async fn create(session: &Session, record: &NamespaceRecord) -> Result<(), Fault> {
    let (version, at) = (int(record.version.as_u64()), record.created_at.as_micros());
    let (bytes, payloads) = (record.quota.bytes.map(int), record.quota.payloads.map(int));
    let (name, by) = (record.name.as_str(), record.created_by.as_str());
    let made = session
        .execute(sql::INSERT_NAMESPACE, &[&name, &version, &bytes, &payloads, &at, &by])
        .await?;
    done(made, || Refusal::NamespaceExists(record.name.clone()))
}

/// See the port.
pub(super) async fn update(session: &Session, record: &NamespaceRecord) -> Result<(), Fault> {
    let (name, version) = (record.name.as_str(), int(record.version.as_u64()));
    let (bytes, payloads) = (record.quota.bytes.map(int), record.quota.payloads.map(int));
    let changed = session
        .execute(sql::UPDATE_NAMESPACE, &[&name, &version, &bytes, &payloads])
        .await?;
    must_exist(session, &record.name).await?;
    done(changed, || Refusal::NamespaceChanged(record.name.clone()))
}

/// See the port. The caller keeps payloads from being made meanwhile.
pub(super) async fn remove(session: &Session, name: &Namespace, version: Version) -> Result<(), Fault> {
    must_exist(session, name).await?;
    let removed = session
        .execute(sql::DELETE_NAMESPACE, &[&name.as_str(), &int(version.as_u64())])
        .await?;
    done(removed, || Refusal::NamespaceChanged(name.clone()))?;
    let used = session
        .one(sql::NAMESPACE_IN_USE, &[&name.as_str()], row::payload_id)
        .await?;
    let read = |_: &tokio_postgres::Row| Ok(());
    let streams = session.one(sql::NAMESPACE_HAS_STREAMS, &[&name.as_str()], read).await?;
    match (used, streams) {
        (None, None) => Ok(()),
        _ => Err(Fault::refused(Refusal::NamespaceInUse(name.clone()))),
    }
}

async fn must_exist(session: &Session, name: &Namespace) -> Result<(), Fault> {
    let found = session
        .one(sql::NAMESPACE_EXISTS, &[&name.as_str()], row::namespace_name)
        .await?;
    match found {
        Some(_) => Ok(()),
        None => Err(Fault::refused(Refusal::NoNamespace(name.clone()))),
    }
}

/// See the port.
pub(super) async fn get(session: &Session, name: &Namespace) -> Result<Option<NamespaceRecord>, Fault> {
    session.one(sql::NAMESPACE, &[&name.as_str()], row::namespace).await
}

/// See the port.
pub(super) async fn list(
    session: &Session,
    after: Option<&Namespace>,
    limit: u32,
) -> Result<Vec<NamespaceRecord>, Fault> {
    let after = after.map_or("", Namespace::as_str);
    session
        .all(sql::NAMESPACES, &[&after, &i64::from(limit)], row::namespace)
        .await
}

fn done(rows: u64, refusal: impl FnOnce() -> Refusal) -> Result<(), Fault> {
    match rows {
        0 => Err(Fault::refused(refusal())),
        _ => Ok(()),
    }
}
