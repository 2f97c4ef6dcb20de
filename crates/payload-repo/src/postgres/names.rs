//! Names in PostgreSQL: locked one by one, moved as the core decides, each written once for a batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use payload_core::naming::{self, NameStep};
use payload_core::{
    ChangeSet, Digest, NameChange, NameMove, NameRecord, Namespace, PayloadId, PayloadName, StateKind, Version,
};

use super::connect::Session;
use super::decide::{Effects, Seen};
use super::fault::Fault;
use super::row::int;
use super::{row, sql};
use crate::check::{AFTER_NAMES, Refusal, names_start};

/// Which name of which namespace.
pub(super) type Key = (Namespace, PayloadName);

/// What the database holds of a name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pointer {
    /// What it points at, with the state of that.
    pub(super) current: Option<(PayloadId, StateKind)>,
    /// Its last move.
    pub(super) last: Option<Version>,
}

/// What becomes of the names of a batch.
#[derive(Debug, Default)]
pub(super) struct Moved<'a> {
    /// Where each points at the end; absent if it points at nothing.
    pub(super) ends: BTreeMap<Key, Option<(&'a NameChange, Version)>>,
    /// Every move, in order.
    pub(super) moves: Vec<(&'a NameChange, NameMove)>,
}

/// The names that a batch is about.
fn keys(sets: &[ChangeSet]) -> BTreeSet<Key> {
    let changes = sets.iter().filter_map(|set| set.name.as_ref());
    changes
        .map(|change| (change.namespace.clone(), change.naming.name.clone()))
        .collect()
}

/// The payloads that names are to point at.
pub(super) fn targets(sets: &[ChangeSet]) -> impl Iterator<Item = PayloadId> {
    sets.iter().filter_map(|set| set.name.as_ref()?.to)
}

/// Keeps everybody else from moving the names of a batch, and finds out where they point. A name that is not there has
/// no row to lock, so the locks are on numbers made of the names; two that share a number only wait for each other.
pub(super) async fn find(session: &Session, sets: &[ChangeSet]) -> Result<HashMap<Key, Pointer>, Fault> {
    let keys = keys(sets);
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let number = |(namespace, name): &Key| {
        let digest = Digest::of(format!("name {namespace} {name}").as_bytes());
        let first: [u8; 8] = digest.as_bytes()[..8].try_into().expect("a digest is longer");
        i64::from_le_bytes(first)
    };
    // In order, so that two batches never wait for each other.
    let numbers: BTreeSet<i64> = keys.iter().map(number).collect();
    let numbers: Vec<i64> = numbers.into_iter().collect();
    let (namespaces, names): (Vec<&str>, Vec<&str>) = keys
        .iter()
        .map(|(namespace, name)| (namespace.as_str(), name.as_str()))
        .unzip();
    let (_, pointers) = futures_util::future::try_join(
        session.all(sql::LOCK_NAMES, &[&numbers], |_| Ok(())),
        session.all(sql::FIND_NAMES, &[&namespaces, &names], row::pointer),
    )
    .await?;
    Ok(pointers.into_iter().collect())
}

/// Decides about the name of a set whose changes fit; nothing is noted yet.
pub(super) fn decide(
    change: &NameChange,
    set: &ChangeSet,
    seen: &Seen,
    effects: &Effects<'_>,
) -> Result<NameStep, Fault> {
    let pointer = seen.names.get(&key(change)).copied().unwrap_or_default();
    let written = |id: PayloadId| {
        let own = set.changes.iter().rev().find(|change| change.after.id == id);
        let own = own.map(|change| &*change.after);
        own.or_else(|| effects.payloads.get(&id).map(|step| step.after))
    };
    let current = pointer
        .current
        .map(|(id, state)| (id, written(id).map_or(state, |row| row.state.kind())));
    let target = change.to.and_then(|id| match (written(id), seen.ends.get(&id)) {
        (Some(row), _) => (row.namespace == change.namespace).then(|| row.state.kind()),
        (None, Some(end)) => (end.namespace == change.namespace).then_some(end.state),
        (None, None) => None,
    });
    naming::decide(change, current, target).map_err(|refusal| Fault::refused(Refusal::Name(refusal)))
}

/// Notes what was decided.
pub(super) fn note<'a>(change: &'a NameChange, step: NameStep, seen: &mut Seen, effects: &mut Effects<'a>) {
    let NameStep::Move { from } = step else { return };
    let pointer = seen.names.entry(key(change)).or_default();
    let version = pointer.last.map_or(Version::FIRST, Version::next);
    *pointer = Pointer {
        // Only active payloads get names.
        current: change.to.map(|to| (to, StateKind::Active)),
        last: Some(version),
    };
    let moved = NameMove {
        version,
        from,
        to: change.to,
        actor: change.actor.clone(),
        reason: change.reason.clone(),
        at: change.at,
    };
    effects.names.moves.push((change, moved));
    let end = change.to.map(|_| (change, version));
    effects.names.ends.insert(key(change), end);
}

fn key(change: &NameChange) -> Key {
    (change.namespace.clone(), change.naming.name.clone())
}

/// The moves that are over with each move: the one before, and one that takes the name away.
pub(super) fn over<'a>(moves: &[(&'a NameChange, NameMove)]) -> Vec<(&'a NameChange, Version)> {
    let over = |(change, moved): &(&'a NameChange, NameMove)| {
        let change = *change;
        let last = moved.version.as_u64().checked_sub(1).filter(|last| *last > 0);
        let own = change.to.is_none().then_some(moved.version);
        let over = last.map(Version::from_u64).into_iter().chain(own);
        over.map(move |version| (change, version)).collect::<Vec<_>>()
    };
    moves.iter().flat_map(over).collect()
}

/// See the port.
pub(super) async fn get(
    session: &Session,
    namespace: &Namespace,
    name: &PayloadName,
) -> Result<Option<NameRecord>, Fault> {
    let key: [&str; 2] = [namespace.as_str(), name.as_str()];
    session.one(sql::NAME, &[&key[0], &key[1]], row::name).await
}

/// See the port.
pub(super) async fn list(
    session: &Session,
    namespace: &Namespace,
    prefix: &str,
    after: Option<&PayloadName>,
    limit: u32,
) -> Result<Vec<NameRecord>, Fault> {
    let (start, end) = (names_start(prefix, after), format!("{prefix}{AFTER_NAMES}"));
    let params: super::connect::Params<'_> = &[&namespace.as_str(), &start, &end, &i64::from(limit)];
    session.all(sql::NAMES, params, row::name).await
}

/// See the port.
pub(super) async fn of(session: &Session, payload: PayloadId) -> Result<Vec<PayloadName>, Fault> {
    session
        .all(sql::NAMES_OF, &[&row::uuid(payload.as_bytes())], row::name_text)
        .await
}

/// See the port.
pub(super) async fn history(
    session: &Session,
    namespace: &Namespace,
    name: &PayloadName,
    before: Option<Version>,
    limit: u32,
) -> Result<Vec<NameMove>, Fault> {
    let before = before.map_or(i64::MAX, |before| int(before.as_u64()));
    let params: super::connect::Params<'_> = &[&namespace.as_str(), &name.as_str(), &before, &i64::from(limit)];
    session.all(sql::NAME_HISTORY, params, row::name_move).await
}
