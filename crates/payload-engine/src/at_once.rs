//! At once: calls that have no reason to take long may be done by the thread that reads them.
//!
//! Waking another thread costs more than most of these calls. What may have to wait (for room, for another server, for
//! many bytes) belongs into a thread that may, because whoever reads a session's calls also reads those that would end
//! the waiting.

use payload_core::{Durability, PayloadId, Tier};

use crate::engine::Engine;

/// So many bytes are copied, and synced, in about a millisecond.
const SIZE_MAX: u64 = 1 << 20;
/// With so much of RAM free nobody waits for some: the largest stage, the largest slab, and a few payloads.
const FREE_MIN: u64 = 32 << 20;

impl Engine {
    /// Whether a payload of so many bytes can be made without waiting for anything.
    pub fn makes_at_once(&self, size: u64) -> bool {
        size <= SIZE_MAX && !self.repository().is_shared() && self.has_free_ram()
    }

    /// The same for the commit of an allocation.
    pub fn commits_at_once(&self, id: PayloadId) -> bool {
        let row = self.table.get(id).map(|entry| entry.row());
        row.is_some_and(|row| row.durability < Durability::Object && self.makes_at_once(row.size))
    }

    fn has_free_ram(&self) -> bool {
        let free = self.tier(Tier::Ram).map(|store| {
            let usage = store.usage();
            // What was made ready for payloads to come makes way by itself.
            (self.ceiling(store, &usage) + usage.pool).saturating_sub(usage.used)
        });
        self.rooms.ram.is_quiet() && free.is_ok_and(|free| free >= FREE_MIN)
    }
}
