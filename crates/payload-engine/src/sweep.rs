//! Sweep: containers that no row names are freed. The only way by which shared containers and leftovers go.

use payload_core::port::TierStore;
use payload_core::{Container, Reason, Result, Tier};

use crate::engine::Engine;

/// How many containers one question to the repository names.
const BATCH: usize = 500;

impl Engine {
    /// Looks at every container that may be empty, and frees those that are. Returns how many.
    pub fn sweep(&self) -> Result<usize> {
        let zombies = self.zombies();
        let mut freed = 0;
        for store in &self.ports.tiers {
            // A store names most containers only once; what comes of each is remembered until it is known.
            self.unswept.lock().extend(store.sweepable()?);
            let tier = store.tier();
            let candidates = self
                .unswept
                .lock()
                .iter()
                .copied()
                .filter(|c| tier_of(c) == tier)
                .collect::<Vec<_>>();
            for batch in candidates.chunks(BATCH) {
                freed += self.sweep_batch(&**store, batch)?;
            }
        }
        if self.zombies() < zombies {
            self.room.freed();
        }
        Ok(freed)
    }

    /// Bytes that were freed and that somebody still has.
    pub(crate) fn zombies(&self) -> u64 {
        self.ports.tiers.iter().map(|store| store.usage().zombie).sum()
    }

    /// A container of whose bytes it is not known whether a row names them.
    pub(crate) fn sweep_later(&self, container: Container) {
        self.unswept.lock().insert(container);
        self.sweep_signal.raise();
    }

    fn sweep_batch(&self, store: &dyn TierStore, batch: &[Container]) -> Result<usize> {
        let used = self.repository().containers_in_use(batch)?;
        let mut freed = 0;
        for (container, used) in batch.iter().zip(used) {
            if !used {
                match store.drop_container(*container) {
                    Ok(()) => {}
                    // Somebody is putting bytes in; whoever does will commit a row, or give them up.
                    Err(error) if error.reason() == Reason::Conflict => continue,
                    Err(error) => return Err(error),
                }
                self.tell_gone(&[*container], |_| true);
                self.room.freed();
                freed += 1;
            }
            self.unswept.lock().remove(container);
        }
        Ok(freed)
    }
}

const fn tier_of(container: &Container) -> Tier {
    match container {
        Container::Segment(_) => Tier::Ram,
        Container::File(_) => Tier::Disk,
    }
}
