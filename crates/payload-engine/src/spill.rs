//! Spill: bring payloads down to a slower tier because somebody asks for it.

use std::sync::Arc;

use payload_core::{Error, Namespace, Payload, PayloadId, Reason, Result, Tier};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::fuse::rides;
use crate::mover::only;
use crate::replicate::Patience;

impl Engine {
    /// Copies a payload to disk and gives up its replica in RAM: at once if nobody holds that, else when the last lease on it
    /// ends. New leases are on disk from the moment at which this returns.
    pub fn spill(&self, namespace: &Namespace, id: PayloadId, to: Tier) -> Result<Arc<Payload>> {
        only(self.spill_all(namespace, &[id], to))
    }

    /// The same for many, several at a time; each has its own result.
    pub fn spill_all(&self, namespace: &Namespace, ids: &[PayloadId], to: Tier) -> Vec<Result<Arc<Payload>>> {
        let found = ids.iter().map(|id| self.spillable(namespace, *id, to)).collect();
        self.move_found(found, |entries| {
            let rides = rides(entries, to);
            let moved = self.in_crew(&rides, |ride| {
                let copied = self.add_replicas(entries, ride, to, Patience::InLine, "spill");
                let each = copied.into_iter().zip(ride);
                each.map(|(copied, at)| (*at, copied.and_then(|_| self.leave_ram(&entries[*at]))))
                    .collect::<Vec<_>>()
            });
            let mut moved: Vec<_> = moved.into_iter().flatten().collect();
            moved.sort_unstable_by_key(|(at, _)| *at);
            moved.into_iter().map(|(_, result)| result).collect()
        })
    }

    fn spillable(&self, namespace: &Namespace, id: PayloadId, to: Tier) -> Result<Arc<Entry>> {
        if to != Tier::Disk {
            return Err(Error::invalid(
                Reason::BadRequest,
                format!("a spill goes down, and nothing is above {to}"),
            )
            .field("to"));
        }
        self.entry(namespace, id)
    }

    /// Gives up the replica in RAM, now or when its leases end.
    fn leave_ram(&self, entry: &Arc<Entry>) -> Result<()> {
        let mut live = entry.live();
        live.leaving = live.replica_in(Tier::Ram).map(|replica| replica.id);
        drop(live);
        self.drop_drained(entry)
    }

    /// Drops the replica that waits for its leases to end, if they have.
    pub(crate) fn drop_drained(&self, entry: &Arc<Entry>) -> Result<()> {
        let Some(tier) = entry.live().draining().map(payload_core::Replica::tier) else {
            return Ok(());
        };
        self.drop_replica(entry, tier, "spill").map(drop)
    }
}
