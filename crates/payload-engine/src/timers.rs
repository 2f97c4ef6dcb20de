//! Moments on the boot-time clock at which something is due. A moved deadline is found out when the old one has come.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use payload_core::sync::Signal;
use payload_core::{Instant, Tier};

use crate::entry::Entry;
use crate::paths::Way;

/// What to look at when its moment has come.
#[derive(Debug)]
pub(crate) enum Due {
    /// A lease, by its serial number; it may have been renewed or released meanwhile.
    Lease(Weak<Entry>, u64),
    /// A caller that waits for a commit, by its number; it may have been answered meanwhile.
    Wait(Weak<Entry>, u64),
    /// The time in which earlier sessions may reclaim is over.
    GraceOver,
    /// Leases granted from afar before the start are over.
    HoldOver,
    /// A request that waits for room, by its number.
    RoomWait(Tier, u64),
    /// A path's rate lets the next copy start.
    Path(Way),
    /// A payload was left where it is for long enough.
    AsideOver(Weak<Entry>),
    /// A payload was in RAM for as long as its policy says.
    StayOver(Weak<Entry>),
    /// A deletion that could not be finished before.
    DrainAgain(Weak<Entry>),
}

/// Names a moment that was set, so that it can be given up: what ends early must not be remembered until its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    at: Instant,
    number: u64,
}

/// Moments in order. Every lease with a term sets one, so they are cut into parts that are locked one by one.
#[derive(Debug)]
pub(crate) struct Timers {
    parts: [Mutex<BTreeMap<Moment, Due>>; PARTS],
    last_number: AtomicU64,
    /// What the worker sleeps until, at the latest.
    earliest: AtomicU64,
    pub(crate) signal: Signal,
}

const PARTS: usize = 16;

impl Default for Timers {
    fn default() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            last_number: AtomicU64::new(0),
            earliest: AtomicU64::new(u64::MAX),
            signal: Signal::new(),
        }
    }
}

impl Timers {
    /// Sets a moment; wakes the worker if it is the earliest.
    pub(crate) fn set(&self, at: Instant, due: Due) -> Moment {
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        let moment = Moment { at, number };
        self.part(moment).lock().insert(moment, due);
        if at.as_nanos() < self.earliest.fetch_min(at.as_nanos(), Ordering::SeqCst) {
            self.signal.raise();
        }
        moment
    }

    /// Gives a moment up. One that has come is fine.
    pub(crate) fn cancel(&self, moment: Moment) {
        self.part(moment).lock().remove(&moment);
    }

    /// The next thing that is due at `now`.
    pub(crate) fn pop(&self, now: Instant) -> Option<Due> {
        loop {
            let moment = self.first().filter(|first| first.at <= now)?;
            // It may have been given up meanwhile; then there may be another one.
            if let Some(due) = self.part(moment).lock().remove(&moment) {
                return Some(due);
            }
        }
    }

    /// When the next thing is due. Whatever is set from now on for an earlier moment raises the signal.
    pub(crate) fn next(&self) -> Option<Instant> {
        // Before the look at the parts: a moment that the look misses finds this, and raises the signal.
        self.earliest.store(u64::MAX, Ordering::SeqCst);
        let first = self.first()?.at;
        self.earliest.fetch_min(first.as_nanos(), Ordering::SeqCst);
        Some(first)
    }

    fn first(&self) -> Option<Moment> {
        let firsts = self
            .parts
            .iter()
            .filter_map(|part| part.lock().first_key_value().map(|(first, _)| *first));
        firsts.min()
    }

    fn part(&self, moment: Moment) -> &Mutex<BTreeMap<Moment, Due>> {
        &self.parts[moment.number as usize % PARTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_in_order_and_not_once_they_are_given_up() {
        let timers = Timers::default();
        let at = Instant::from_nanos;
        timers.set(at(30), Due::HoldOver);
        let given_up = timers.set(at(10), Due::HoldOver);
        timers.set(at(20), Due::GraceOver);
        timers.set(at(20), Due::HoldOver);
        timers.cancel(given_up);
        timers.cancel(given_up);
        assert_eq!(timers.next(), Some(at(20)));
        assert!(timers.pop(at(19)).is_none());
        assert!(matches!(timers.pop(at(25)), Some(Due::GraceOver)));
        assert!(matches!(timers.pop(at(25)), Some(Due::HoldOver)));
        assert!(timers.pop(at(25)).is_none());
        assert_eq!(timers.next(), Some(at(30)));
    }
}
