//! What the server knows of one payload: its row, who holds it, who waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use payload_core::lease::Term;
use payload_core::tiering::Heat;
use payload_core::{
    Error, Instant, NodeId, Payload, PayloadId, Replica, ReplicaId, ReplicaState, Result, StateKind, Tier,
};

use crate::PerTier;
use crate::acquire::Waiter;
use crate::holder::Holder;
use crate::promote::Wish;
use crate::setback::Setbacks;
use crate::timers::Moment;

/// One payload in memory. Locks are taken in the order mover, gate, live, holder.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: PayloadId,
    /// Whoever copies the bytes into another tier holds it: one copy at a time, however many ask.
    mover: Mutex<()>,
    /// Whoever changes the row holds it from the decision until the repository has answered. Reading needs it not.
    gate: Mutex<()>,
    live: Mutex<Live>,
    /// The row was there before this server started: sessions that it does not know yet may still hold it.
    pub(crate) inherited: AtomicBool,
    /// The [era](crate::table::Table::era) in which the row was read or written.
    era: AtomicU64,
}

/// The part that changes from call to call.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) row: Arc<Payload>,
    /// The node of this server: the replicas of others are out of its reach.
    node: NodeId,
    /// By serial number.
    pub(crate) leases: HashMap<u64, LeaseRecord>,
    pub(crate) waiters: Vec<Waiter>,
    /// Who may commit, while the payload is allocated. Absent after a restart until somebody reclaims it.
    pub(crate) owner: Option<Arc<Holder>>,
    /// The server itself is writing what somebody sends; until it is done nobody else may, and nobody can commit.
    pub(crate) uploading: bool,
    /// Why no lease may be granted although the row still says active: a deletion is being written.
    pub(crate) closing: bool,
    /// The replicas that are to be dropped, now or when their last leases end: no new lease gets them.
    pub(crate) leaving: Vec<ReplicaId>,
    /// Replicas that the row does not name any more, and that leases hold which are older than that.
    pub(crate) displaced: Vec<Replica>,
    /// Whether the replica in a tier is in the index of what may be evicted from it.
    candidate: PerTier<bool>,
    /// Leases granted on the replica in a tier since its evictor last looked.
    pub(crate) uses: PerTier<u8>,
    /// How often the payload was leased lately, from whatever tier.
    pub(crate) heat: Heat,
    /// Why it waits to be fetched into RAM, if it does.
    pub(crate) wished: Option<Wish>,
    /// When the replica in RAM was fetched, if it was.
    pub(crate) promoted_at: Option<Instant>,
    /// When the time for which its policy keeps it in RAM is looked at again.
    pub(crate) stay: Option<Moment>,
    /// How many calls are pinning it at this moment.
    pub(crate) pinning: u32,
    /// How the last copies of the payload went.
    pub(crate) setbacks: Setbacks,
    /// A change may or may not have happened, and the repository could not be asked: the row may be an old one.
    pub(crate) in_doubt: bool,
}

/// A lease, from the payload's side.
#[derive(Debug)]
pub(crate) struct LeaseRecord {
    pub(crate) id: payload_core::LeaseId,
    pub(crate) holder: Arc<Holder>,
    pub(crate) replica: ReplicaId,
    pub(crate) granted_at: Instant,
    pub(crate) term: Term,
    /// When the term is looked at, if it has an end. A renewal leaves it: what is due too early is set anew.
    pub(crate) timer: Option<Moment>,
}

/// Proof that its owner is the only one who changes the row.
pub(crate) struct Gate<'a> {
    pub(crate) entry: &'a Arc<Entry>,
    _guard: MutexGuard<'a, ()>,
}

impl Entry {
    pub(crate) fn new(row: Arc<Payload>, node: NodeId, inherited: bool, era: u64) -> Self {
        let live = Live {
            row,
            node,
            leases: HashMap::new(),
            waiters: Vec::new(),
            owner: None,
            uploading: false,
            closing: false,
            leaving: Vec::new(),
            displaced: Vec::new(),
            candidate: PerTier::default(),
            uses: PerTier::default(),
            heat: Heat::default(),
            wished: None,
            promoted_at: None,
            stay: None,
            pinning: 0,
            setbacks: Setbacks::default(),
            in_doubt: false,
        };
        Self {
            id: live.row.id,
            mover: Mutex::new(()),
            gate: Mutex::new(()),
            live: Mutex::new(live),
            inherited: AtomicBool::new(inherited),
            era: AtomicU64::new(era),
        }
    }

