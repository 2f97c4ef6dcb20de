//! Who holds leases and allocations: a local session, or a principal somewhere else.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use payload_core::lease::HolderKind;
use payload_core::{Container, Error, LeaseId, PayloadId, Principal, Reason, Result, SessionId, Span};

use crate::entry::Entry;

/// How many ended leases a holder can still be told about.
const ENDED_MAX: usize = 256;

/// A session of the local socket, or everything that one principal holds from afar.
pub struct Holder {
    /// Names the session; proves the right to resume it.
    pub session: SessionId,
    /// Whether its death can be seen.
    pub kind: HolderKind,
    /// Whose.
    pub principal: Principal,
    /// The process behind it.
    pub peer: Peer,
    pub(crate) account: Arc<Account>,
    pub(crate) sink: Box<dyn NoticeSink>,
    held: Mutex<Held>,
}

/// The process that opened a session, as the kernel saw it. Empty for a remote holder.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its process id.
    pub pid: u32,
    /// Its name at that time.
    pub command: String,
}

/// Takes notices to the client; must not block.
pub trait NoticeSink: Send + Sync {
    /// Sends one, or drops it if the client is gone.
    fn send(&self, notice: Notice);
}

/// What the server tells a session without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A lease ended before its holder released it.
    LeaseEnded {
        /// Which.
        lease: LeaseId,
        /// `LEASE_EXPIRED` or `LEASE_REVOKED`.
        reason: Reason,
        /// For people.
        message: String,
    },
    /// No lease will ever name these containers again.
    ContainersGone(Vec<Container>),
}

#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) leases: HashMap<LeaseId, Arc<Entry>>,
    pub(crate) allocations: HashMap<PayloadId, Arc<Entry>>,
    /// Containers whose descriptor the client has.
    pub(crate) known: HashSet<Container>,
    /// Leases that ended without a release, the latest last, so that their holder is told why.
    pub(crate) ended: VecDeque<(LeaseId, Reason)>,
    pub(crate) closed: bool,
}

impl Held {
    pub(crate) fn remember_ended(&mut self, lease: LeaseId, reason: Reason) {
        if self.ended.len() == ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back((lease, reason));
    }

    /// The refusal for a lease that is not held.
    pub(crate) fn not_held(&self, lease: LeaseId) -> Error {
        match self.ended.iter().find(|(ended, _)| *ended == lease) {
            Some((_, Reason::LeaseExpired)) => {
                Error::new(Reason::LeaseExpired, "the lease has expired; acquire the payload again")
            }
            Some((_, reason)) => Error::new(*reason, "the lease was revoked; acquire the payload again"),
            None => Error::new(Reason::LeaseNotFound, "no such lease of this holder"),
        }
    }
}

impl Holder {
    pub(crate) fn new(
        session: SessionId,
        kind: HolderKind,
        principal: Principal,
        peer: Peer,
        account: Arc<Account>,
        sink: Box<dyn NoticeSink>,
    ) -> Self {
        Self {
            session,
            kind,
            principal,
            peer,
            account,
            sink,
            held: Mutex::default(),
        }
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock()
    }

    /// Notes that the client was sent descriptors of these containers.
    pub fn remember(&self, containers: impl IntoIterator<Item = Container>) {
        self.held().known.extend(containers);
    }

    /// Notes that the client has closed what it had of these containers.
    pub fn forget(&self, containers: &[Container]) {
        let mut held = self.held();
        for container in containers {
            held.known.remove(container);
        }
    }
}

impl std::fmt::Debug for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Holder({} pid {} {:?})", self.principal, self.peer.pid, self.session)
    }
}

/// What one principal has at once, over all its sessions.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) sessions: Count,
    pub(crate) leases: Count,
    pub(crate) allocations: Count,
}

/// Counts up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    /// One more, or the refusal that `reason` and `what` make.
    pub(crate) fn add(&self, max: usize, reason: Reason, what: &str) -> Result<()> {
        let more = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < max).then_some(count + 1)
        });
        match more {
            Ok(_) => Ok(()),
            Err(_) => Err(
                Error::new(reason, format!("a principal has at most {max} {what} at once"))
                    .retry_after(Span::from_secs(1)),
            ),
        }
    }

    /// One less.
    pub(crate) fn sub(&self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "counted down below zero");
    }
}
