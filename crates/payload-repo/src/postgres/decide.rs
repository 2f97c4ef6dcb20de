//! What becomes of each set of a batch, and what the applied ones add up to: decided in memory, once the rows are locked.

use std::collections::{BTreeMap, HashMap, HashSet};

use payload_core::lineage::{End, Graph};
use payload_core::stream::rules::PayloadSeen;
use payload_core::stream::{Appended, StreamChange, StreamRefusal};
use payload_core::{
    Change, ChangeSet, CommitOutcome, Namespace, Payload, PayloadId, Principal, RequestId, RequestRecord, Version,
};

use super::fault::Fault;
use super::names::{self, Moved, Pointer};
use super::overlay::{self, Added, EdgeKey};
use super::quotas::Quotas;
use crate::book::{self, Layer, Written};
use crate::check::Refusal;

/// What the database holds of that which a batch touches.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Of the payloads that exist.
    pub(super) versions: HashMap<PayloadId, Version>,
    /// Of the requests that were made before.
    pub(super) requests: HashMap<(Principal, RequestId), RequestRecord>,
    /// Those that payloads are made in.
    pub(super) namespaces: HashSet<Namespace>,
    /// What the sets are measured by.
    pub(super) quotas: Quotas,
    /// Where the names of the batch point.
    pub(super) names: HashMap<names::Key, Pointer>,
    /// The ends of edges, and what names are to point at, as far as they exist.
    pub(super) ends: HashMap<PayloadId, End>,
    /// The edges of the batch that are there already.
    pub(super) edges: HashSet<EdgeKey>,
    /// The children of edges that are nobody's parents.
    pub(super) childless: HashSet<PayloadId>,
}

/// What is to be written, each row once however often the batch changed it.
#[derive(Debug, Default)]
pub(super) struct Effects<'a> {
    /// From the row as it is, if it is, to the row as it shall be.
    pub(super) payloads: BTreeMap<PayloadId, Step<'a>>,
    /// Of the changes that were applied, in order.
    pub(super) changes: Vec<&'a Change>,
    /// Edges that are not there yet.
    pub(super) lineage: Added<'a>,
    /// Names that are moved.
    pub(super) names: Moved<'a>,
    /// To be remembered, with where they appended.
    pub(super) requests: Vec<(&'a RequestRecord, Option<Appended>)>,
    /// What has become of streams.
    pub(super) streams: Layer,
}

/// What became of each set. An error is that set's alone.
pub(super) type Outcomes = Vec<Result<CommitOutcome, Fault>>;

/// One payload over the whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    pub(super) before: Option<&'a Payload>,
    pub(super) after: &'a Payload,
}

impl Effects<'_> {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.names.moves.is_empty()
            && self.lineage.edges().is_empty()
            && self.requests.is_empty()
            && self.streams.is_empty()
    }
}

/// Knows what streams allow, and keeps what has become of them.
pub(super) trait Streams {
    /// Makes the changes of a set, or says why not; then nothing of it stays. `written` knows the payloads that the batch is
    /// about to write.
    fn apply(
        &mut self,
        changes: &[StreamChange],
        written: &Written<'_>,
    ) -> Result<Result<Option<Appended>, StreamRefusal>, Fault>;
}

/// Decides the sets in order, as if each came by itself: later ones see what earlier ones did. `graph` is the lineage in
/// the database.
pub(super) fn decide<'a, G: Graph<Error = Fault>>(
    sets: &'a [ChangeSet],
    mut seen: Seen,
    graph: &G,
    streams: &mut impl Streams,
) -> Result<(Outcomes, Effects<'a>), Fault> {
    let mut effects = Effects::default();
    let outcomes = sets
        .iter()
        .map(|set| match decide_one(set, &mut seen, &mut effects, graph, streams) {
            Err(fault) if !fault.is_refusal() => Err(fault),
            outcome => Ok(outcome),
        });
    let outcomes = outcomes.collect::<Result<_, Fault>>()?;
    Ok((outcomes, effects))
}

