//! Many callers at once: each has its own outcome, and versions decide who was first.

use std::sync::Barrier;
use std::thread;

use payload_core::{ChangeSet, CommitOutcome};

use super::Open;
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
    assert_eq!(repo.events(last.id).unwrap().len(), 11);
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
