//! Spill: bring payloads down to a slower tier because somebody asks for it.

use std::sync::Arc;

use payload_core::{Error, Namespace, Payload, PayloadId, Reason, Replica, Result, Tier};

use crate::engine::Engine;
use crate::entry::{Entry, Live};
use crate::fuse::rides;
use crate::mover::only;
use crate::replicate::Patience;

impl Engine {
    /// Copies a payload to a slower tier and gives up its replicas above: at once what nobody holds, the rest when the last
    /// lease on it ends. New leases are below from the moment at which this returns. What is below already stays there.
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
                each.map(|(copied, at)| (*at, copied.and_then(|_| self.leave_for(&entries[*at], to))))
                    .collect::<Vec<_>>()
            });
            let mut moved: Vec<_> = moved.into_iter().flatten().collect();
            moved.sort_unstable_by_key(|(at, _)| *at);
            moved.into_iter().map(|(_, result)| result).collect()
        })
    }

    fn spillable(&self, namespace: &Namespace, id: PayloadId, to: Tier) -> Result<Arc<Entry>> {
        if to == Tier::Ram {
            return Err(Error::invalid(
                Reason::BadRequest,
                format!("a spill goes down, and nothing is above {to}"),
            )
            .field("to"));
        }
        self.tier(to)?;
        let entry = self.entry(namespace, id)?;
        check_pins(&entry.live(), to)?;
        Ok(entry)
    }

    /// Gives up the replicas above a tier, now or when their leases end.
    fn leave_for(&self, entry: &Arc<Entry>, to: Tier) -> Result<()> {
        let mut live = entry.live();
        check_pins(&live, to)?;
        let above = live.readable().filter(|replica| replica.tier() < to);
        let above: Vec<_> = above.map(|replica| replica.id).collect();
        live.leaving.extend(above);
        drop(live);
        self.drop_drained(entry)
    }

    /// Drops the replicas that wait for their leases to end, if they have.
    pub(crate) fn drop_drained(&self, entry: &Arc<Entry>) -> Result<()> {
        let draining: Vec<Tier> = entry.live().draining().map(Replica::tier).collect();
        for tier in draining {
            self.drop_replica(entry, tier, "spill")?;
        }
        Ok(())
    }
}

/// Who pinned what would have to go wants it to stay, and has to be asked first.
fn check_pins(live: &Live, to: Tier) -> Result<()> {
    let mut above = live.readable().filter(|replica| replica.tier() < to);
    match above.find(|replica| live.is_pinned(replica)) {
        Some(pinned) => Err(Error::new(
            Reason::PayloadPinned,
            format!("payload is pinned to {}; unpin it first", pinned.tier()),
        )),
        None => Ok(()),
    }
}
