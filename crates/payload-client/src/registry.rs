//! What this client holds: the leases and open allocations that a restarted server must be asked for again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::{Instant, LeaseId, Span};
use payload_proto::v1;
use tokio::sync::Notify;

use crate::clock;
use crate::lease::LeaseState;

/// A renewal that failed is not tried again sooner than this.
const RENEWAL_PAUSE_MIN: Span = Span::from_millis(20);

/// Everything held, by one client.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
    /// There is something to release.
    pub(crate) release_wanted: Notify,
    /// The next renewal is due at another time than before.
    pub(crate) renewal_wanted: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    leases: HashMap<LeaseId, Arc<LeaseRecord>>,
    allocations: HashMap<String, Arc<AllocationRecord>>,
    /// Leases with a term, by the time of their next renewal.
    due: BTreeSet<(Instant, LeaseId)>,
    /// Dropped, and the server does not know it yet.
    releases: Vec<LeaseId>,
    aborts: Vec<Arc<AllocationRecord>>,
    /// Subscriptions of which nothing more is wanted.
    closes: Vec<u64>,
    /// The number of the latest one; none is used twice, so closing the same one twice hits no other.
    last_subscription: u64,
}

/// One lease, shared by its owner and those who look after it.
#[derive(Debug)]
pub(crate) struct LeaseRecord {
    pub(crate) descriptor: v1::Descriptor,
    /// The term that the owner asked for.
    pub(crate) ttl: Option<Span>,
    standing: Mutex<Standing>,
}

/// What changes about a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// The server's name for it; a restarted server gives a new one.
    pub(crate) id: LeaseId,
    /// The start of the server that granted it.
    pub(crate) epoch: u64,
    pub(crate) state: LeaseState,
    pub(crate) ends_at: Option<Instant>,
    renew_at: Option<Instant>,
}

/// An allocation that is neither committed nor aborted.
#[derive(Debug)]
pub(crate) struct AllocationRecord {
    pub(crate) payload_id: String,
    pub(crate) token: String,
    /// The start of the server whose session it belongs to.
    epoch: Mutex<u64>,
}

impl Standing {
    /// A lease that was just granted, or granted again. `asked_at` is when it was asked for: the server's count of the
    /// term began later, so this end comes a little early and never late.
    pub(crate) fn granted(id: LeaseId, epoch: u64, asked_at: Instant, expires_in_ms: Option<u64>) -> Self {
        let term = expires_in_ms.map(Span::from_millis);
        Self {
            id,
            epoch,
            state: LeaseState::Live,
            ends_at: term.map(|term| asked_at.after(term)),
            renew_at: term.map(|term| asked_at.after(term / 3)),
        }
    }
}

impl LeaseRecord {
    pub(crate) fn new(descriptor: v1::Descriptor, ttl: Option<Span>, standing: Standing) -> Arc<Self> {
        Arc::new(Self {
            descriptor,
            ttl,
            standing: Mutex::new(standing),
        })
    }

    /// How the lease stands at this moment, by this process's own clock if no word came from the server.
    pub(crate) fn standing(&self) -> Standing {
        let mut standing = self.standing.lock();
        if standing.state == LeaseState::Live && standing.ends_at.is_some_and(|end| end <= clock::now()) {
            standing.state = LeaseState::Expired;
        }
        *standing
    }

    pub(crate) fn to_ref(&self) -> v1::LeaseRef {
        v1::LeaseRef {
            lease_id: self.standing.lock().id.to_string(),
            payload_id: self.descriptor.payload_id.clone(),
            replica_id: self.descriptor.replica_id.clone(),
        }
    }
}

impl AllocationRecord {
    pub(crate) fn new(payload_id: String, token: String, epoch: u64) -> Arc<Self> {
        Arc::new(Self {
            payload_id,
            token,
            epoch: Mutex::new(epoch),
        })
    }
}

