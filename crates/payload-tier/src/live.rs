//! How many bytes of a shared container are somebody's.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use payload_core::Result;

/// What was put in and nobody has given up.
#[derive(Debug)]
pub(crate) struct Live {
    /// Below zero while more was given up than is known to have been there.
    bytes: AtomicI64,
    /// False for what an earlier server left, until its rows were counted.
    counted: AtomicBool,
}

impl Live {
    /// Of a container that this process fills.
    pub(crate) fn empty() -> Self {
        Self {
            bytes: AtomicI64::new(0),
            counted: AtomicBool::new(true),
        }
    }

    /// Of a container that an earlier server filled.
    pub(crate) fn unknown() -> Self {
        Self {
            bytes: AtomicI64::new(0),
            counted: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_counted(&self) -> bool {
        self.counted.load(Ordering::Acquire)
    }

    /// What there is; zero may be too little.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes.cast_signed(), Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes.cast_signed(), Ordering::Relaxed);
    }

    /// Adds what the rows add up to. What is given up while they are read may be in their sum or not, and is taken off either
    /// way: the sweep asks the catalog before it drops what seems empty, and nothing would ever ask about the rest of a
    /// container that seems to be used.
    pub(crate) fn count(&self, rows: impl FnOnce() -> Result<u64>) -> Result<()> {
        let before = self.bytes.load(Ordering::Relaxed);
        let sum = rows()?.cast_signed();
        self.bytes.fetch_add(sum - before, Ordering::Relaxed);
        self.counted.store(true, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_during_the_count_is_not_there_afterwards() {
        let live = Live::unknown();
        live.subtract(64);
        let count = live.count(|| {
            live.subtract(128);
            Ok(128 + 256)
        });
        assert_eq!((count.is_ok(), live.is_counted(), live.bytes()), (true, true, 256));
        live.subtract(256);
        assert_eq!(live.bytes(), 0);
    }

    #[test]
    fn too_little_is_nothing_and_never_a_lot() {
        let live = Live::unknown();
        live.count(|| {
            live.subtract(128);
            Ok(64)
        })
        .unwrap();
        assert_eq!(live.bytes(), 0);
    }
}
