//! Sweep: containers that no row names are freed. The only way by which shared containers and leftovers go.

use payload_core::port::{Claim, Left, TierStore};
use payload_core::{ChangeSet, Container, Reason, ReplicaState, Result, Tier};

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
                .filter(|container| container.tier() == tier)
                .collect::<Vec<_>>();
            for batch in candidates.chunks(BATCH) {
                freed += self.sweep_batch(&**store, batch)?;
            }
        }
        if self.zombies() < zombies {
            self.rooms.all().iter().for_each(|room| room.freed());
        }
        Ok(freed)
    }

    /// Bytes that were freed and that somebody still has.
    pub(crate) fn zombies(&self) -> u64 {
        self.ports.tiers.iter().map(|store| store.usage().zombie).sum()
    }

    /// Whether there will be something to sweep that nobody tells of.
    pub(crate) fn has_to_look_again(&self) -> bool {
        let mut usages = self.ports.tiers.iter().map(|store| store.usage());
        usages.any(|usage| usage.zombie > 0 || usage.waiting > 0)
    }

    /// A container of whose bytes it is not known whether a row names them.
    pub(crate) fn sweep_later(&self, container: Container) {
        self.unswept.lock().insert(container);
        self.sweep_signal.raise();
    }

    /// Notes the objects that rows stop to name, before they do: a server that dies after that frees them when it is back. The claims
    /// are to last until the repository has answered.
    pub(crate) fn suspect_objects(&self, set: &ChangeSet) -> Result<Vec<Claim>> {
        let mut claims = Vec::new();
        for change in &set.changes {
            let before = change.before.iter().flat_map(|before| &before.replicas);
            for replica in before.filter(|replica| replica.tier() == Tier::Object) {
                let stays = change.after.replica(replica.id);
                if stays.is_none_or(|after| after.location != replica.location) {
                    let left = match replica.state {
                        ReplicaState::Copying => Left::Writer,
                        ReplicaState::Ready | ReplicaState::Draining => Left::Readers,
                    };
                    claims.push(self.tier(Tier::Object)?.suspect(replica.location.container(), left)?);
                }
            }
        }
        Ok(claims)
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
                self.note_freed(store.tier());
                freed += 1;
            } else {
                store.trust(*container)?;
            }
            self.unswept.lock().remove(container);
        }
        Ok(freed)
    }
}
