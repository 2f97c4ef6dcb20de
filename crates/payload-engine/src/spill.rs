//! Spill: bring a payload down to a slower tier because somebody asks for it.

use std::sync::Arc;

use payload_core::{Error, Namespace, Payload, PayloadId, Reason, Result, Tier};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::replicate::Patience;

impl Engine {
    /// Copies a payload to disk and gives up its replica in RAM: at once if nobody holds that, else when the last lease on it
    /// ends. New leases are on disk from the moment at which this returns.
    pub fn spill(&self, namespace: &Namespace, id: PayloadId, to: Tier) -> Result<Arc<Payload>> {
        if to != Tier::Disk {
            return Err(Error::invalid(
                Reason::BadRequest,
                format!("a spill goes down, and nothing is above {to}"),
            )
            .field("to"));
        }
        let entry = self.entry(namespace, id)?;
        self.add_replica(&entry, Tier::Disk, Patience::InLine, "spill")?;
        let mut live = entry.live();
        live.leaving = live.replica_in(Tier::Ram).map(|replica| replica.id);
        drop(live);
        self.drop_drained(&entry)?;
        Ok(entry.row())
    }

    /// Drops the replica that waits for its leases to end, if they have.
    pub(crate) fn drop_drained(&self, entry: &Arc<Entry>) -> Result<()> {
        let Some(tier) = entry.live().draining().map(payload_core::Replica::tier) else {
            return Ok(());
        };
        self.drop_replica(entry, tier, "spill").map(drop)
    }
}
