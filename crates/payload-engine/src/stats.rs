//! What the server holds at this moment, in numbers.

use std::sync::atomic::Ordering;

use payload_core::port::TierUsage;
use payload_core::{NodeId, Result, Span, Tier};

use crate::engine::Engine;

/// Numbers of the whole server.
#[derive(Clone, Debug)]
pub struct Stats {
    /// How long it has been serving.
    pub uptime: Span,
    /// Each tier.
    pub tiers: Vec<TierStats>,
    /// Open local sessions.
    pub sessions: usize,
    /// Live leases.
    pub leases: usize,
    /// Open allocations with an owner.
    pub allocations: usize,
    /// Requests that wait for room in a tier.
    pub room_waiting: usize,
    /// Payloads in memory.
    pub payloads_known: usize,
    /// Payloads that are to survive more than they do yet.
    pub owing: usize,
    /// Their bytes.
    pub owed_bytes: u64,
}

/// Numbers of one tier.
#[derive(Clone, Copy, Debug)]
pub struct TierStats {
    /// Which.
    pub tier: Tier,
    /// What its store says.
    pub usage: TierUsage,
    /// What it may hold now: its capacity, or what the machine can give if that is less.
    pub ceiling: u64,
    /// Replicas, as the repository counts them.
    pub replicas: u64,
    /// What those are charged for.
    pub charged: u64,
    /// The part of that which is pinned.
    pub pinned: u64,
}

impl TierStats {
    /// What is taken up for no replica and no other purpose that has a name: unfilled or given-up room in shared
    /// containers, and for moments what is on its way in or out.
    pub fn slack(&self) -> u64 {
        self.usage
            .used
            .saturating_sub(self.charged + self.usage.staging + self.usage.pool + self.usage.zombie)
    }
}

impl Engine {
    /// Everything at once; reads the repository's counters.
    pub fn stats(&self) -> Result<Stats> {
        let mut counters = self.repository().usage(self.settings.node)?;
        counters.extend(self.repository().usage(NodeId::NONE)?);
        let tiers = self.ports.tiers.iter().map(|store| {
            let own = counters.iter().filter(|usage| usage.tier == store.tier());
            let (replicas, charged) = own.fold((0, 0), |(n, bytes), usage| (n + usage.replicas, bytes + usage.charged));
            let usage = store.usage();
            TierStats {
                tier: store.tier(),
                usage,
                ceiling: self.ceiling(&**store, &usage),
                replicas,
                charged,
                pinned: self.pins.bytes(store.tier()),
            }
        });
        let (owing, owed_bytes) = self.owed.totals();
        Ok(Stats {
            owing,
            owed_bytes,
            uptime: self.now().since(self.started_at),
            tiers: tiers.collect(),
            sessions: self.sessions.lock().len(),
            leases: self.lease_count.load(Ordering::Relaxed),
            allocations: self.allocation_count.load(Ordering::Relaxed),
            room_waiting: self.rooms.all().iter().map(|room| room.len()).sum(),
            payloads_known: self.table.len(),
        })
    }
}