fn decide_one<'a, G: Graph<Error = Fault>>(
    set: &'a ChangeSet,
    seen: &mut Seen,
    effects: &mut Effects<'a>,
    graph: &G,
    streams: &mut impl Streams,
) -> Result<CommitOutcome, Fault> {
    let request = set.request.as_ref();
    let key = request.map(|request| (request.principal.clone(), request.request_id.clone()));
    if let Some(first) = key.as_ref().and_then(|key| seen.requests.get(key)) {
        return Ok(CommitOutcome::Duplicate(first.clone()));
    }
    if !fits(set, seen)? {
        return Ok(CommitOutcome::Conflict);
    }
    seen.quotas.check(set)?;
    let moved = match &set.name {
        Some(change) => Some((change, names::decide(change, set, seen, effects)?)),
        None => None,
    };
    let edges = effects.lineage.edges().len();
    if let Err(refusal) = overlay::add(set, seen, effects, graph)? {
        return Ok(CommitOutcome::Refused(refusal));
    }
    let written = |id: PayloadId| effects.written(set, id);
    let appended = match streams.apply(&set.streams, &written)? {
        Ok(appended) => appended,
        Err(refusal) => {
            effects.lineage.truncate(edges);
            return Ok(CommitOutcome::StreamRefused(refusal));
        }
    };
    seen.quotas.charge(set);
    for change in &set.changes {
        seen.versions.insert(change.after.id, change.after.version);
        effects.add(change);
    }
    if let Some((change, step)) = moved {
        names::note(change, step, seen, effects);
    }
    if let (Some(key), Some(request)) = (key, request) {
        let record = RequestRecord {
            appended,
            ..request.clone()
        };
        seen.requests.insert(key, record);
        effects.requests.push((request, appended));
    }
    Ok(appended.map_or(CommitOutcome::Applied, CommitOutcome::Appended))
}

/// Whether each change starts from the current version; a new payload also needs a namespace.
fn fits(set: &ChangeSet, seen: &Seen) -> Result<bool, Fault> {
    let mut own: HashMap<PayloadId, Version> = HashMap::new();
    for change in &set.changes {
        let current = own
            .get(&change.after.id)
            .or_else(|| seen.versions.get(&change.after.id));
        if current.copied() != change.before.as_ref().map(|before| before.version) {
            return Ok(false);
        }
        if change.before.is_none() && !seen.namespaces.contains(&change.after.namespace) {
            return Err(Fault::refused(Refusal::NoNamespace(change.after.namespace.clone())));
        }
        own.insert(change.after.id, change.after.version);
    }
    Ok(true)
}

impl<'a> Effects<'a> {
    /// The row of a payload that the set, or one before it, is about to write.
    fn written(&self, set: &ChangeSet, id: PayloadId) -> Option<PayloadSeen> {
        let own = set.changes.iter().rev().find(|change| change.after.id == id);
        let own = own.map(|change| &*change.after);
        own.or_else(|| self.payloads.get(&id).map(|step| step.after))
            .map(book::seen)
    }

    fn add(&mut self, change: &'a Change) {
        let step = self.payloads.entry(change.after.id).or_insert(Step {
            before: change.before.as_deref(),
            after: &change.after,
        });
        step.after = &change.after;
        self.changes.push(change);
    }
}

#[cfg(test)]
mod tests {
    use payload_core::Edge;
    use payload_core::lineage::{Direction, Link};
    use payload_testkit::repository::lineage::{active, edge};
    use payload_testkit::repository::sample::{Maker, changed, created, edited, set};

    use super::*;

    /// A database without edges.
    struct Nothing;

    impl Graph for Nothing {
        type Error = Fault;

        fn links(&self, _: Direction, _: &[PayloadId], _: usize) -> Result<Vec<Link>, Fault> {
            Ok(Vec::new())
        }

        fn live(&self, _: &[PayloadId]) -> Result<Option<PayloadId>, Fault> {
            Ok(None)
        }
    }

    /// Nobody says anything about streams.
    struct NoStreams;

    impl Streams for NoStreams {
        fn apply(
            &mut self,
            changes: &[StreamChange],
            _: &Written<'_>,
        ) -> Result<Result<Option<Appended>, StreamRefusal>, Fault> {
            assert!(changes.is_empty());
            Ok(Ok(None))
        }
    }

    fn decided(sets: &[ChangeSet], seen: Seen) -> (Vec<CommitOutcome>, Effects<'_>) {
        let seen = Seen {
            namespaces: [Namespace::default()].into(),
            ..seen
        };
        let (outcomes, effects) = decide(sets, seen, &Nothing, &mut NoStreams).unwrap();
        (outcomes.into_iter().map(Result::unwrap).collect(), effects)
    }

