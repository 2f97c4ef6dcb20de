//! Release: end a lease; the payload it was on may have waited for that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use payload_core::{LeaseId, Reason, Replica, Result, StateKind};

use crate::engine::Engine;
use crate::entry::{Entry, LeaseRecord, Live};
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
                self.metrics.lease_released();
                Ok(())
            }
            None => Err(holder.held().not_held(lease)),
        }
    }

    /// Takes a lease off the books, whoever ended it. A deletion that waited for the last one goes on.
    pub(crate) fn end_lease(&self, entry: &Arc<Entry>, serial: u64) -> Option<LeaseRecord> {
        let mut live = entry.live();
        let record = self.take_lease(&mut live, serial, None)?;
        self.after_lease(entry, live);
        Some(record)
    }

    /// The last lease may have kept a deletion from its end, or the payload from being evicted.
    fn after_lease(&self, entry: &Arc<Entry>, mut live: MutexGuard<'_, Live>) {
        let next = next_after_lease(&live);
        let displaced = std::mem::take(&mut live.displaced);
        let (held, free): (Vec<Replica>, Vec<Replica>) =
            displaced.into_iter().partition(|replica| live.is_leased(replica.id));
        live.displaced = held;
        drop(live);
        for replica in free {
            self.remove_bytes(&replica.location, replica.charged);
        }
        match next {
            Next::Drain | Next::Drop => self.drain_later(Arc::clone(entry)),
            Next::Evict => self.consider(entry),
            Next::Nothing => {}
        }
    }

    /// Ends a lease against its holder's will, and tells the holder.
    pub(crate) fn end_lease_early(&self, entry: &Arc<Entry>, serial: u64, reason: Reason, message: &str) -> bool {
        self.end_lease_early_if(entry, serial, reason, message, |_| true)
    }

    /// The same, if `check` says so. It is asked under the lock that takes the lease away, so that nothing comes between.
    fn end_lease_early_if(
        &self,
        entry: &Arc<Entry>,
        serial: u64,
        reason: Reason,
        message: &str,
        check: impl FnOnce(&mut LeaseRecord) -> bool,
    ) -> bool {
        let mut live = entry.live();
        if !live.leases.get_mut(&serial).is_some_and(check) {
            return false;
        }
        let Some(record) = self.take_lease(&mut live, serial, Some(reason)) else {
            return false;
        };
        self.after_lease(entry, live);
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

    /// Ends a lease whose term is over. One that was renewed since the timer was set gets another timer.
    pub(crate) fn expire_lease(&self, entry: &Arc<Entry>, serial: u64) {
        let now = self.now();
        let message = "the lease was not renewed within its term";
        self.end_lease_early_if(entry, serial, Reason::LeaseExpired, message, |record| {
            let over = record.term.is_over(now);
            if !over {
                record.timer = self.lease_timer(entry, serial, record.term);
            }
            over
        });
    }

    /// The one place where a lease leaves the books: on both sides under the payload's lock, and with the reason for its
    /// holder if it is not the holder who ends it.
    fn take_lease(&self, live: &mut Live, serial: u64, why: Option<Reason>) -> Option<LeaseRecord> {
        let record = live.leases.remove(&serial)?;
        let mut held = record.holder.held();
        held.leases.remove(&record.id);
        if let Some(reason) = why {
            held.remember_ended(record.id, reason);
        }
        drop(held);
        if let Some(timer) = record.timer {
            self.timers.cancel(timer);
        }
        record.holder.account.leases.sub();
        self.lease_count.fetch_sub(1, Ordering::Relaxed);
        Some(record)
    }
}

/// What the end of a lease lets go on.
enum Next {
    Drain,
    Evict,
    Drop,
    Nothing,
}

fn next_after_lease(live: &Live) -> Next {
    match live.row.state.kind() {
        StateKind::Active if live.draining().any(|replica| !live.is_leased(replica.id)) => Next::Drop,
        _ if !live.leases.is_empty() => Next::Nothing,
        StateKind::Deleting => Next::Drain,
        StateKind::Active if !live.is_considered() => Next::Evict,
        _ => Next::Nothing,
    }
}
