//! Acquire: grant a lease, and with it the way to the bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use payload_core::lease::{self, HolderKind, Term};
use payload_core::{
    Error, ErrorKind, LeaseId, Namespace, Payload, PayloadId, Reason, Replica, ReplicaId, Result, Span, StateKind,
    Tier, Timestamp, limits,
};

use crate::access::{Access, is_quick};
use crate::engine::{Engine, not_found};
use crate::entry::{Entry, LeaseRecord, Live};
use crate::holder::Holder;
use crate::promote::Wish;
use crate::replicate::Patience;
use crate::timers::{Due, Moment};

/// What a consumer asks for besides the payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcquireOptions {
    /// Term of the lease; see [`payload_core::lease::grant`].
    pub ttl: Option<Span>,
    /// Contents up to this size come with the answer.
    pub inline_max: u64,
    /// A wish for a replica in a fast tier.
    pub min_tier: Option<MinTier>,
    /// Whether a container's descriptor is sent even to a holder that was given it before.
    pub resend_descriptor: bool,
    /// How a payload is reached that is in the bucket alone.
    pub in_bucket: InBucket,
}

/// How a payload is reached that is in the bucket alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InBucket {
    /// It is fetched first, and the lease is on the replica above.
    #[default]
    Fetched,
    /// The lease is on the object, which the holder reads with a request of its own.
    ByUrl,
}

/// A wish for a replica in a fast tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinTier {
    /// The slowest that will do.
    pub tier: Tier,
    /// What happens if the payload is in a slower one.
    pub otherwise: Otherwise,
}

/// What happens to a wish that is not fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The payload is promoted first.
    Wait,
    /// The lease is on what there is, and the payload is promoted afterwards.
    TakeWhatThereIs,
}

impl AcquireOptions {
    /// Whether a replica in this tier is not what was wished for.
    fn falls_short(&self, tier: Tier, otherwise: Otherwise) -> bool {
        self.min_tier
            .is_some_and(|wish| tier > wish.tier && wish.otherwise == otherwise)
    }

    /// Whether the holder can use a lease on a replica in this tier.
    fn can_use(&self, tier: Tier) -> bool {
        tier.is_local() || self.in_bucket == InBucket::ByUrl
    }
}

/// A lease and the way to its bytes.
#[derive(Debug)]
pub struct Grant {
    /// Proves the right to it.
    pub lease: LeaseId,
    /// The payload as it was granted.
    pub row: Arc<Payload>,
    /// The replica that the lease holds.
    pub replica: ReplicaId,
    /// When the lease ends unless it is renewed; absent: with the session.
    pub expires_in: Option<Span>,
    /// How to get at the bytes.
    pub access: Access,
}

impl Grant {
    /// The replica that the lease holds.
    pub fn replica(&self) -> &Replica {
        self.row
            .replica(self.replica)
            .expect("a grant names a replica of its row")
    }
}

/// Somebody who waits for a payload to be committed.
pub(crate) struct Waiter {
    number: u64,
    timer: Moment,
    holder: Arc<Holder>,
    options: AcquireOptions,
    done: Done,
}

/// Called once, from whatever thread has the answer.
type Done = Box<dyn FnOnce(Result<Grant>) + Send>;

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Waiter({} for {:?})", self.number, self.holder)
    }
}

impl Engine {
    /// Grants a lease if that needs no I/O: the payload is known, and its bytes are in memory or in a container that
    /// the client has. `None` means that [`acquire`](Self::acquire) must be asked, where blocking is allowed.
    pub fn acquire_quick(
        &self,
        holder: &Arc<Holder>,
        namespace: &Namespace,
        id: PayloadId,
        options: AcquireOptions,
    ) -> Option<Result<Grant>> {
        let entry = self.table.get(id)?;
        let mut live = entry.live();
        if live.row.namespace != *namespace {
            return Some(Err(not_found()));
        }
        if live.in_doubt || !entry.is_of(self.table.era()) {
            return None;
        }
        let replica = match live.leasable(self.wall()) {
            Ok(replica) if options.falls_short(replica.tier(), Otherwise::Wait) => return None,
            Ok(replica) if !is_quick(holder, &live.row, replica, options) => return None,
            Ok(replica) => replica.clone(),
            // A payload without a readable replica is for the path that may repair it.
            Err(error) if error.kind() == ErrorKind::DataLoss => return None,
            // One that is past its time may be held by a stream, which only the repository knows.
            Err(error) if error.reason() == Reason::PayloadExpired => return None,
            Err(error) => return Some(Err(error)),
        };
        let granted = self.grant(holder, &entry, &mut live, &replica, options.ttl);
        drop(live);
        self.promote_if_wished(&entry, &replica, options);
        let mut grant = match granted {
            Ok(grant) => grant,
            Err(error) => return Some(Err(error)),
        };
        match self.access(holder, &grant, options) {
            Ok(access) => grant.access = access,
            Err(_) => {
                self.end_lease(&entry, grant.lease.serial());
                return None;
            }
        }
        Some(Ok(grant))
    }

