//! Moments on the boot-time clock at which something is due. A moved deadline is found out when the old one has come.

use std::collections::BTreeMap;
use std::sync::Weak;

use parking_lot::Mutex;
use payload_core::Instant;
use payload_core::sync::Signal;

use crate::entry::Entry;

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
    /// A deletion that could not be finished before.
    DrainAgain(Weak<Entry>),
}

/// Names a moment that was set, so that it can be given up: what ends early must not be remembered until its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    at: Instant,
    number: u64,
}

/// Moments in order.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: Mutex<Set>,
    pub(crate) signal: Signal,
}

#[derive(Debug, Default)]
struct Set {
    moments: BTreeMap<Moment, Due>,
    last_number: u64,
}

impl Timers {
    /// Sets a moment; wakes the worker if it is the earliest.
    pub(crate) fn set(&self, at: Instant, due: Due) -> Moment {
        let mut set = self.set.lock();
        set.last_number += 1;
        let moment = Moment {
            at,
            number: set.last_number,
        };
        set.moments.insert(moment, due);
        let earliest = set.moments.first_key_value().is_some_and(|(first, _)| *first == moment);
        drop(set);
        if earliest {
            self.signal.raise();
        }
        moment
    }

    /// Gives a moment up. One that has come is fine.
    pub(crate) fn cancel(&self, moment: Moment) {
        self.set.lock().moments.remove(&moment);
    }

    /// The next thing that is due at `now`.
    pub(crate) fn pop(&self, now: Instant) -> Option<Due> {
        let mut set = self.set.lock();
        let first = set.moments.first_entry()?;
        (first.key().at <= now).then(|| first.remove())
    }

    /// When the next thing is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.set.lock().moments.first_key_value().map(|(first, _)| first.at)
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
