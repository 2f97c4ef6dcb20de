//! The machine: others live on it too, and a tier makes do with what they leave, whatever it was promised.
//!
//! Stores refuse by themselves what the machine cannot give. But memory that others need is needed now, not at the next
//! request: so a worker looks at the machine from time to time, and the evictor takes what is attainable for the capacity.

use std::sync::atomic::{AtomicU64, Ordering};

use payload_core::port::{TierStore, TierUsage};
use payload_core::{Span, Tier};

use crate::engine::Engine;

/// How often the machine is looked at: often enough that the tier gives way before the kernel has to choose whom to kill,
/// if what the store keeps free is not taken within that time.
pub(crate) const LOOK: Span = Span::from_secs(1);

/// What each tier can hold on this machine, as of the last look.
#[derive(Debug)]
pub(crate) struct Ceilings([AtomicU64; Tier::ALL.len()]);

impl Default for Ceilings {
    /// Before the first look, everything that was promised.
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(u64::MAX)))
    }
}

impl Engine {
    /// Looks at what the machine can give, has room made where that is less than what was promised, and lets those that wait
    /// for room try again where it is more than before.
    pub fn look_at_machine(&self) {
        for store in &self.ports.tiers {
            let attainable = store.attainable().unwrap_or(u64::MAX);
            let before = self.ceilings.0[store.tier() as usize].swap(attainable, Ordering::Relaxed);
            tell_of_change(store.tier(), store.usage().capacity, before, attainable);
            if attainable > before {
                self.note_freed(store.tier());
            }
            self.evict_if_short(store.tier());
        }
    }

    /// What a tier may hold now: its capacity, or what the machine can give if that is less.
    pub(crate) fn ceiling(&self, store: &dyn TierStore, usage: &TierUsage) -> u64 {
        let attainable = self.ceilings.0[store.tier() as usize].load(Ordering::Relaxed);
        usage.capacity.min(attainable)
    }
}

/// Said when it begins and when it ends, not at each look.
fn tell_of_change(tier: Tier, capacity: u64, before: u64, attainable: u64) {
    match (before < capacity, attainable < capacity) {
        (false, true) => {
            let key = format!("tiers.{tier}.capacity");
            tracing::warn!(
                key,
                capacity,
                attainable,
                "the machine has less to give than the tier was promised"
            );
        }
        (true, false) => tracing::info!(%tier, capacity, "the machine has what the tier was promised again"),
        _ => {}
    }
}
