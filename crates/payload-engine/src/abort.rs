//! Abort: give an allocation up, because its producer says so, died, or took too long.

use std::sync::Arc;

use payload_core::{AllocationToken, Durability, LifecycleEvent, Namespace, PayloadId, Principal, Result};

use crate::engine::Engine;
use crate::entry::{Entry, Gate};
use crate::holder::Holder;
use crate::transition::Cause;

impl Engine {
    /// Gives an allocation up; its room is free when this returns.
    pub fn abort(
        &self,
        holder: &Arc<Holder>,
        namespace: &Namespace,
        payload: PayloadId,
        token: Option<AllocationToken>,
        reason: Arc<str>,
    ) -> Result<()> {
        let entry = self.entry(namespace, payload)?;
        let gate = entry.gate();
        payload_core::step(entry.row().state, LifecycleEvent::Abort, self.wall())?;
        self.check_owner(holder, &entry, token)?;
        let cause = Cause::principal(&holder.principal).because(reason);
        self.abort_at_gate(&gate, LifecycleEvent::Abort, &cause, &holder.principal)
    }

    /// Ends an allocation for a reason of the server's own. A commit that was under way wins: then nothing happens.
    pub(crate) fn abort_if_open(&self, entry: &Arc<Entry>, event: LifecycleEvent, cause: &Cause) {
        let gate = entry.gate();
        let row = entry.row();
        if payload_core::step(row.state, event, self.wall()).is_err() {
            return;
        }
        if let Err(error) = self.abort_at_gate(&gate, event, cause, &row.owner) {
            tracing::warn!(payload = %entry.id, %error, "could not abort an allocation; its timeout will");
        }
    }

    fn abort_at_gate(
        &self,
        gate: &Gate<'_>,
        event: LifecycleEvent,
        cause: &Cause,
        principal: &Principal,
    ) -> Result<()> {
        let entry = gate.entry;
        let row = entry.row();
        let change = self.decide(&row, event, cause, |after| after.replicas.clear())?;
        // Nothing of an allocation has to outlive the host, whatever its commit would have promised.
        self.apply(gate, vec![change], Durability::Volatile, principal, None)?;
        self.disown(entry);
        for replica in &row.replicas {
            self.remove_bytes(&replica.location, replica.charged);
        }
        self.answer_waiters(entry);
        self.table.remove(entry);
        Ok(())
    }
}