    #[test]
    fn later_sets_see_what_earlier_ones_did_and_nothing_of_those_that_failed() {
        let mut maker = Maker::new(1);
        let first = maker.allocated();
        let (second, rival) = (edited(&first, |row| row.size = 2), edited(&first, |row| row.size = 3));
        let (third, stranger) = (edited(&second, |_| ()), maker.allocated());
        let sets = [
            set([created(&first)]),
            set([created(&first)]),
            set([created(&stranger), changed(&second, &third)]),
            set([changed(&first, &second)]),
            set([changed(&first, &rival)]),
            set([changed(&second, &third), changed(&third, &edited(&third, |_| ()))]),
        ];
        let (outcomes, effects) = decided(&sets, Seen::default());
        use CommitOutcome::{Applied, Conflict};
        assert_eq!(outcomes, [Applied, Conflict, Conflict, Applied, Conflict, Applied]);
        let versions: Vec<u64> = effects
            .changes
            .iter()
            .map(|change| change.after.version.as_u64())
            .collect();
        assert_eq!(versions, [1, 2, 3, 4]);
        let step = effects.payloads[&first.id];
        assert_eq!(
            (effects.payloads.len(), step.before, step.after.version.as_u64()),
            (1, None, 4)
        );
    }

    #[test]
    fn a_step_starts_from_the_row_that_the_database_has() {
        let mut maker = Maker::new(2);
        let first = maker.allocated();
        let second = edited(&first, |row| row.size = 2);
        let third = edited(&second, |row| row.size = 3);
        let seen = || Seen {
            versions: [(first.id, first.version)].into(),
            ..Seen::default()
        };
        let sets = [set([changed(&first, &second)]), set([changed(&second, &third)])];
        let (outcomes, effects) = decided(&sets, seen());
        assert_eq!(outcomes, [CommitOutcome::Applied, CommitOutcome::Applied]);
        let step = effects.payloads[&first.id];
        assert_eq!((step.before, step.after), (Some(&first), &third));
        let (outcomes, effects) = decided(&sets[1..], seen());
        assert!(outcomes == [CommitOutcome::Conflict] && effects.is_empty());
    }

    #[test]
    fn a_request_counts_from_the_set_that_was_applied_with_it() {
        let mut maker = Maker::new(3);
        let (first, second) = (maker.allocated(), maker.allocated());
        let record = maker.request(&first);
        let with = |changes: Vec<Change>| ChangeSet {
            request: Some(record.clone()),
            ..set(changes)
        };
        let sets = [
            with(vec![changed(&first, &edited(&first, |_| ()))]),
            with(vec![created(&first)]),
            with(vec![created(&second)]),
        ];
        let (outcomes, effects) = decided(&sets, Seen::default());
        let duplicate = CommitOutcome::Duplicate(record.clone());
        assert_eq!(outcomes, [CommitOutcome::Conflict, CommitOutcome::Applied, duplicate]);
        assert_eq!(effects.requests, [(&record, None)]);
    }

    #[test]
    fn edges_of_a_set_that_was_refused_are_forgotten() {
        let mut maker = Maker::new(4);
        let (one, two, three) = (active(&mut maker), active(&mut maker), active(&mut maker));
        let with = |changes: Vec<Change>, edges: Vec<Edge>| ChangeSet { edges, ..set(changes) };
        let sets = [
            set([created(&one), created(&two), created(&three)]),
            with(vec![], vec![edge(&one, &two)]),
            with(vec![], vec![edge(&two, &three), edge(&two, &one)]),
            with(vec![], vec![edge(&three, &two), edge(&one, &two)]),
        ];
        let (outcomes, effects) = decided(&sets, Seen::default());
        let refusal = payload_core::Refusal::Cycle {
            child: two.id,
            parent: one.id,
        };
        use CommitOutcome::{Applied, Refused};
        assert_eq!(outcomes, [Applied, Applied, Refused(refusal), Applied]);
        let added = effects.lineage.edges().iter().map(|edge| (edge.child, edge.parent));
        assert!(added.eq([(one.id, two.id), (three.id, two.id)]));
    }
}