impl Registry {
    pub(crate) fn add_lease(&self, record: &Arc<LeaseRecord>) {
        let standing = record.standing();
        let mut inner = self.inner.lock();
        inner.leases.insert(standing.id, Arc::clone(record));
        let sooner = schedule(&mut inner, &standing);
        drop(inner);
        self.wake_renewal(sooner);
    }

    /// Takes a lease out and says what to release, if the server still counts it.
    pub(crate) fn take_lease(&self, record: &LeaseRecord) -> Option<LeaseId> {
        let mut inner = self.inner.lock();
        let standing = *record.standing.lock();
        forget(&mut inner, &standing)?;
        (standing.state == LeaseState::Live).then_some(standing.id)
    }

    /// Has a lease released in the background.
    pub(crate) fn release_later(&self, id: LeaseId) {
        self.inner.lock().releases.push(id);
        self.release_wanted.notify_one();
    }

    /// What is to be released now, at most `max`.
    pub(crate) fn next_releases(&self, max: usize) -> Vec<LeaseId> {
        let mut inner = self.inner.lock();
        let count = inner.releases.len().min(max);
        inner.releases.drain(..count).collect()
    }

    /// What is to be aborted now.
    pub(crate) fn next_abort(&self) -> Option<Arc<AllocationRecord>> {
        self.inner.lock().aborts.pop()
    }

    /// Notes that a lease ended before it was released.
    pub(crate) fn end_lease(&self, id: LeaseId, state: LeaseState) {
        let mut inner = self.inner.lock();
        let Some(record) = inner.leases.get(&id).cloned() else {
            return;
        };
        let mut standing = record.standing.lock();
        forget(&mut inner, &standing);
        standing.state = state;
    }

    /// Moves the end of a lease. An end that hardly moves is at its maximum: the lease is not renewed again.
    pub(crate) fn renewed(&self, record: &LeaseRecord, asked_at: Instant, expires_in_ms: Option<u64>) {
        let mut inner = self.inner.lock();
        let mut standing = record.standing.lock();
        if !inner.leases.contains_key(&standing.id) {
            return;
        }
        unschedule(&mut inner, &standing);
        let fresh = Standing::granted(standing.id, standing.epoch, asked_at, expires_in_ms);
        let moved = match (standing.ends_at, fresh.ends_at) {
            (Some(old), Some(new)) => new.since(old) > new.since(asked_at) / 10,
            _ => false,
        };
        standing.ends_at = fresh.ends_at;
        standing.renew_at = fresh.renew_at.filter(|_| moved);
        schedule(&mut inner, &standing);
    }

    /// Tries a renewal once more, when a third of what is left has passed.
    pub(crate) fn renew_again(&self, record: &LeaseRecord, now: Instant) {
        let mut inner = self.inner.lock();
        let mut standing = record.standing.lock();
        let left = standing.ends_at.map_or(Span::ZERO, |end| end.since(now));
        if left.is_zero() || !inner.leases.contains_key(&standing.id) {
            return;
        }
        unschedule(&mut inner, &standing);
        standing.renew_at = Some(now.after((left / 3).max(RENEWAL_PAUSE_MIN)));
        schedule(&mut inner, &standing);
    }

    /// Leases whose renewal is due; they are not due again until they were renewed.
    pub(crate) fn due(&self, now: Instant) -> Vec<Arc<LeaseRecord>> {
        let mut inner = self.inner.lock();
        let mut due = Vec::new();
        while let Some((_, id)) = inner.due.first().copied().filter(|(at, _)| *at <= now) {
            inner.due.pop_first();
            due.extend(inner.leases.get(&id).cloned());
        }
        due
    }

