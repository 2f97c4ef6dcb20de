//! The crew that copies payloads from tier to tier: several at a time, so that the device is never idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use payload_core::{Payload, Result};

use crate::engine::Engine;
use crate::entry::Entry;

impl Engine {
    /// Does each of the jobs, several at a time; the results are in their order.
    pub(crate) fn in_crew<J: Sync, T: Send>(&self, jobs: &[J], work: impl Fn(&J) -> T + Sync) -> Vec<T> {
        let crew = self.settings.movers.clamp(1, jobs.len().max(1));
        let next = AtomicUsize::new(0);
        let take = || {
            let mut done = Vec::new();
            while let Some((at, job)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, jobs.get(at)?)))
            {
                done.push((at, work(job)));
            }
            done
        };
        let mut done = std::thread::scope(|scope| {
            // Where the system gives no more threads, those that there are do the rest, the caller at least.
            let hire = |_| {
                std::thread::Builder::new()
                    .name("mover".into())
                    .spawn_scoped(scope, take)
            };
            let others: Vec<_> = (1..crew).map_while(|number| hire(number).ok()).collect();
            let mut done = take();
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            done
        });
        done.sort_unstable_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

impl Engine {
    /// Moves the payloads that were found, and puts the results of the others back in between.
    pub(crate) fn move_found(
        &self,
        found: Vec<Result<Arc<Entry>>>,
        to_all: impl FnOnce(&[Arc<Entry>]) -> Vec<Result<()>>,
    ) -> Vec<Result<Arc<Payload>>> {
        let entries: Vec<Arc<Entry>> = found.iter().filter_map(|one| one.as_ref().ok().cloned()).collect();
        let mut moved = to_all(&entries).into_iter();
        let each = found.into_iter().map(|one| {
            let entry = one?;
            moved.next().expect("each that was found has a result")?;
            Ok(entry.row())
        });
        each.collect()
    }
}

/// What one call asks of many payloads, where one is meant.
pub(crate) fn only<T>(mut results: Vec<Result<T>>) -> Result<T> {
    results.pop().expect("there is one result for each payload")
}
