//! Content: hold a payload for as long as its bytes are sent to somebody who cannot map them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use payload_core::lease::HolderKind;
use payload_core::{Error, LeaseId, Namespace, Payload, PayloadId, Principal, Reason, Replica, Result};

use crate::access::Access;
use crate::acquire::{AcquireOptions, Grant};
use crate::engine::Engine;
use crate::entry::{Entry, Live};
use crate::holder::{Holder, Notice, NoticeSink, Peer};

/// A leased payload, open for reading. Its lease has no term: it ends when this is dropped, so whoever has it must not
/// wait for ever for a receiver.
pub struct Content {
    engine: Arc<Engine>,
    holder: Arc<Holder>,
    lease: LeaseId,
    row: Arc<Payload>,
    bytes: Option<OwnedFd>,
    offset: u64,
    ended: Arc<AtomicBool>,
}

impl Engine {
    /// Opens a payload for one transfer. `under` is a lease that the receiver has: with it a payload that is being
    /// deleted can still be read, and it is the replica of that lease that is read.
    pub fn open_content(
        self: &Arc<Self>,
        principal: &Principal,
        namespace: &Namespace,
        id: PayloadId,
        under: Option<LeaseId>,
    ) -> Result<Content> {
        let ended = Arc::new(AtomicBool::new(false));
        // The connection's death is seen, so the lease needs no term, as with a session.
        let holder = Arc::new(Holder::new(
            self.mint.session(principal),
            HolderKind::Local,
            principal.clone(),
            Peer {
                pid: 0,
                command: "byte endpoint".to_owned(),
            },
            self.account(principal),
            Box::new(Flag(Arc::clone(&ended))),
        ));
        let grant = match under {
            Some(lease) => self.acquire_under(&holder, namespace, id, lease)?,
            None => self.acquire(&holder, namespace, id, AcquireOptions::default())?,
        };
        let offset = grant.replica().location.offset();
        Ok(Content {
            engine: Arc::clone(self),
            holder,
            lease: grant.lease,
            row: grant.row,
            bytes: match grant.access {
                Access::Descriptor(bytes) => Some(bytes),
                // Only an empty payload comes without: nothing was asked for inline, and the holder knows no container.
                Access::Content(_) | Access::Known | Access::Elsewhere | Access::Url(_) => None,
            },
            offset,
            ended,
        })
    }

    /// A second lease next to one that is live, whatever has become of the payload meanwhile.
    fn acquire_under(
        &self,
        holder: &Arc<Holder>,
        namespace: &Namespace,
        id: PayloadId,
        lease: LeaseId,
    ) -> Result<Grant> {
        let entry = self.entry(namespace, id)?;
        let mut live = entry.live();
        let Some(replica) = self.leased_replica(&entry, &live, holder, lease)? else {
            drop(live);
            let refusal = self.remote(&holder.principal).held().not_held(lease);
            return Err(refusal);
        };
        if !replica.tier().is_local() {
            // The holder reads it without the server; here it is fetched like for everybody.
            drop(live);
            return self.acquire_entry(holder, &entry, AcquireOptions::default());
        }
        let mut grant = self.grant(holder, &entry, &mut live, &replica, None)?;
        drop(live);
        match self.access(holder, &grant, AcquireOptions::default()) {
            Ok(access) => {
                grant.access = access;
                Ok(grant)
            }
            Err(error) => {
                self.end_lease(&entry, grant.lease.serial());
                Err(error)
            }
        }
    }

    /// The replica that `lease` is on: one that is live here, or one from afar that an earlier start granted and that can
    /// still be live. Having the id is the right to it, over whichever door it was granted. A replica that was found damaged
    /// meanwhile gives way to the next; without one the payload says what became of it.
    fn leased_replica(&self, entry: &Entry, live: &Live, holder: &Holder, lease: LeaseId) -> Result<Option<Replica>> {
        if let Some(record) = live.leases.get(&lease.serial()) {
            let fits = self
                .mint
                .is_lease(lease, &record.holder.principal, entry.id, record.replica);
            return match live.row.replica(record.replica) {
                _ if !fits => Ok(None),
                Some(replica) => Ok(Some(replica.clone())),
                None => live.leasable(self.wall()).cloned().map(Some),
            };
        }
        if lease.serial() >> 40 >= self.epoch || !self.may_be_held_unknown(entry) {
            return Ok(None);
        }
        let granted = |replica: &&Replica| self.mint.is_lease(lease, &holder.principal, entry.id, replica.id);
        Ok(live.row.replicas.iter().find(granted).cloned())
    }
}

impl Content {
    /// The payload as it was granted.
    pub fn row(&self) -> &Payload {
        &self.row
    }

    /// Where its bytes are; nowhere if there are none.
    pub fn bytes(&self) -> Option<BorrowedFd<'_>> {
        self.bytes.as_ref().map(AsFd::as_fd)
    }

    /// Where in that descriptor they begin.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Fails once the lease was taken away: the payload was deleted by force, or somebody revoked it.
    pub fn check(&self) -> Result<()> {
        match self.ended.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Error::new(
                Reason::LeaseRevoked,
                "the lease of the transfer was revoked",
            )),
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        // One that was revoked is not there any more.
        let _ = self.engine.release(&self.holder, self.lease);
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} at {})", self.row.id, self.offset)
    }
}

/// Remembers that the lease was taken away; a transfer looks at it between pieces.
struct Flag(Arc<AtomicBool>);

impl NoticeSink for Flag {
    fn send(&self, notice: Notice) {
        if matches!(notice, Notice::LeaseEnded { .. }) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
