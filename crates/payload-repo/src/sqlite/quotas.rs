//! Quotas in SQLite: what each namespace takes up is a row, moved and looked at by the transaction that changes payloads.

use payload_core::quota::{self, Growth};
use payload_core::{ChangeSet, Namespace, NamespaceUse, OverQuota, Quota};
use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::row::{self, uint};
use super::{read, sql};
use crate::check::Refusal;

/// Counts what a set adds and takes away, or refuses it for a quota that is not enough.
pub(super) fn charge(conn: &Connection, set: &ChangeSet) -> Result<(), Fault> {
    for (namespace, growth) in quota::growth(&set.changes) {
        if set.over_quota == OverQuota::Refuse
            && let Some(quota) = bounds(conn, namespace)?
        {
            let used = get(conn, namespace)?;
            let checked = quota.check(namespace, used, growth);
            checked.map_err(|exceeded| Fault::refused(Refusal::Quota(exceeded)))?;
        }
        add(conn, namespace, growth)?;
    }
    Ok(())
}

fn add(conn: &Connection, namespace: &Namespace, growth: Growth) -> Result<(), Fault> {
    let row = params![namespace.as_str(), growth.payloads, growth.bytes];
    conn.prepare_cached(sql::ADD_NAMESPACE_USE)?.execute(row)?;
    Ok(())
}

/// The quota of a namespace that has one.
pub(super) fn bounds(conn: &Connection, namespace: &Namespace) -> Result<Option<Quota>, Fault> {
    read::one(conn, sql::NAMESPACE_QUOTA, [namespace.as_str()], |found| {
        Ok(Quota {
            bytes: row::uint_maybe(found, 0, "quota_bytes")?,
            payloads: row::uint_maybe(found, 1, "quota_payloads")?,
        })
    })
}

/// See the port.
pub(super) fn get(conn: &Connection, namespace: &Namespace) -> Result<NamespaceUse, Fault> {
    let read = |found: &Row<'_>| {
        Ok(NamespaceUse {
            payloads: uint(found, 0, "payloads")?,
            bytes: uint(found, 1, "bytes")?,
        })
    };
    let found = read::one(conn, sql::NAMESPACE_USE, [namespace.as_str()], read)?;
    Ok(found.unwrap_or_default())
}
