//! Moments on the boot-time clock at which something is due. Setting one is cheap; a moved deadline is found out lazily.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
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

/// A heap of moments.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Mutex<BinaryHeap<Reverse<Timer>>>,
    pub(crate) signal: Signal,
}

#[derive(Debug)]
struct Timer {
    at: Instant,
    due: Due,
}

impl Timers {
    /// Sets a moment; wakes the worker if it is the earliest.
    pub(crate) fn set(&self, at: Instant, due: Due) {
        let mut heap = self.heap.lock();
        let earliest = heap.peek().is_none_or(|Reverse(first)| at < first.at);
        heap.push(Reverse(Timer { at, due }));
        drop(heap);
        if earliest {
            self.signal.raise();
        }
    }

    /// The next thing that is due at `now`.
    pub(crate) fn pop(&self, now: Instant) -> Option<Due> {
        let mut heap = self.heap.lock();
        if heap.peek()?.0.at > now {
            return None;
        }
        heap.pop().map(|Reverse(timer)| timer.due)
    }

    /// When the next thing is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.lock().peek().map(|Reverse(timer)| timer.at)
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
