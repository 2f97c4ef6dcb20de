//! Many threads at once.

use std::thread;

use payload_core::port::Placed;

use super::sample::{assert_bytes, bytes, namespace, put_reserved, sweep};
use super::{Make, PLENTY, World};
use crate::clock::Rng;

/// Everybody's bytes stay right, and what is left adds up, while a sweeper frees what it is told.
pub fn many_threads_leave_the_sums_right(make: Make<'_>) {
    let world = make(PLENTY);
    let World { store, keep: _keep } = &world;
    let left: Vec<Placed> = thread::scope(|scope| {
        let workers: Vec<_> = (0..32)
            .map(|seed| {
                let store = store.clone();
                scope.spawn(move || work(&*store, seed))
            })
            .collect();
        let store = store.clone();
        let sweeper = scope.spawn(move || {
            // The first sweep names everything, and here are no rows to ask.
            store.sweepable().unwrap();
            for _ in 0..20 {
                for container in store.sweepable().unwrap() {
                    store.drop_container(container).unwrap();
                }
                thread::yield_now();
            }
        });
        sweeper.join().unwrap();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let usage = world.usage();
    let charged: u64 = left.iter().map(|placed| placed.charged).sum();
    assert!(usage.used >= charged, "{usage:?}, and {charged} are charged");
    for placed in left {
        world.remove(&placed.location, placed.charged).unwrap();
    }
    sweep(&*world);
    assert_eq!((world.usage().used, world.usage().containers), (0, 0));
}

/// Stores, reads and removes; returns what it left.
fn work(store: &dyn payload_core::port::TierStore, seed: u64) -> Vec<Placed> {
    let mut rng = Rng::new(seed);
    let namespace = namespace(["a", "b", "c"][usize::try_from(seed % 3).unwrap()]);
    let mut mine: Vec<(Placed, Vec<u8>)> = Vec::new();
    for _ in 0..30 {
        let size = usize::try_from(rng.below(20_000)).unwrap();
        let bytes = bytes(rng.bits(), size.max(1));
        let placed = if rng.one_in(4) {
            put_reserved(store, &bytes)
        } else {
            store.store(&namespace, &bytes).unwrap()
        };
        mine.push((placed, bytes));
        let other = usize::try_from(rng.below(mine.len() as u64)).unwrap();
        assert_bytes(store, &mine[other].0.location, &mine[other].1);
        if rng.one_in(2) {
            let (placed, _) = mine.swap_remove(other);
            store.remove(&placed.location, placed.charged).unwrap();
        }
    }
    mine.into_iter().map(|(placed, _)| placed).collect()
}
