//! Many callers at once: each has its own outcome, versions decide who was first, and no two of them break a rule
//! that each of them keeps.

use std::sync::Barrier;
use std::thread;

use payload_core::port::Repository;
use payload_core::{ChangeSet, CommitOutcome, Refusal, State};

use super::Open;
use super::lineage::{active, actives, edge, edges};
use super::log::history;
use super::rows::{apply, claimed};
use super::sample::{Maker, changed, created, edited, set};

const THREADS: usize = 32;

/// Calls `work` in many threads that start together; gives their results in the order of the threads.
fn together<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS);
    let run = &|number| {
        barrier.wait();
        work(number)
    };
    thread::scope(|scope| {
        let start = |number| scope.spawn(move || run(number));
        let threads: Vec<_> = (0..THREADS).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Good, conflicting and duplicate sets share groups and do not touch each other.
pub fn every_caller_gets_its_own_outcome(open: Open<'_>) {
    let mut maker = Maker::new(51);
    let repo = claimed(open, &maker);
    let taken = maker.allocated();
    let record = maker.request(&taken);
    apply(
        &*repo,
        ChangeSet {
            request: Some(record.clone()),
            ..set([created(&taken)])
        },
    );
    let rounds = together(|number| {
        let mut maker = Maker::new(1_000 + number as u64);
        (0..20)
            .map(|round| {
                let fresh = maker.allocated();
                let (good, expected) = match (number + round) % 4 {
                    0 => (set([created(&fresh), created(&taken)]), CommitOutcome::Conflict),
                    1 => {
                        let retry = ChangeSet {
                            request: Some(record.clone()),
                            ..set([created(&fresh)])
                        };
                        (retry, CommitOutcome::Duplicate(record.clone()))
                    }
                    2 => (
                        ChangeSet {
                            durability: repo.strongest(),
                            ..set([created(&fresh)])
                        },
                        CommitOutcome::Applied,
                    ),
                    _ => (set([created(&fresh)]), CommitOutcome::Applied),
                };
                assert_eq!(repo.commit(good).unwrap(), expected);
                (fresh, expected)
            })
            .collect::<Vec<_>>()
    });
    for (payload, outcome) in rounds.into_iter().flatten() {
        let expected = (outcome == CommitOutcome::Applied).then_some(payload.clone());
        assert_eq!(repo.get(payload.id).unwrap(), expected);
    }
    assert_eq!(repo.usage(maker.node).unwrap()[0].replicas, 1);
}

/// However many change it at once, a version has one successor.
pub fn one_of_many_changes_from_one_version_wins(open: Open<'_>) {
    let mut maker = Maker::new(52);
    let repo = claimed(open, &maker);
    let mut last = maker.allocated();
    apply(&*repo, set([created(&last)]));
    for round in 0..10 {
        let outcomes = together(|number| {
            let next = edited(&last, |after| after.size = (round * THREADS + number) as u64);
            (repo.commit(set([changed(&last, &next)])).unwrap(), next)
        });
        let (winners, losers): (Vec<_>, Vec<_>) = outcomes
            .into_iter()
            .partition(|(outcome, _)| *outcome == CommitOutcome::Applied);
        assert!(losers.iter().all(|(outcome, _)| *outcome == CommitOutcome::Conflict));
        assert_eq!(winners.len(), 1);
        last = winners[0].1.clone();
        assert_eq!(repo.get(last.id).unwrap(), Some(last.clone()));
    }
    assert_eq!(history(&*repo, &last).len(), 11);
}

/// A retry that overtakes the first try is not done twice.
pub fn one_of_many_uses_of_a_request_id_wins(open: Open<'_>) {
    let mut maker = Maker::new(53);
    let repo = claimed(open, &maker);
    let record = maker.request(&maker.clone().allocated());
    let outcomes = together(|number| {
        let payload = Maker::new(2_000 + number as u64).allocated();
        let record = payload_core::RequestRecord {
            payload: payload.id,
            ..record.clone()
        };
        let outcome = repo.commit(ChangeSet {
            request: Some(record.clone()),
            ..set([created(&payload)])
        });
        (outcome.unwrap(), record)
    });
    let (winners, losers): (Vec<_>, Vec<_>) = outcomes
        .into_iter()
        .partition(|(outcome, _)| *outcome == CommitOutcome::Applied);
    assert_eq!(winners.len(), 1);
    for (outcome, own) in losers {
        assert_eq!(outcome, CommitOutcome::Duplicate(winners[0].1.clone()));
        assert_eq!(repo.get(own.payload).unwrap(), None);
    }
}

/// Several servers on one store, each with a node of its own.
fn servers(open: Open<'_>) -> Vec<Box<dyn Repository>> {
    let server = |seed| claimed(open, &Maker::new(seed));
    (560..564).map(server).collect()
}

/// Edges between ends of their own, so that no two callers touch the same rows, close one large circle. Whoever looks
/// at the graph before another's edge is in it must not add an own one after.
pub fn fault_50_edges_that_close_a_circle_together_are_not_all_added(open: Open<'_>) {
    let mut maker = Maker::new(54);
    let repos = servers(open);
    let repo = &*repos[0];
    for _ in 0..10 {
        let rows = actives(repo, &mut maker, 2 * THREADS);
        let halves = rows.chunks(2).map(|pair| edge(&pair[1], &pair[0]));
        apply(repo, edges(halves.collect::<Vec<_>>()));
        let outcomes = together(|number| {
            let (child, parent) = (&rows[2 * number], &rows[(2 * number + 2 * THREADS - 1) % rows.len()]);
            let repo = &*repos[number % repos.len()];
            (repo.commit(edges([edge(child, parent)])).unwrap(), child.id, parent.id)
        });
        let refused: Vec<_> = outcomes
            .into_iter()
            .filter(|(outcome, ..)| *outcome != CommitOutcome::Applied)
            .collect();
        let [(CommitOutcome::Refused(refusal), child, parent)] = refused[..] else {
            panic!("all but one of the edges fit, not: {refused:?}");
        };
        assert_eq!(refusal, Refusal::Cycle { child, parent });
    }
}

/// A child is published while its parent is deleted on condition that it has none: if the child was there first, the parent
/// stays. (The other way round is fine: what is made from a tombstone is made from what was read before.)
pub fn a_payload_is_not_deleted_past_a_child_that_was_published(open: Open<'_>) {
    let mut maker = Maker::new(55);
    let repos = servers(open);
    let repo = &*repos[0];
    for round in 0..20 {
        let parent = active(&mut maker);
        apply(repo, set([created(&parent)]));
        let gone = edited(&parent, |after| after.state = State::Deleted);
        let outcomes = together(|number| {
            let repo = &*repos[number % repos.len()];
            if number == round {
                let end = ChangeSet {
                    without_dependents: Some(parent.id),
                    ..set([changed(&parent, &gone)])
                };
                return (repo.commit(end).unwrap(), false);
            }
            let child = active(&mut Maker::new((3_000 + round * THREADS + number) as u64));
            let publish = ChangeSet {
                edges: vec![edge(&child, &parent)],
                ..set([created(&child)])
            };
            assert_eq!(repo.commit(publish).unwrap(), CommitOutcome::Applied);
            let still_there = repo.get(parent.id).unwrap() == Some(parent.clone());
            (CommitOutcome::Applied, still_there)
        });
        let was_refused = matches!(outcomes[round].0, CommitOutcome::Refused(Refusal::Dependents { .. }));
        assert!(was_refused || outcomes[round].0 == CommitOutcome::Applied);
        assert_eq!(was_refused, repo.get(parent.id).unwrap() == Some(parent.clone()));
        // From when a child is there and the parent too, the parent cannot go.
        assert!(was_refused || outcomes.iter().all(|(_, still_there)| !still_there));
    }
}
