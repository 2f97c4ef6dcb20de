//! Renew: prolong a lease, unless the payload is on its way out.

use std::sync::Arc;

use payload_core::lease::{self, HolderKind};
use payload_core::{Error, LeaseId, Namespace, PayloadId, Reason, ReplicaId, Result, Span, StateKind};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::holder::Holder;

impl Engine {
    /// Prolongs a lease and returns how long it lasts now; `None`: until it is released. A payload that is being
    /// deleted or has expired renews nothing, so that its deletion comes to an end.
    ///
    /// `granted` names what the lease was on: with it a lease from afar outlives a restart of the server.
    pub fn renew(
        &self,
        holder: &Arc<Holder>,
        namespace: &Namespace,
        lease: LeaseId,
        granted: Option<(PayloadId, ReplicaId)>,
        ttl: Option<Span>,
    ) -> Result<Option<Span>> {
        let held = holder.held();
        let entry = held.leases.get(&lease).cloned();
        let refusal = held.not_held(lease);
        drop(held);
        match (entry, granted) {
            (Some(entry), _) => self.renew_held(holder, &entry, lease, ttl),
            (None, Some((payload, replica))) if refusal.reason() == Reason::LeaseNotFound => {
                self.renew_inherited(holder, namespace, lease, payload, replica, ttl)
            }
            (None, _) => Err(refusal),
        }
    }

    fn renew_held(
        &self,
        holder: &Arc<Holder>,
        entry: &Arc<Entry>,
        lease: LeaseId,
        ttl: Option<Span>,
    ) -> Result<Option<Span>> {
        let moment = self.leasing_moment(entry)?;
        let mut live = entry.live();
        let now = self.now();
        live.leasable(moment)?;
        let Some(record) = live.leases.get_mut(&lease.serial()) else {
            return Err(holder.held().not_held(lease));
        };
        // The timer stays where it is: a term never gets shorter, and a timer that comes too early is set anew.
        record.term = lease::renew(&self.settings.lease_terms, holder.kind, record.term, ttl, now)?;
        Ok(record.term.ends_at.map(|end| end.since(now)))
    }

    /// A lease from afar that an earlier start granted. While it can be live, its payload has kept its bytes.
    fn renew_inherited(
        &self,
        holder: &Arc<Holder>,
        namespace: &Namespace,
        lease: LeaseId,
        payload: PayloadId,
        replica: ReplicaId,
        ttl: Option<Span>,
    ) -> Result<Option<Span>> {
        let unknown = || Error::new(Reason::LeaseNotFound, "no such lease of this holder");
        let earlier = lease.serial() >> 40 < self.epoch;
        if holder.kind != HolderKind::Remote
            || !earlier
            || !self.mint.is_lease(lease, &holder.principal, payload, replica)
        {
            return Err(unknown());
        }
        let entry = self.entry(namespace, payload)?;
        let moment = self.leasing_moment(&entry)?;
        let mut live = entry.live();
        if live.leases.contains_key(&lease.serial()) {
            // Another renewal of the same lease was quicker.
            drop(live);
            return self.renew_held(holder, &entry, lease, ttl);
        }
        if !self.may_be_held_unknown(&entry) {
            return Err(Error::new(
                Reason::LeaseExpired,
                "the lease has expired; acquire the payload again",
            ));
        }
        if live.row.state.kind() != StateKind::Deleting {
            live.leasable(moment)?;
        }
        if live.row.replica(replica).is_none() {
            return Err(unknown());
        }
        let term = lease::grant(&self.settings.lease_terms, holder.kind, ttl, self.now())?;
        self.write_lease(holder, &entry, &mut live, replica, lease, term)
            .map(|grant| grant.expires_in)
    }
}
