//! The history in SQLite, as far as its time is over: removed in transactions of a few rows.

use std::collections::BTreeMap;

use payload_core::port::Retention;
use payload_core::retention::{self, History, Removed};
use payload_core::{LoggedEvent, Namespace, Payload, PayloadId, Result, Timestamp, Version};
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::row::{int, uint};
use super::{SqliteRepository, read, row, sql};
use crate::body;

impl Retention for SqliteRepository {
    fn logs(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>> {
        self.read(|conn| logs(conn, after, limit))
    }

    fn event_base(&self, id: PayloadId) -> Result<Option<Payload>> {
        self.read(|conn| base(conn, id))
    }

    fn remove_history(&self, what: &History, before: Timestamp, limit: u32) -> Result<Removed> {
        self.write(|writer, claim| writer.remove_history(claim, |conn| remove(conn, what, before, limit)))
    }
}

fn remove(conn: &Connection, what: &History, before: Timestamp, limit: u32) -> Result<Removed, Fault> {
    match what {
        History::Events(namespace) => events(conn, namespace.as_str(), before, limit),
        History::Metadata => revisions(conn, before, limit),
        History::Names => moves(conn, before, limit),
        History::Tombstones => tombstones(conn, before, limit),
    }
}

/// From one log to the next: there are many events in each, and few logs.
fn logs(conn: &Connection, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, Fault> {
    let mut found: Vec<Namespace> = Vec::new();
    while found.len() < limit as usize {
        let after = found.last().or(after).map_or("", Namespace::as_str);
        let next = read::one(conn, sql::NEXT_LOG, [after], |found| {
            row::word(found, 0, "namespace", |text| text.parse().ok())
        })?;
        match next {
            Some(next) => found.push(next),
            None => break,
        }
    }
    Ok(found)
}

fn base(conn: &Connection, id: PayloadId) -> Result<Option<Payload>, Fault> {
    let found = read::one(conn, sql::EVENT_BASE, [id.as_bytes()], |found| {
        let version = Version::from_u64(uint(found, 0, "version")?);
        let bytes = found.get_ref(1)?.as_blob().map_err(|_| Fault::bad_row("body"))?;
        let body = body::decode(bytes).ok_or_else(|| Fault::bad_row("body"))?;
        retention::restore(id, version, &body.delta).ok_or_else(|| Fault::bad_row("body"))
    })?;
    Ok(found)
}

fn events(conn: &Connection, namespace: &str, before: Timestamp, limit: u32) -> Result<Removed, Fault> {
    let start = read::log_start(conn, namespace)?;
    let mut old = read::all(conn, sql::LOG, params![namespace, int(start.number), limit], row::event)?;
    let due = old.iter().take_while(|event| event.record.at < before).count();
    old.truncate(due);
    let Some(last) = old.last() else {
        return Ok(Removed::default());
    };
    let mut of_payloads: BTreeMap<PayloadId, Vec<&LoggedEvent>> = BTreeMap::new();
    for event in &old {
        of_payloads.entry(event.payload).or_default().push(event);
    }
    for (id, events) in of_payloads {
        let is_there = read::one(conn, sql::EDGE_END, [id.as_bytes()], |_| Ok(()))?.is_some();
        let events = events.iter().map(|event| (event.version, &event.delta));
        if is_there && let Some(base) = retention::base(base(conn, id)?, id, events) {
            conn.prepare_cached(sql::PUT_EVENT_BASE)?.execute(params![
                id.as_bytes(),
                int(base.version.as_u64()),
                body::encode(&retention::snapshot(&base), None),
            ])?;
        }
    }
    let through = params![namespace, int(last.position.number)];
    conn.prepare_cached(sql::DELETE_EVENTS)?.execute(through)?;
    conn.prepare_cached(sql::PUT_LOG_START)?.execute(through)?;
    Ok(removed(old.len(), limit))
}

fn revisions(conn: &Connection, before: Timestamp, limit: u32) -> Result<Removed, Fault> {
    let due = read::all(conn, sql::DUE_REVISIONS, params![before.as_micros(), limit], |found| {
        Ok((
            found.get::<_, i64>(0)?,
            found.get::<_, Vec<u8>>(1)?,
            found.get::<_, i64>(2)?,
        ))
    })?;
    for (at, payload, revision) in &due {
        conn.prepare_cached(sql::DELETE_REVISIONS)?
            .execute(params![payload, revision])?;
        conn.prepare_cached(sql::DELETE_SUPERSEDED)?
            .execute(params![at, payload, revision])?;
    }
    Ok(removed(due.len(), limit))
}

fn moves(conn: &Connection, before: Timestamp, limit: u32) -> Result<Removed, Fault> {
    let due = read::all(conn, sql::DUE_MOVES, params![before.as_micros(), limit], |found| {
        Ok((
            found.get::<_, i64>(0)?,
            found.get::<_, String>(1)?,
            found.get::<_, String>(2)?,
            found.get::<_, i64>(3)?,
        ))
    })?;
    for (at, namespace, name, version) in &due {
        conn.prepare_cached(sql::DELETE_MOVE)?
            .execute(params![namespace, name, version])?;
        conn.prepare_cached(sql::DELETE_MOVE_OVER)?
            .execute(params![at, namespace, name, version])?;
    }
    Ok(removed(due.len(), limit))
}

fn tombstones(conn: &Connection, before: Timestamp, limit: u32) -> Result<Removed, Fault> {
    let due = read::all(conn, sql::DUE_TOMBSTONES, params![before.as_micros(), limit], |found| {
        Ok((row::payload_id(found)?, found.get::<_, i64>(1)?))
    })?;
    let mut going = Vec::new();
    for (id, at) in &due {
        match read::one(conn, sql::MUST_STAY, [id.as_bytes()], |_| Ok(()))? {
            None => going.push((*id, *at)),
            Some(()) => drop(conn.prepare_cached(sql::PARK_TOMBSTONE)?.execute([id.as_bytes()])?),
        }
    }
    let mut parents = Vec::new();
    for (id, at) in &going {
        parents.extend(read::all(conn, sql::PARENTS, [id.as_bytes()], row::payload_id)?);
        conn.prepare_cached(sql::NAMES_OVER)?
            .execute(params![id.as_bytes(), at])?;
        for statement in [
            sql::DELETE_NAMES_OF,
            sql::DELETE_EDGES_OF,
            sql::DELETE_LABELS_OF,
            sql::DELETE_METADATA_OF,
            sql::DELETE_EVENT_BASE,
            sql::DELETE_TOMBSTONE,
            sql::DELETE_PAYLOAD,
        ] {
            conn.prepare_cached(statement)?.execute([id.as_bytes()])?;
        }
    }
    let mut woken = 0;
    for parent in parents {
        woken += conn
            .prepare_cached(sql::UNPARK_TOMBSTONE)?
            .execute([parent.as_bytes()])?;
    }
    let mut payloads: Vec<PayloadId> = going.into_iter().map(|(id, _)| id).collect();
    payloads.sort_unstable();
    Ok(Removed {
        count: count(payloads.len()),
        more: due.len() == limit as usize || woken > 0,
        payloads,
    })
}

fn removed(found: usize, limit: u32) -> Removed {
    Removed {
        count: count(found),
        payloads: Vec::new(),
        more: found == limit as usize,
    }
}

fn count(found: usize) -> u32 {
    u32::try_from(found).expect("at most `limit` of them")
}
