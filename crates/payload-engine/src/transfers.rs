//! What is on its way from tier to tier at this moment, and what waits to be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use payload_core::{Durability, Error, Instant, Namespace, Payload, PayloadId, PayloadRef, Reason, Result, Span, Tier};

use crate::PerTier;
use crate::engine::Engine;
use crate::promote::Wish;

/// How many of those that wait are listed.
const QUEUED_MAX: usize = 100;

/// The copies that are being made.
#[derive(Debug, Default)]
pub(crate) struct Transfers(Mutex<Copies>);

#[derive(Debug, Default)]
struct Copies {
    last: u64,
    running: BTreeMap<u64, Copy>,
}

#[derive(Debug)]
struct Copy {
    row: Arc<Payload>,
    from: Tier,
    to: Tier,
    why: &'static str,
    began: Instant,
    cancelled: Arc<AtomicBool>,
}

/// A copy is listed for as long as this lives.
pub(crate) struct Listed<'a> {
    transfers: &'a Transfers,
    number: u64,
    why: &'static str,
    cancelled: Arc<AtomicBool>,
}

/// A copy that is being made.
#[derive(Clone, Debug)]
pub struct Running {
    /// Whose.
    pub namespace: Namespace,
    /// Of what.
    pub payload: PayloadId,
    /// How many bytes.
    pub size: u64,
    /// Read there.
    pub from: Tier,
    /// Written here.
    pub to: Tier,
    /// `spill`, `promotion`, …
    pub why: &'static str,
    /// Since when.
    pub age: Span,
}

/// A move that has not begun.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Whose.
    pub namespace: Namespace,
    /// Of what.
    pub payload: PayloadId,
    /// How many bytes.
    pub size: u64,
    /// To which tier; none: it is only to leave the one that it is in.
    pub to: Option<Tier>,
    /// `eviction`, `prefetch`, `heat` or `write-behind`.
    pub why: &'static str,
}

/// All moves of a node.
#[derive(Clone, Debug, Default)]
pub struct TransferList {
    /// Under way, the oldest first.
    pub running: Vec<Running>,
    /// The first of those that wait.
    pub queued: Vec<Queued>,
    /// How many wait.
    pub queued_total: usize,
}

impl Transfers {
    pub(crate) fn begin(
        &self,
        row: &Arc<Payload>,
        from: Tier,
        to: Tier,
        why: &'static str,
        began: Instant,
    ) -> Listed<'_> {
        let mut copies = self.0.lock();
        copies.last += 1;
        let number = copies.last;
        let row = Arc::clone(row);
        let cancelled = Arc::<AtomicBool>::default();
        let copy = Copy {
            row,
            from,
            to,
            why,
            began,
            cancelled: Arc::clone(&cancelled),
        };
        copies.running.insert(number, copy);
        Listed {
            transfers: self,
            number,
            why,
            cancelled,
        }
    }

    /// Has the copies of a payload given up that are under way; false if there are none.
    fn cancel(&self, payload: PayloadId) -> bool {
        let copies = self.0.lock();
        let mut any = false;
        for copy in copies.running.values().filter(|copy| copy.row.id == payload) {
            copy.cancelled.store(true, Ordering::Release);
            any = true;
        }
        any
    }

    /// Everything that is under way, the oldest first.
    pub(crate) fn running(&self, now: Instant) -> Vec<Running> {
        let copies = self.0.lock();
        let view = |copy: &Copy| Running {
            namespace: copy.row.namespace.clone(),
            payload: copy.row.id,
            size: copy.row.size,
            from: copy.from,
            to: copy.to,
            why: copy.why,
            age: now.since(copy.began),
        };
        copies.running.values().map(view).collect()
    }
}

impl Listed<'_> {
    /// Refuses to go on once somebody wants it to be given up.
    pub(crate) fn check(&self) -> Result<()> {
        match self.cancelled.load(Ordering::Acquire) {
            true => Err(Error::new(Reason::Conflict, "the copy was cancelled")),
            false => Ok(()),
        }
    }

    /// What it is for.
    pub(crate) fn why(&self) -> &'static str {
        self.why
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.transfers.0.lock().running.remove(&self.number);
    }
}

impl Engine {
    /// Has a move given up that waits or is under way, and leaves the payload where it is for a while; false if nothing moves. A
    /// copy that its row names already is not taken back.
    pub fn cancel_transfer(&self, namespace: &Namespace, payload: &PayloadRef) -> Result<bool> {
        let id = self.resolve(namespace, payload)?;
        let entry = self.entry(namespace, id)?;
        // In this order: a wish that is being fulfilled is listed before it is forgotten.
        let waited = entry.live().wished.take().is_some();
        let running = self.transfers.cancel(id);
        let chosen = |tier: Tier| self.evictor(tier).chosen().contains(&id);
        if waited || running || PerTier::<()>::TIERS.into_iter().any(chosen) {
            self.set_aside(&entry);
            return Ok(true);
        }
        Ok(false)
    }

    /// What moves now, and what is going to.
    pub fn transfers(&self) -> TransferList {
        let running = self.transfers.running(self.now());
        let chosen = PerTier::<()>::TIERS.map(|tier| (tier, self.evictor(tier).chosen()));
        let leaving = chosen
            .into_iter()
            .flat_map(|(tier, ids)| ids.into_iter().map(move |id| (tier, id)));
        let is_running = |id: &PayloadId| running.iter().any(|copy| copy.payload == *id);
        let (wishes, wished) = self.wishes.first(QUEUED_MAX);
        let waiting: Vec<(Tier, PayloadId)> = leaving.filter(|(_, id)| !is_running(id)).collect();
        let (owing, _) = self.owed.totals();
        let owed = self.owed.first(QUEUED_MAX).into_iter().filter(|id| !is_running(id));
        let behind = owed.filter_map(|id| {
            let row = self.table.get(id)?.row();
            Some(queued(&row, row.owes().map(Durability::tier), "write-behind"))
        });
        let queued_total = waiting.len() + wished + owing;
        let leaving = waiting.into_iter().filter_map(|(tier, id)| self.leaving(tier, id));
        let coming = wishes.into_iter().map(|entry| {
            let live = entry.live();
            let why = match live.wished {
                Some(Wish::Hot) => "heat",
                _ => "prefetch",
            };
            queued(&live.row, Some(Tier::Ram), why)
        });
        TransferList {
            queued: leaving.chain(coming).chain(behind).take(QUEUED_MAX).collect(),
            queued_total,
            running,
        }
    }

    fn leaving(&self, tier: Tier, id: PayloadId) -> Option<Queued> {
        let entry = self.table.get(id)?;
        let live = entry.live();
        let replica = live.replica_in(tier)?;
        let facts = self.facts(&entry, &live, replica);
        let to = facts
            .below
            .filter(|_| facts.exit() == payload_core::tiering::Exit::Spill);
        Some(queued(&live.row, to, "eviction"))
    }
}

fn queued(row: &Payload, to: Option<Tier>, why: &'static str) -> Queued {
    Queued {
        namespace: row.namespace.clone(),
        payload: row.id,
        size: row.size,
        to,
        why,
    }
}
