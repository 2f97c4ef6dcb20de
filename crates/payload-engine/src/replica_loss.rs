//! What happens when a replica turns out to be damaged or gone.

use std::sync::Arc;

use payload_core::{Error, EventKind, LifecycleEvent, Replica, ReplicaId, Result};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::transition::Cause;

impl Engine {
    /// Takes a bad replica out of the row. The payload lives on with the others, or is lost: then `error` is returned.
    pub(crate) fn replica_lost(&self, entry: &Arc<Entry>, replica: ReplicaId, error: Error) -> Result<()> {
        // What a commit carries may be in its journal and not yet in its place: then it is not lost.
        let tier = entry.row().replica(replica).map(Replica::tier);
        tier.map_or(Ok(()), |tier| self.tier(tier)?.settle())?;
        let gate = entry.gate();
        let row = entry.row();
        let Some(bad) = row.replica(replica).cloned() else {
            return Ok(());
        };
        let cause = Cause::server("integrity").because(error.message().into());
        let last = row.replicas.len() == 1;
        let change = if last {
            self.decide(&row, LifecycleEvent::LastReplicaLost, &cause, |after| {
                after.replicas.clear();
            })?
        } else {
            let mut after = payload_core::Payload::clone(&row);
            after.replicas.retain(|other| other.id != replica);
            self.change(&row, after, EventKind::ReplicaLost, &cause)
        };
        self.apply(&gate, vec![change], row.durability, &row.owner, None)?;
        self.forget_victim(bad.tier(), entry);
        self.remove_bytes(&bad.location, bad.charged);
        self.metrics.replica_lost(bad.tier());
        if last { Err(error) } else { Ok(()) }
    }
}
