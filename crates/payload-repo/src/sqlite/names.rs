//! Names in SQLite: moved as the core decides, inside the transaction of their change set.

use payload_core::naming::{self, NameStep};
use payload_core::{Actor, NameChange, NameMove, NameRecord, Namespace, PayloadId, PayloadName, StateKind, Version};
use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::row::{int, uint};
use super::{read, row, sql};
use crate::check::{AFTER_NAMES, Refusal, names_start};

/// Moves the name, or refuses to.
pub(super) fn apply(conn: &Connection, change: &NameChange) -> Result<(), Fault> {
    let key = (change.namespace.as_str(), change.naming.name.as_str());
    let current = read::one(conn, sql::NAME_TARGET, key, target)?;
    let state = match change.to {
        Some(payload) => state_of(conn, &change.namespace, payload)?,
        None => None,
    };
    let step = naming::decide(change, current, state).map_err(|refusal| Fault::refused(Refusal::Name(refusal)))?;
    let NameStep::Move { from } = step else { return Ok(()) };
    let last = read::one(conn, sql::NAME_LAST_MOVE, key, |found| uint(found, 0, "version"))?;
    let last = last.map(Version::from_u64);
    let version = last.map_or(Version::FIRST, Version::next);
    // The last move is over, and so is one that takes the name away.
    for over in last.into_iter().chain(change.to.is_none().then_some(version)) {
        conn.prepare_cached(sql::MOVE_OVER)?.execute(params![
            change.at.as_micros(),
            key.0,
            key.1,
            int(over.as_u64())
        ])?;
    }
    conn.prepare_cached(sql::INSERT_NAME_MOVE)?.execute(params![
        key.0,
        key.1,
        int(version.as_u64()),
        from.as_ref().map(PayloadId::as_bytes),
        change.to.as_ref().map(PayloadId::as_bytes),
        change.actor.as_str(),
        change.reason,
        change.at.as_micros(),
    ])?;
    match change.to {
        None => conn.prepare_cached(sql::DELETE_NAME)?.execute(key)?,
        Some(to) => conn.prepare_cached(sql::PUT_NAME)?.execute(params![
            key.0,
            key.1,
            to.as_bytes(),
            int(version.as_u64()),
            change.actor.as_str(),
            change.at.as_micros(),
        ])?,
    };
    Ok(())
}

fn state_of(conn: &Connection, namespace: &Namespace, payload: PayloadId) -> Result<Option<StateKind>, Fault> {
    let key = (payload.as_bytes(), namespace.as_str());
    read::one(conn, sql::NAMEABLE, key, |found| {
        row::word(found, 0, "state", row::state_kind)
    })
}

fn target(found: &Row<'_>) -> Result<(PayloadId, StateKind), Fault> {
    Ok((row::payload_id(found)?, row::word(found, 1, "state", row::state_kind)?))
}

/// See the port.
pub(super) fn get(conn: &Connection, namespace: &Namespace, name: &PayloadName) -> Result<Option<NameRecord>, Fault> {
    read::one(conn, sql::NAME, (namespace.as_str(), name.as_str()), record)
}

/// See the port.
pub(super) fn list(
    conn: &Connection,
    namespace: &Namespace,
    prefix: &str,
    after: Option<&PayloadName>,
    limit: u32,
) -> Result<Vec<NameRecord>, Fault> {
    let (start, end) = (names_start(prefix, after), format!("{prefix}{AFTER_NAMES}"));
    let params = params![namespace.as_str(), start, end, limit];
    read::all(conn, sql::NAMES, params, record)
}

/// See the port.
pub(super) fn of(conn: &Connection, payload: PayloadId) -> Result<Vec<PayloadName>, Fault> {
    read::all(conn, sql::NAMES_OF, [payload.as_bytes()], |found| name(found, 0))
}

/// See the port.
pub(super) fn history(
    conn: &Connection,
    namespace: &Namespace,
    name: &PayloadName,
    before: Option<Version>,
    limit: u32,
) -> Result<Vec<NameMove>, Fault> {
    let before = before.map_or(i64::MAX, |before| int(before.as_u64()));
    let params = params![namespace.as_str(), name.as_str(), before, limit];
    read::all(conn, sql::NAME_HISTORY, params, moved)
}

fn name(found: &Row<'_>, index: usize) -> Result<PayloadName, Fault> {
    row::word(found, index, "name", |text| text.parse().ok())
}

fn actor(found: &Row<'_>, index: usize) -> Result<Actor, Fault> {
    row::word(found, index, "actor", |text| Some(Actor::from_stored(text)))
}

fn record(found: &Row<'_>) -> Result<NameRecord, Fault> {
    Ok(NameRecord {
        payload: row::payload_id(found)?,
        name: name(found, 1)?,
        version: Version::from_u64(uint(found, 2, "version")?),
        actor: actor(found, 3)?,
        at: row::time(found, 4)?,
    })
}

fn moved(found: &Row<'_>) -> Result<NameMove, Fault> {
    Ok(NameMove {
        version: Version::from_u64(uint(found, 0, "version")?),
        from: row::payload_id_maybe(found, 1, "from_payload")?,
        to: row::payload_id_maybe(found, 2, "to_payload")?,
        actor: actor(found, 3)?,
        reason: found.get(4)?,
        at: row::time(found, 5)?,
    })
}
