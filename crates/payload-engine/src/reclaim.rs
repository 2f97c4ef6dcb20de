//! Reclaim: after a restart a session takes up what its client held before.

use std::sync::Arc;

use payload_core::{
    AllocationToken, Error, LeaseId, Namespace, PayloadId, Reason, ReplicaId, Result, SessionId, StateKind,
};

use crate::acquire::{AcquireOptions, Grant};
use crate::allocate::Allocation;
use crate::engine::Engine;
use crate::entry::{Entry, Live};
use crate::holder::Holder;

/// A lease that the client had.
#[derive(Clone, Copy, Debug)]
pub struct LeaseClaim {
    /// Proves that it had it.
    pub lease: LeaseId,
    /// On what.
    pub payload: PayloadId,
    /// And on which copy.
    pub replica: ReplicaId,
}

/// An allocation that the client had.
#[derive(Clone, Copy, Debug)]
pub struct AllocationClaim {
    /// Which.
    pub payload: PayloadId,
    /// Proves that it had it.
    pub token: AllocationToken,
}

impl Engine {
    /// Whether the session is one of an earlier start that may still be resumed by this principal.
    pub fn check_resumable(&self, holder: &Holder, session: SessionId) -> Result<()> {
        let earlier = session.serial() >> 40 < self.epoch;
        if !earlier || !self.mint.is_session(session, &holder.principal) {
            return Err(
                Error::new(Reason::SessionNotFound, "no session of an earlier start of this server")
                    .field("session_id"),
            );
        }
        if self.now() >= self.grace_until {
            return Err(Error::new(
                Reason::SessionNotFound,
                "the time in which sessions could be resumed is over",
            ));
        }
        Ok(())
    }

    /// Grants again, under a new id, a lease of an earlier start; call [`check_resumable`](Self::check_resumable) first.
    /// Even a payload that is being deleted is granted to whoever held it before.
    pub fn reclaim_lease(&self, holder: &Arc<Holder>, namespace: &Namespace, claim: LeaseClaim) -> Result<Grant> {
        if !self
            .mint
            .is_lease(claim.lease, &holder.principal, claim.payload, claim.replica)
        {
            return Err(Error::new(Reason::LeaseNotFound, "no such lease of this holder"));
        }
        let entry = self.entry(namespace, claim.payload)?;
        let mut live = entry.live();
        if !self.may_be_held_unknown(&entry) {
            return Err(Error::new(
                Reason::LeaseExpired,
                "the time in which leases could be reclaimed is over; acquire the payload again",
            ));
        }
        if !matches!(live.row.state.kind(), StateKind::Active | StateKind::Deleting) {
            live.leasable(self.wall())?;
        }
        let replica = live.row.replica(claim.replica).cloned().ok_or_else(|| {
            Error::new(
                Reason::BytesMissing,
                "the replica that the lease was on did not survive the restart",
            )
        })?;
        let mut grant = self.grant(holder, &entry, &mut live, &replica, None)?;
        drop(live);
        match self.access(holder, &grant, AcquireOptions::default()) {
            Ok(access) => grant.access = access,
            Err(error) => {
                self.end_lease(&entry, grant.lease.serial());
                return Err(error);
            }
        }
        Ok(grant)
    }

    /// Takes up an open allocation that nobody owns, or that the same principal made from afar.
    pub fn reclaim_allocation(
        &self,
        holder: &Arc<Holder>,
        namespace: &Namespace,
        claim: AllocationClaim,
    ) -> Result<Allocation> {
        let entry = self.entry(namespace, claim.payload)?;
        let _gate = entry.gate();
        if !self.mint.is_allocation(claim.token, &holder.principal, claim.payload) {
            return Err(Error::new(
                Reason::AllocationNotOwned,
                "the token does not belong to this allocation",
            ));
        }
        let row = entry.row();
        payload_core::step(row.state, payload_core::LifecycleEvent::Abort, self.wall())?;
        let filling = self.filling(holder, &row)?;
        self.move_ownership(holder, &entry)?;
        Ok(Allocation {
            row,
            token: claim.token,
            filling,
        })
    }

    fn move_ownership(&self, holder: &Arc<Holder>, entry: &Arc<Entry>) -> Result<()> {
        let mut live = entry.live();
        match &live.owner {
            Some(owner) if Arc::ptr_eq(owner, holder) => return Ok(()),
            Some(owner) if owner.kind == payload_core::lease::HolderKind::Local => {
                return Err(Error::new(
                    Reason::AllocationNotOwned,
                    "the allocation belongs to another session",
                ));
            }
            Some(_) => {
                drop(live);
                self.disown(entry);
                live = entry.live();
            }
            None => {}
        }
        self.take_ownership(holder, entry, &mut live)
    }

    /// Makes `holder` the owner of an allocation that has none, within its cap.
    pub(crate) fn take_ownership(&self, holder: &Arc<Holder>, entry: &Arc<Entry>, live: &mut Live) -> Result<()> {
        debug_assert!(live.owner.is_none());
        holder.account.allocations.add(
            self.settings.caps.allocations_per_principal,
            Reason::TooManyAllocations,
            "open allocations",
        )?;
        if self.set_owner(holder, entry, live) {
            return Ok(());
        }
        holder.account.allocations.sub();
        Err(Error::new(Reason::SessionNotFound, "the session has closed"))
    }
}