    /// Grants a lease. Reads the payload's row if it is cold, and turns to the next replica if one is damaged.
    pub fn acquire(
        &self,
        holder: &Arc<Holder>,
        namespace: &Namespace,
        id: PayloadId,
        options: AcquireOptions,
    ) -> Result<Grant> {
        let entry = self.entry(namespace, id)?;
        self.acquire_entry(holder, &entry, options)
    }

    /// By which time it is decided whether a lease may be granted. While an entry of a stream holds the payload, time
    /// does not count for it.
    pub(crate) fn leasing_moment(&self, entry: &Entry) -> Result<Timestamp> {
        let now = self.wall();
        match entry.row().state.check_leasable(now) {
            Err(error) if error.reason() == Reason::PayloadExpired && self.repository().holds(entry.id)? > 0 => {
                Ok(Timestamp::from_micros(i64::MIN))
            }
            _ => Ok(now),
        }
    }

    pub(crate) fn acquire_entry(
        &self,
        holder: &Arc<Holder>,
        entry: &Arc<Entry>,
        options: AcquireOptions,
    ) -> Result<Grant> {
        for _ in 0..limits::REPLICAS_MAX {
            let (replica, mut live) = self.wished_replica(entry, options)?;
            let mut grant = self.grant(holder, entry, &mut live, &replica, options.ttl)?;
            drop(live);
            self.promote_if_wished(entry, &replica, options);
            match self.access(holder, &grant, options) {
                Ok(access) => {
                    grant.access = access;
                    return Ok(grant);
                }
                Err(error) => {
                    self.end_lease(entry, grant.lease.serial());
                    if error.kind() != ErrorKind::DataLoss {
                        return Err(error);
                    }
                    tracing::error!(payload = %entry.id, replica = %replica.id, %error, "a replica is damaged");
                    self.replica_lost(entry, replica.id, error)?;
                }
            }
        }
        Err(Error::new(
            Reason::Internal,
            "a payload kept losing replicas while it was being read",
        ))
    }

