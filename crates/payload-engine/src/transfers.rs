//! What is on its way from tier to tier at this moment, and what waits to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::{Instant, Namespace, Payload, PayloadId, Span, Tier};

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
}

/// A copy is listed for as long as this lives.
pub(crate) struct Listed<'a> {
    transfers: &'a Transfers,
    number: u64,
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
    /// `eviction`, `prefetch` or `heat`.
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
        let copy = Copy {
            row,
            from,
            to,
            why,
            began,
        };
        copies.running.insert(number, copy);
        Listed {
            transfers: self,
            number,
        }
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

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.transfers.0.lock().running.remove(&self.number);
    }
}

impl Engine {
    /// What moves now, and what is going to.
    pub fn transfers(&self) -> TransferList {
        let running = self.transfers.running(self.now());
        let leaving = self.evictor.chosen();
        let is_running = |id: &PayloadId| running.iter().any(|copy| copy.payload == *id);
        let (wishes, wished) = self.wishes.first(QUEUED_MAX);
        let waiting: Vec<PayloadId> = leaving.into_iter().filter(|id| !is_running(id)).collect();
        let queued_total = waiting.len() + wished;
        let leaving = waiting.into_iter().filter_map(|id| self.leaving(id));
        let coming = wishes.into_iter().map(|entry| {
            let live = entry.live();
            let why = match live.wished {
                Some(Wish::Hot) => "heat",
                _ => "prefetch",
            };
            queued(&live.row, Some(Tier::Ram), why)
        });
        TransferList {
            queued: leaving.chain(coming).take(QUEUED_MAX).collect(),
            queued_total,
            running,
        }
    }

    fn leaving(&self, id: PayloadId) -> Option<Queued> {
        let entry = self.table.get(id)?;
        let live = entry.live();
        let replica = live.replica_in(Tier::Ram)?;
        let to = match self.facts(&entry, &live, replica).exit() {
            payload_core::tiering::Exit::Spill => Some(Tier::Disk),
            _ => None,
        };
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