    /// When the next renewal is due, if any is.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.inner.lock().due.first().map(|(at, _)| *at)
    }

    /// A number for a subscription.
    pub(crate) fn next_subscription(&self) -> u64 {
        let mut inner = self.inner.lock();
        inner.last_subscription += 1;
        inner.last_subscription
    }

    /// Has a subscription closed in the background.
    pub(crate) fn close_later(&self, number: u64) {
        self.inner.lock().closes.push(number);
        self.release_wanted.notify_one();
    }

    /// What is to be closed now.
    pub(crate) fn next_close(&self) -> Option<u64> {
        self.inner.lock().closes.pop()
    }

    pub(crate) fn add_allocation(&self, record: &Arc<AllocationRecord>) {
        self.inner
            .lock()
            .allocations
            .insert(record.payload_id.clone(), Arc::clone(record));
    }

    pub(crate) fn remove_allocation(&self, record: &AllocationRecord) {
        self.inner.lock().allocations.remove(&record.payload_id);
    }

    /// Has an allocation aborted in the background.
    pub(crate) fn abort_later(&self, record: &Arc<AllocationRecord>) {
        let mut inner = self.inner.lock();
        if inner.allocations.remove(&record.payload_id).is_some() {
            inner.aborts.push(Arc::clone(record));
            self.release_wanted.notify_one();
        }
    }

    /// After a reconnect to the start `epoch` of the same node: what an earlier start granted and can be had again.
    /// What this very start granted ended with the old connection and is lost.
    pub(crate) fn reclaimable(&self, epoch: u64) -> (Vec<Arc<LeaseRecord>>, Vec<Arc<AllocationRecord>>) {
        self.lose_leases(|standing| standing.epoch == epoch);
        let mut inner = self.inner.lock();
        inner.releases.clear();
        inner.aborts.clear();
        inner.closes.clear();
        let leases = inner.leases.values().cloned().collect();
        let allocations = inner
            .allocations
            .values()
            .filter(|record| *record.epoch.lock() != epoch)
            .cloned()
            .collect();
        (leases, allocations)
    }

    /// A lease goes on under a new name. If its owner dropped it meanwhile, it is released.
    pub(crate) fn reclaimed(&self, record: &Arc<LeaseRecord>, fresh: Standing) {
        let mut inner = self.inner.lock();
        let mut standing = record.standing.lock();
        if forget(&mut inner, &standing).is_none() {
            inner.releases.push(fresh.id);
            self.release_wanted.notify_one();
            return;
        }
        *standing = fresh;
        inner.leases.insert(fresh.id, Arc::clone(record));
        let sooner = schedule(&mut inner, &fresh);
        drop(standing);
        drop(inner);
        self.wake_renewal(sooner);
    }

    /// An allocation goes on in the session of another start.
    pub(crate) fn reclaimed_allocation(record: &AllocationRecord, epoch: u64) {
        *record.epoch.lock() = epoch;
    }

    /// Gives leases up; their bytes stay readable.
    pub(crate) fn lose_leases(&self, which: impl Fn(&Standing) -> bool) {
        let mut inner = self.inner.lock();
        let records: Vec<Arc<LeaseRecord>> = inner.leases.values().cloned().collect();
        for record in records {
            let mut standing = record.standing.lock();
            if which(&standing) {
                forget(&mut inner, &standing);
                standing.state = LeaseState::Lost;
            }
        }
    }

    fn wake_renewal(&self, sooner: bool) {
        if sooner {
            self.renewal_wanted.notify_one();
        }
    }
}

fn forget(inner: &mut Inner, standing: &Standing) -> Option<Arc<LeaseRecord>> {
    unschedule(inner, standing);
    inner.leases.remove(&standing.id)
}

fn unschedule(inner: &mut Inner, standing: &Standing) {
    if let Some(at) = standing.renew_at {
        inner.due.remove(&(at, standing.id));
    }
}

/// Whether this renewal is the next one of all.
fn schedule(inner: &mut Inner, standing: &Standing) -> bool {
    let Some(at) = standing.renew_at else { return false };
    inner.due.insert((at, standing.id));
    inner.due.first() == Some(&(at, standing.id))
}
