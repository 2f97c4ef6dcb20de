//! Release: end a lease; the payload it was on may have waited for that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use payload_core::{LeaseId, Reason, Result, StateKind};

use crate::engine::Engine;
use crate::entry::{Entry, LeaseRecord};
use crate::holder::{Holder, Notice};

impl Engine {
    /// Ends a lease of this holder. Never blocks on I/O.
    pub fn release(&self, holder: &Arc<Holder>, lease: LeaseId) -> Result<()> {
        let held = holder.held();
        let Some(entry) = held.leases.get(&lease).cloned() else {
            return Err(held.not_held(lease));
        };
        drop(held);
        match self.end_lease(&entry, lease.serial()) {
            Some(_) => {
                self.metrics.lease_ended("released");
                Ok(())
            }
            None => Err(holder.held().not_held(lease)),
        }
    }

    /// Takes a lease off the books, whoever ended it. A deletion that waited for the last one goes on.
    pub(crate) fn end_lease(&self, entry: &Arc<Entry>, serial: u64) -> Option<LeaseRecord> {
        let mut live = entry.live();
        let record = live.leases.remove(&serial)?;
        record.holder.held().leases.remove(&record.id);
        let drained = live.leases.is_empty() && live.row.state.kind() == StateKind::Deleting;
        drop(live);
        record.holder.account.leases.sub();
        self.lease_count.fetch_sub(1, Ordering::Relaxed);
        if drained {
            self.drain_later(Arc::clone(entry));
        }
        Some(record)
    }

    /// Ends a lease against its holder's will, and tells the holder.
    pub(crate) fn end_lease_early(&self, entry: &Arc<Entry>, serial: u64, reason: Reason, message: &str) -> bool {
        let Some(record) = self.end_lease(entry, serial) else {
            return false;
        };
        record.holder.held().remember_ended(record.id, reason);
        self.metrics.lease_ended(match reason {
            Reason::LeaseExpired => "expired",
            _ => "revoked",
        });
        record.holder.sink.send(Notice::LeaseEnded {
            lease: record.id,
            reason,
            message: message.to_owned(),
        });
        true
    }

    /// Ends a lease whose term is over, unless it was renewed since the timer was set.
    pub(crate) fn expire_lease(&self, entry: &Arc<Entry>, serial: u64) {
        let now = self.now();
        let live = entry.live();
        let over = live.leases.get(&serial).is_some_and(|record| record.term.is_over(now));
        drop(live);
        if over {
            self.end_lease_early(
                entry,
                serial,
                Reason::LeaseExpired,
                "the lease was not renewed within its term",
            );
        }
    }
}
