//! Namespaces in SQLite: each statement guards itself, and what it did not do is asked about afterwards.

use payload_core::{Actor, Namespace, NamespaceRecord, Quota, Version};
use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::row::{int, uint};
use super::{read, row, sql};
use crate::check::Refusal;

/// See the port.
pub(super) fn create(conn: &Connection, record: &NamespaceRecord) -> Result<(), Fault> {
    let made = conn.prepare_cached(sql::INSERT_NAMESPACE)?.execute(params![
        record.name.as_str(),
        int(record.version.as_u64()),
        record.quota.bytes.map(int),
        record.quota.payloads.map(int),
        record.created_at.as_micros(),
        record.created_by.as_str(),
    ])?;
    done(made, || Refusal::NamespaceExists(record.name.clone()))
}

/// See the port.
pub(super) fn update(conn: &Connection, record: &NamespaceRecord) -> Result<(), Fault> {
    must_exist(conn, &record.name)?;
    let changed = conn.prepare_cached(sql::UPDATE_NAMESPACE)?.execute(params![
        record.name.as_str(),
        int(record.version.as_u64()),
        record.quota.bytes.map(int),
        record.quota.payloads.map(int),
    ])?;
    done(changed, || Refusal::NamespaceChanged(record.name.clone()))
}

/// See the port.
pub(super) fn remove(conn: &Connection, name: &Namespace, version: Version) -> Result<(), Fault> {
    must_exist(conn, name)?;
    let removed = conn
        .prepare_cached(sql::DELETE_NAMESPACE)?
        .execute(params![name.as_str(), int(version.as_u64())])?;
    done(removed, || Refusal::NamespaceChanged(name.clone()))?;
    let mut statement = conn.prepare_cached(sql::NAMESPACE_IN_USE)?;
    match statement.query_row([name.as_str()], |found| found.get(0))? {
        true => Err(Fault::refused(Refusal::NamespaceInUse(name.clone()))),
        false => Ok(()),
    }
}

/// Refuses what needs a namespace that is not there. Part of whatever makes a payload.
pub(super) fn must_exist(conn: &Connection, name: &Namespace) -> Result<(), Fault> {
    match exists(conn, name)? {
        true => Ok(()),
        false => Err(Fault::refused(Refusal::NoNamespace(name.clone()))),
    }
}

/// Whether there is such a namespace.
pub(super) fn exists(conn: &Connection, name: &Namespace) -> Result<bool, Fault> {
    Ok(conn.prepare_cached(sql::NAMESPACE_EXISTS)?.exists([name.as_str()])?)
}

/// See the port.
pub(super) fn get(conn: &Connection, name: &Namespace) -> Result<Option<NamespaceRecord>, Fault> {
    read::one(conn, sql::NAMESPACE, [name.as_str()], record)
}

/// See the port.
pub(super) fn list(conn: &Connection, after: Option<&Namespace>, limit: u32) -> Result<Vec<NamespaceRecord>, Fault> {
    let after = after.map_or("", Namespace::as_str);
    read::all(conn, sql::NAMESPACES, params![after, limit], record)
}

fn done(rows: usize, refusal: impl FnOnce() -> Refusal) -> Result<(), Fault> {
    match rows {
        0 => Err(Fault::refused(refusal())),
        _ => Ok(()),
    }
}

fn record(found: &Row<'_>) -> Result<NamespaceRecord, Fault> {
    Ok(NamespaceRecord {
        name: row::word(found, 0, "name", |text| text.parse().ok())?,
        version: Version::from_u64(uint(found, 1, "version")?),
        quota: Quota {
            bytes: row::uint_maybe(found, 2, "quota_bytes")?,
            payloads: row::uint_maybe(found, 3, "quota_payloads")?,
        },
        created_at: row::time(found, 4)?,
        created_by: row::word(found, 5, "created_by", |text| Some(Actor::from_stored(text)))?,
    })
}
