//! The history in PostgreSQL, as far as its time is over: removed in transactions of a few rows, by one server at a time.

use std::collections::{BTreeMap, HashMap, HashSet};

use payload_core::port::Retention;
use payload_core::retention::{self, History, Removed};
use payload_core::{LoggedEvent, Namespace, Payload, PayloadId, Result, Timestamp, Version};
use tokio_postgres::Row;
use uuid::Uuid;

use super::begin::Locks;
use super::connect::{Params, Session};
use super::fault::Fault;
use super::row::{int, uint, uuid};
use super::{PostgresRepository, read, row, sql};
use crate::body;

impl Retention for PostgresRepository {
    fn logs(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>> {
        self.read(async |session| logs(session, after, limit).await)
    }

    fn event_base(&self, id: PayloadId) -> Result<Option<Payload>> {
        self.read(async |session| {
            let ids = [uuid(id.as_bytes())];
            let found = session.one(sql::EVENT_BASES, &[&&ids[..]], base).await?;
            Ok(found.map(|(_, base)| base))
        })
    }

    fn remove_history(&self, what: &History, before: Timestamp, limit: u32) -> Result<Removed> {
        let remove = async |session: &Session| match what {
            History::Events(namespace) => events(session, namespace, before, limit).await,
            History::Metadata => revisions(session, before, limit).await,
            History::Names => moves(session, before, limit).await,
            History::Tombstones => tombstones(session, before, limit).await,
        };
        self.write(|writer| writer.remove_history(Locks::to_remove(what), &remove))
    }
}

/// From one log to the next: there are many events in each, and few logs.
async fn logs(session: &Session, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, Fault> {
    let mut found: Vec<Namespace> = Vec::new();
    while found.len() < limit as usize {
        let after = found.last().or(after).map_or("", Namespace::as_str);
        let next = session.one(sql::NEXT_LOG, &[&after], row::namespace_name).await?;
        match next {
            Some(next) => found.push(next),
            None => break,
        }
    }
    Ok(found)
}

fn base(row: &Row) -> Result<(PayloadId, Payload), Fault> {
    let (id, version) = (row::payload_id(row)?, Version::from_u64(uint(row, "version")?));
    let bad = || Fault::bad_row("body");
    let body = body::decode(row::get(row, "body")?).ok_or_else(bad)?;
    let base = retention::restore(id, version, &body.delta).ok_or_else(bad)?;
    Ok((id, base))
}

async fn events(session: &Session, namespace: &Namespace, before: Timestamp, limit: u32) -> Result<Removed, Fault> {
    let (start, end) = read::log_bounds(session, namespace).await?;
    let (transaction, number) = (int(start.transaction), int(start.number));
    let (name, last) = (namespace.as_str(), int(end.transaction));
    let every_kind: [&str; 0] = [];
    let params: Params<'_> = &[&name, &transaction, &number, &last, &&every_kind[..], &i64::from(limit)];
    let found = session.all(sql::LOG, params, row::logged).await?;
    let found = found.into_iter().filter_map(|(_, event)| event);
    let old: Vec<LoggedEvent> = found.take_while(|event| event.record.at < before).collect();
    let Some(last) = old.last() else {
        return Ok(Removed::default());
    };
    let (transaction, number) = (int(last.position.transaction), int(last.position.number));
    put_bases(session, &old).await?;
    let through: Params<'_> = &[&name, &transaction, &number];
    session.execute(sql::DELETE_EVENTS, through).await?;
    session.execute(sql::PUT_LOG_START, through).await?;
    Ok(removed(old.len(), limit))
}

/// Adds events to what those before them add up to, for the payloads that are there.
async fn put_bases(session: &Session, old: &[LoggedEvent]) -> Result<(), Fault> {
    let mut of_payloads: BTreeMap<PayloadId, Vec<&LoggedEvent>> = BTreeMap::new();
    for event in old {
        of_payloads.entry(event.payload).or_default().push(event);
    }
    let ids: Vec<Uuid> = of_payloads.keys().map(|id| uuid(id.as_bytes())).collect();
    let there: HashMap<_, _> = session
        .all(sql::FIND_ENDS, &[&ids], row::end)
        .await?
        .into_iter()
        .collect();
    let mut bases: HashMap<_, _> = session
        .all(sql::EVENT_BASES, &[&ids], base)
        .await?
        .into_iter()
        .collect();
    let (mut ids, mut versions, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for (id, events) in of_payloads.into_iter().filter(|(id, _)| there.contains_key(id)) {
        let events = events.iter().map(|event| (event.version, &event.delta));
        if let Some(base) = retention::base(bases.remove(&id), id, events) {
            ids.push(uuid(id.as_bytes()));
            versions.push(int(base.version.as_u64()));
            bodies.push(body::encode(&retention::snapshot(&base), None));
        }
    }
    session
        .execute(sql::PUT_EVENT_BASES, &[&ids, &versions, &bodies])
        .await?;
    Ok(())
}

async fn revisions(session: &Session, before: Timestamp, limit: u32) -> Result<Removed, Fault> {
    let params: Params<'_> = &[&before.as_micros(), &i64::from(limit)];
    let over = session.all(sql::DELETE_SUPERSEDED, params, |found| {
        Ok((row::get::<Uuid>(found, "payload")?, row::get::<i64>(found, "revision")?))
    });
    let over = over.await?;
    let (payloads, revisions): (Vec<Uuid>, Vec<i64>) = over.iter().copied().unzip();
    session.execute(sql::DELETE_REVISIONS, &[&payloads, &revisions]).await?;
    Ok(removed(over.len(), limit))
}

async fn moves(session: &Session, before: Timestamp, limit: u32) -> Result<Removed, Fault> {
    let params: Params<'_> = &[&before.as_micros(), &i64::from(limit)];
    let over = session.all(sql::DELETE_MOVES_OVER, params, |found| {
        let text = |column| Ok::<_, Fault>(row::get::<&str>(found, column)?.to_owned());
        Ok((text("namespace")?, text("name")?, row::get::<i64>(found, "version")?))
    });
    let over = over.await?;
    let column = |of: fn(&(String, String, i64)) -> &str| over.iter().map(of).collect::<Vec<&str>>();
    let (namespaces, names) = (column(|over| &over.0), column(|over| &over.1));
    let versions: Vec<i64> = over.iter().map(|over| over.2).collect();
    session
        .execute(sql::DELETE_MOVES, &[&namespaces, &names, &versions])
        .await?;
    Ok(removed(over.len(), limit))
}

async fn tombstones(session: &Session, before: Timestamp, limit: u32) -> Result<Removed, Fault> {
    let params: Params<'_> = &[&before.as_micros(), &i64::from(limit)];
    let due = session.all(sql::DUE_TOMBSTONES, params, |found| {
        Ok((row::payload_id(found)?, row::get::<i64>(found, "at")?))
    });
    let due = due.await?;
    let ids: Vec<Uuid> = due.iter().map(|(id, _)| uuid(id.as_bytes())).collect();
    // In the order in which everybody locks them.
    session.all(sql::LOCK_PAYLOADS, &[&ids], row::version).await?;
    let mut stay: HashSet<PayloadId> = HashSet::new();
    for sql in [sql::FIND_PARENTS, sql::FIND_STORED] {
        stay.extend(session.all(sql, &[&ids], row::payload_id).await?);
    }
    let (stay, go): (Vec<_>, Vec<_>) = due.iter().copied().partition(|(id, _)| stay.contains(id));
    let uuids = |rows: &[(PayloadId, i64)]| rows.iter().map(|(id, _)| uuid(id.as_bytes())).collect::<Vec<Uuid>>();
    session.execute(sql::PARK_TOMBSTONES, &[&uuids(&stay)]).await?;

    let gone = uuids(&go);
    let times: Vec<i64> = go.iter().map(|(_, at)| *at).collect();
    let parents = session.all(sql::PARENTS, &[&gone], row::payload_id).await?;
    session.execute(sql::NAMES_OVER, &[&gone, &times]).await?;
    for sql in [
        sql::DELETE_NAMES_OF,
        sql::DELETE_EDGES_OF,
        sql::DELETE_LABELS_OF,
        sql::DELETE_METADATA_OF,
        sql::DELETE_EVENT_BASES,
        sql::DELETE_TOMBSTONES,
        sql::DELETE_PAYLOADS,
    ] {
        session.execute(sql, &[&gone]).await?;
    }
    let parents: Vec<Uuid> = parents.iter().map(|id| uuid(id.as_bytes())).collect();
    let woken = session.execute(sql::UNPARK_TOMBSTONES, &[&parents]).await?;
    let mut payloads: Vec<PayloadId> = go.into_iter().map(|(id, _)| id).collect();
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