    pub(crate) fn gate(self: &Arc<Self>) -> Gate<'_> {
        Gate {
            entry: self,
            _guard: self.gate.lock(),
        }
    }

    /// The right to copy the bytes; waits for whoever has it.
    pub(crate) fn mover(&self) -> MutexGuard<'_, ()> {
        self.mover.lock()
    }

    /// The same, unless somebody has it.
    pub(crate) fn try_mover(&self) -> Option<MutexGuard<'_, ()>> {
        self.mover.try_lock()
    }

    /// Whether the bytes are being copied into another tier.
    pub(crate) fn is_moving(&self) -> bool {
        self.mover.is_locked()
    }

    /// The live part, if nobody uses it at this moment.
    pub(crate) fn try_live(&self) -> Option<MutexGuard<'_, Live>> {
        self.live.try_lock()
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock()
    }

    /// Whether the row was read or written in this era.
    pub(crate) fn is_of(&self, era: u64) -> bool {
        self.era.load(Ordering::Acquire) == era
    }

    /// Notes that the row was read after an era had begun.
    pub(crate) fn read_in(&self, era: u64) {
        self.era.store(era, Ordering::Release);
    }

    pub(crate) fn row(&self) -> Arc<Payload> {
        Arc::clone(&self.live.lock().row)
    }

    /// Whether nothing but the row would be lost if the entry were dropped from memory.
    pub(crate) fn is_droppable(&self) -> bool {
        let Some(live) = self.live.try_lock() else { return false };
        live.leases.is_empty()
            && live.waiters.is_empty()
            && live.owner.is_none()
            && !live.closing
            && !matches!(live.row.state.kind(), StateKind::Allocated | StateKind::Deleting)
            && !live.own().any(|replica| replica.tier() == Tier::Ram)
    }
}

impl Live {
    /// The replica that a new lease gets, if one may be granted now.
    pub(crate) fn leasable(&self, now: payload_core::Timestamp) -> Result<&payload_core::Replica> {
        if self.in_doubt {
            return Err(Error::new(
                payload_core::Reason::RepositoryUnavailable,
                "the repository has not said yet what became of the payload",
            ));
        }
        if self.closing {
            return Err(Error::new(
                payload_core::Reason::PayloadDeleted,
                "payload is being deleted",
            ));
        }
        self.row.state.check_leasable(now)?;
        let best = self.readable().min_by_key(|replica| replica.tier());
        best.ok_or_else(|| {
            self.elsewhere().err().unwrap_or_else(|| {
                Error::new(
                    payload_core::Reason::BytesMissing,
                    "payload has no replica that can be read",
                )
            })
        })
    }

    /// Refuses what only the node of the bytes can do, if that is another one.
    pub(crate) fn elsewhere(&self) -> Result<()> {
        match self.row.replicas.first() {
            Some(replica) if !self.is_here() => Err(Error::new(
                payload_core::Reason::PayloadElsewhere,
                format!("payload is on node {}, and not on this one", replica.node),
            )),
            _ => Ok(()),
        }
    }

    /// Whether this node can reach anything of it.
    pub(crate) fn is_here(&self) -> bool {
        self.row.replicas_for(self.node).next().is_some()
    }

    /// The replicas of this node.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Replica> {
        self.row.replicas_of(self.node)
    }

    /// The replicas that a new lease may get.
    pub(crate) fn readable(&self) -> impl Iterator<Item = &Replica> {
        self.ready().filter(|replica| !self.leaving.contains(&replica.id))
    }

    /// The complete replicas that this node can reach, whether or not one of them is about to go.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &Replica> {
        let reachable = self.row.replicas_for(self.node);
        reachable.filter(|replica| replica.state == ReplicaState::Ready)
    }

    /// Whether there is a complete replica in a tier.
    pub(crate) fn has_ready(&self, tier: Tier) -> bool {
        self.ready().any(|replica| replica.tier() == tier)
    }

    /// The readable replica in a tier.
    pub(crate) fn replica_in(&self, tier: Tier) -> Option<&Replica> {
        self.readable().find(|replica| replica.tier() == tier)
    }

    /// The replicas that wait for their leases to end before they are dropped.
    pub(crate) fn draining(&self) -> impl Iterator<Item = &Replica> {
        self.leaving.iter().filter_map(|leaving| self.row.replica(*leaving))
    }

    /// Whether the replica in a tier is in the index of what may be evicted from it.
    pub(crate) fn is_candidate(&self, tier: Tier) -> bool {
        self.candidate.get(tier) == Some(&true)
    }

    /// Notes whether it is; returns whether it was.
    pub(crate) fn set_candidate(&mut self, tier: Tier, is: bool) -> bool {
        let candidate = self.candidate.get_mut(tier);
        candidate.is_some_and(|candidate| std::mem::replace(candidate, is))
    }

    /// Whether the fastest replica is in the index of its tier. The others were considered when they were added, and are
    /// when it goes.
    pub(crate) fn is_considered(&self) -> bool {
        let fastest = self.readable().map(Replica::tier).min();
        fastest.is_none_or(|tier| self.is_candidate(tier))
    }

    /// Whether a lease holds the replica.
    pub(crate) fn is_leased(&self, replica: ReplicaId) -> bool {
        self.leases.values().any(|lease| lease.replica == replica)
    }

    /// Whether the payload needs no other copy to leave a tier: there is one as far down as its policy lets it sink.
    pub(crate) fn has_copy_below(&self, tier: Tier) -> bool {
        let policy = self.row.policy;
        let below = |other: &Replica| other.tier() > tier && policy.may_sink_to(other.tier());
        self.readable().any(below)
    }

    /// Whether somebody has pinned the replica, or is about to.
    pub(crate) fn is_pinned(&self, replica: &Replica) -> bool {
        replica.pin.is_some() || self.pinning > 0
    }

    /// How many leases hold the replica.
    pub(crate) fn leases_on(&self, replica: ReplicaId) -> usize {
        self.leases.values().filter(|lease| lease.replica == replica).count()
    }
}
