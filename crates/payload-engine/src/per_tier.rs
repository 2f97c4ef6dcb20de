//! One of something for each tier in which room is made.

use payload_core::Tier;

/// For RAM and for disk: nothing in the bucket is given up to make room.
#[derive(Clone, Copy, Debug, Default)]
pub struct PerTier<T> {
    /// For RAM.
    pub ram: T,
    /// For disk.
    pub disk: T,
}

impl<T> PerTier<T> {
    /// The tiers that there is one for, fast to slow.
    pub const TIERS: [Tier; 2] = [Tier::Ram, Tier::Disk];

    /// The one for a tier.
    pub const fn get(&self, tier: Tier) -> Option<&T> {
        match tier {
            Tier::Ram => Some(&self.ram),
            Tier::Disk => Some(&self.disk),
            Tier::Object => None,
        }
    }

    /// The same, to be changed.
    pub const fn get_mut(&mut self, tier: Tier) -> Option<&mut T> {
        match tier {
            Tier::Ram => Some(&mut self.ram),
            Tier::Disk => Some(&mut self.disk),
            Tier::Object => None,
        }
    }

    /// All of them.
    pub fn all(&self) -> [&T; 2] {
        [&self.ram, &self.disk]
    }
}
