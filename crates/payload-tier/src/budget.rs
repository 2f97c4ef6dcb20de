//! Counts a tier's capacity, so that room is charged before it is handed out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use payload_core::port::TierUsage;
use payload_core::{Error, Reason, Result};

/// What is taken up, replicas or not.
#[derive(Debug)]
pub(crate) struct Budget {
    capacity: u64,
    used: AtomicU64,
}

impl Budget {
    /// Starts with what an earlier server left behind, even if that is more than the capacity.
    pub(crate) fn new(capacity: u64, used: u64) -> Self {
        Self {
            capacity,
            used: AtomicU64::new(used),
        }
    }

    /// Takes room up, or refuses with `TIER_FULL`. It is given back unless it is kept.
    pub(crate) fn take(&self, bytes: u64) -> Result<Hold<'_>> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.capacity);
        match self.used.fetch_update(Relaxed, Relaxed, fits) {
            Ok(_) => Ok(Hold { budget: self, bytes }),
            Err(used) => Err(Error::new(
                Reason::TierFull,
                format!(
                    "the tier has no room for {bytes} bytes: {used} of {} are used",
                    self.capacity
                ),
            )),
        }
    }

    /// Takes up what is there already, capacity or not.
    pub(crate) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Relaxed);
    }

    /// Gives room back.
    pub(crate) fn give(&self, bytes: u64) {
        subtract(&self.used, bytes);
    }

    /// For room that was taken up before.
    pub(crate) fn hold(&self, bytes: u64) -> Hold<'_> {
        Hold { budget: self, bytes }
    }

    /// Whether, with so much more, an eighth of the capacity would still be free.
    pub(crate) fn has_plenty(&self, bytes: u64) -> bool {
        self.used.load(Relaxed).saturating_add(bytes) <= self.capacity / 8 * 7
    }

    /// What is taken up, of how much, by how many; the rest is for the store to say.
    pub(crate) fn usage(&self, containers: usize) -> TierUsage {
        TierUsage {
            capacity: self.capacity,
            used: self.used.load(Relaxed),
            containers: containers as u64,
            ..TierUsage::default()
        }
    }
}

/// Stops at zero: what the caller says is charged comes from rows, and a wrong row must not make the tier look full.
pub(crate) fn subtract(counter: &AtomicU64, bytes: u64) {
    let _previous = counter.fetch_update(Relaxed, Relaxed, |value| Some(value.saturating_sub(bytes)));
}

/// Room that is taken up for something not finished yet.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Hold<'_> {
    /// Gives back all but `bytes`.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        self.budget.give(self.bytes.saturating_sub(bytes));
        self.bytes = self.bytes.min(bytes);
    }

    /// The thing is finished: its room stays taken up.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}