    /// The replica to grant, promoted if somebody wants to wait for that, under the lock under which it is granted.
    fn wished_replica<'a>(
        &self,
        entry: &'a Arc<Entry>,
        options: AcquireOptions,
    ) -> Result<(Replica, MutexGuard<'a, Live>)> {
        let is_too_low = |replica: &Replica| options.falls_short(replica.tier(), Otherwise::Wait);
        let mut moment = self.leasing_moment(entry)?;
        let mut live = entry.live();
        let mut replica = live.leasable(moment)?.clone();
        while is_too_low(&replica) || !options.can_use(replica.tier()) {
            drop(live);
            match options.min_tier {
                Some(wish) if is_too_low(&replica) => self.fetch(entry, wish.tier, Patience::InLine, "acquire")?,
                _ => self.fetch_here(entry, "acquire")?,
            }
            moment = self.leasing_moment(entry)?;
            live = entry.live();
            replica = live.leasable(moment)?.clone();
        }
        Ok((replica, live))
    }

    fn promote_if_wished(&self, entry: &Arc<Entry>, replica: &Replica, options: AcquireOptions) {
        if options.falls_short(replica.tier(), Otherwise::TakeWhatThereIs) {
            self.wish_for(entry, &mut entry.live(), Wish::Asked);
        }
    }

    /// Grants a lease, and waits for the payload to be committed if it is still allocated. `done` is called once.
    pub fn acquire_when_committed(
        &self,
        holder: &Arc<Holder>,
        namespace: &Namespace,
        id: PayloadId,
        options: AcquireOptions,
        wait: Span,
        done: impl FnOnce(Result<Grant>) + Send + 'static,
    ) {
        let entry = match self.entry(namespace, id) {
            Ok(entry) => entry,
            Err(error) => return done(Err(error)),
        };
        let mut live = entry.live();
        if let (StateKind::Allocated, Err(error)) = (live.row.state.kind(), live.elsewhere()) {
            drop(live);
            return done(Err(error));
        }
        if live.row.state.kind() != StateKind::Allocated || wait.is_zero() {
            drop(live);
            return done(self.acquire_entry(holder, &entry, options));
        }
        let number = self.next_waiter();
        let due = Due::Wait(Arc::downgrade(&entry), number);
        live.waiters.push(Waiter {
            number,
            timer: self.timers.set(self.now().after(wait), due),
            holder: Arc::clone(holder),
            options,
            done: Box::new(done),
        });
    }

    /// Answers everybody who waits for a payload whose allocation has ended, one way or the other.
    pub(crate) fn answer_waiters(&self, entry: &Arc<Entry>) {
        let waiters = std::mem::take(&mut entry.live().waiters);
        for waiter in waiters {
            self.timers.cancel(waiter.timer);
            let grant = self.acquire_entry(&waiter.holder, entry, waiter.options);
            (waiter.done)(grant);
        }
    }

    /// Answers one waiter whose time is over, if it still waits.
    pub(crate) fn time_out_waiter(&self, entry: &Arc<Entry>, number: u64) {
        let mut live = entry.live();
        let Some(position) = live.waiters.iter().position(|waiter| waiter.number == number) else {
            return;
        };
        let waiter = live.waiters.swap_remove(position);
        drop(live);
        (waiter.done)(Err(Error::new(
            Reason::WaitTimedOut,
            "the payload was not committed within the time given",
        )));
    }

    /// Writes the lease down. The holder's own list is updated under the payload's lock, so that the two never disagree.
    pub(crate) fn grant(
        &self,
        holder: &Arc<Holder>,
        entry: &Arc<Entry>,
        live: &mut Live,
        replica: &Replica,
        ttl: Option<Span>,
    ) -> Result<Grant> {
        let id = self.mint.lease(&holder.principal, entry.id, replica.id);
        let term = lease::grant(&self.settings.lease_terms, holder.kind, ttl, self.now())?;
        self.write_lease(holder, entry, live, replica.id, id, term)
    }

    /// The same under a given id and term; for a lease of an earlier start.
    pub(crate) fn write_lease(
        &self,
        holder: &Arc<Holder>,
        entry: &Arc<Entry>,
        live: &mut Live,
        replica: ReplicaId,
        id: LeaseId,
        term: Term,
    ) -> Result<Grant> {
        if holder.kind == HolderKind::Remote {
            self.note_remote_leases()?;
        }
        holder
            .account
            .leases
            .add(self.settings.caps.leases_per_principal, Reason::TooManyLeases, "leases")?;
        let mut held = holder.held();
        if held.closed {
            holder.account.leases.sub();
            return Err(Error::new(Reason::SessionNotFound, "the session has closed"));
        }
        held.leases.insert(id, Arc::clone(entry));
        drop(held);

        let now = self.now();
        live.leases.insert(
            id.serial(),
            LeaseRecord {
                id,
                holder: Arc::clone(holder),
                replica,
                granted_at: now,
                term,
                timer: self.lease_timer(entry, id.serial(), term),
            },
        );
        self.count_use(entry, live, replica);
        self.lease_count.fetch_add(1, Ordering::Relaxed);
        self.metrics.lease_granted(holder.kind);
        Ok(Grant {
            lease: id,
            row: Arc::clone(&live.row),
            replica,
            expires_in: term.ends_at.map(|end| end.since(now)),
            access: Access::Elsewhere,
        })
    }

    /// Sets the moment at which a lease is looked at, if its term has an end.
    pub(crate) fn lease_timer(&self, entry: &Arc<Entry>, serial: u64, term: Term) -> Option<Moment> {
        let due = || Due::Lease(Arc::downgrade(entry), serial);
        term.ends_at.map(|end| self.timers.set(end, due()))
    }
}
