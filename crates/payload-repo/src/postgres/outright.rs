//! A batch in one round trip: for sets that only make and change payloads, which is most of them.
//!
//! What such a batch would find out first can be foreseen: the payloads are where its decisions saw them, its requests are new,
//! its namespaces are there and have no quota. So it is decided as if that were known, and one statement checks it while
//! it writes. If anything is not as it was foreseen, the statement fails and nothing has happened; then the batch is done in
//! two round trips, which find out what is the matter.

use std::collections::HashSet;

use futures_util::future;
use payload_core::{Change, ChangeSet, CommitOutcome, Namespace, OverQuota};

use super::apply::{self, COMMIT, Column};
use super::begin::{self, Claim, Locks, Sync};
use super::connect::Session;
use super::decide::{Effects, Outcomes, Seen, Step};
use super::fault::Fault;
use super::row::{int, uuid};
use super::{quotas, row, sql};

/// Whether the sets only make payloads and lead them from version to version, and take nothing from them.
pub(super) fn fits(sets: &[ChangeSet]) -> bool {
    sets.iter().all(|set| {
        let ChangeSet {
            changes,
            edges,
            without_dependents,
            name,
            streams,
            request: _,
            over_quota: _,
            contents: _,
            durability: _,
        } = set;
        !changes.is_empty()
            && edges.is_empty()
            && without_dependents.is_none()
            && name.is_none()
            && streams.is_empty()
            && changes.iter().all(only_adds)
    })
}

fn only_adds(change: &Change) -> bool {
    let step = Step {
        before: change.before.as_deref(),
        after: &change.after,
    };
    change.metadata.is_none()
        && !change.ends()
        && apply::turned(&[step]).is_empty()
        && apply::gone_labels(step).next().is_none()
        && apply::gone_replicas(step).next().is_none()
}

/// What the database has if it is as the sets' decisions saw it.
pub(super) fn foreseen(sets: &[ChangeSet]) -> Seen {
    let mut seen = Seen::default();
    for change in sets.iter().flat_map(|set| &set.changes) {
        seen.namespaces.insert(change.after.namespace.clone());
        if let Some(before) = &change.before {
            seen.versions.entry(before.id).or_insert(before.version);
        }
    }
    seen
}

/// Whether there is nothing to do but to write what was decided.
pub(super) fn is_foreseen(claim: Claim, outcomes: &Outcomes, effects: &Effects<'_>) -> bool {
    let applied = |outcome: &Result<CommitOutcome, Fault>| matches!(outcome, Ok(CommitOutcome::Applied));
    outcomes.iter().all(applied) && apply::notify_owners(claim.node, effects).rows == 0
}

/// Writes and commits; gives the number of the batch. A refusal says that something is not as it was foreseen.
pub(super) async fn commit(
    session: &Session,
    sync: Sync,
    claim: Claim,
    sets: &[ChangeSet],
    effects: &Effects<'_>,
) -> Result<u64, Fault> {
    let begin = begin::begin(sync, Locks::of(sets));
    let columns = columns(claim, sets, effects);
    let params = apply::params(&columns);
    let number = session.one(sql::COMMIT_OUTRIGHT, &params, |found| row::uint(found, "batch"));
    let ((), number, ()) = future::try_join3(session.batch(&begin), number, session.batch(COMMIT)).await?;
    number.ok_or_else(|| Fault::bad_row("batch"))
}

/// In the order of the statement's parameters.
fn columns<'e>(claim: Claim, sets: &[ChangeSet], effects: &'e Effects<'_>) -> Vec<Column<'e>> {
    let names = |names: HashSet<&Namespace>| -> Column<'e> {
        Box::new(
            names
                .into_iter()
                .map(|name| name.as_str().to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let bounded = sets.iter().filter(|set| set.over_quota == OverQuota::Refuse);
    let bounded = bounded.flat_map(|set| &set.changes);
    let new = effects.changes.iter().filter(|change| change.before.is_none());
    let mut columns: Vec<Column<'e>> = vec![
        Box::new(uuid(claim.node.as_bytes())),
        Box::new(claim.token),
        Box::new(int(claim.synced)),
        names(new.map(|change| &change.after.namespace).collect()),
        names(bounded.map(|change| &change.after.namespace).collect()),
    ];
    let steps: Vec<Step<'e>> = effects.payloads.values().copied().collect();
    let (known, new): (Vec<Step<'e>>, Vec<Step<'e>>) = steps.iter().partition(|step| step.before.is_some());
    let versions = known.iter().filter_map(|step| step.before);
    let versions: Vec<i64> = versions.map(|before| int(before.version.as_u64())).collect();
    columns.extend(apply::insert_payloads(&apply::rows(&new)).columns);
    columns.extend(apply::update_payloads(&apply::rows(&known)).columns);
    columns.push(Box::new(versions));
    for write in [
        apply::put_labels(&apply::new_labels(&steps)),
        apply::put_replicas(&apply::hanging(&steps, apply::new_replicas)),
        apply::add_usage(&apply::usage(&steps)),
        apply::insert_events(&effects.changes),
        quotas::add(claim.node, effects),
        apply::insert_requests(&effects.requests),
    ] {
        columns.extend(write.columns);
    }
    columns
}
