//! Paths: how many copies go down and how many go up at a time, how fast, and whose turn it is.
//!
//! Each way has a line of its own, so that whoever waits for a payload to come up never stands behind those that go down. Within a
//! line come first, in the order of their coming, the copies that somebody waits for: a request for room waits for a spill as
//! much as the caller of one does. What nobody waits for, a fetch ahead, leaves one place free for those.

use std::collections::BTreeSet;

use parking_lot::{Condvar, Mutex};
use payload_core::{Error, Instant, Reason, Result, Span, Tier};

use crate::engine::Engine;
use crate::replicate::Patience;
use crate::timers::Due;

/// Which way a copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Down,
    Up,
}

/// Whether somebody waits for a copy. In the order in which they have their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Haste {
    Awaited,
    Idle,
}

/// The ways of a node.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    down: Path,
    up: Path,
}

#[derive(Debug, Default)]
struct Path {
    line: Mutex<Line>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    running: usize,
    waiting: BTreeSet<(Haste, u64)>,
    last: u64,
    /// When those that have started will have had their share of the rate.
    free_at: Option<Instant>,
    /// The moment that is set for that.
    alarm: Option<Instant>,
    closed: bool,
}

/// A place on a path; given up when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    path: &'a Path,
    /// When the line was free before this one started, and since.
    free_at: [Option<Instant>; 2],
}

impl Place<'_> {
    /// Nothing was copied: the share of the rate is there for others, unless somebody has started since.
    pub(crate) fn forgo(&self) {
        let mut line = self.path.line.lock();
        let [before, since] = self.free_at;
        if line.free_at == since {
            line.free_at = before;
        }
    }
}

impl Way {
    pub(crate) fn between(from: Tier, to: Tier) -> Self {
        if to > from { Self::Down } else { Self::Up }
    }
}

impl Paths {
    fn way(&self, way: Way) -> &Path {
        match way {
            Way::Down => &self.down,
            Way::Up => &self.up,
        }
    }

    /// The time has come that somebody waits for.
    pub(crate) fn wake(&self, way: Way) {
        let path = self.way(way);
        // Whoever has looked at the clock is waiting now, or has not looked yet.
        drop(path.line.lock());
        path.changed.notify_all();
    }

    /// Sends everybody away, and whoever comes later.
    pub(crate) fn close(&self) {
        for way in [Way::Down, Way::Up] {
            self.way(way).line.lock().closed = true;
            self.wake(way);
        }
    }
}

impl Engine {
    /// Waits until a copy of so many bytes may start.
    pub(crate) fn enter_path(&self, way: Way, bytes: u64, patience: Patience) -> Result<Place<'_>> {
        let haste = match (way, patience) {
            (Way::Up, Patience::None) => Haste::Idle,
            _ => Haste::Awaited,
        };
        let at_once = match haste {
            Haste::Awaited => self.settings.movers.max(1),
            Haste::Idle => self.settings.movers.saturating_sub(1).max(1),
        };
        let path = self.paths.way(way);
        let mut line = path.line.lock();
        line.last += 1;
        let ticket = (haste, line.last);
        line.waiting.insert(ticket);
        loop {
            if line.closed {
                line.waiting.remove(&ticket);
                return Err(Error::new(Reason::ShuttingDown, "the server is shutting down"));
            }
            if line.waiting.first() == Some(&ticket) && line.running < at_once {
                let now = self.now();
                let Some(later) = line.free_at.filter(|at| *at > now) else {
                    break;
                };
                if line.alarm.replace(later) != Some(later) {
                    self.timers.set(later, Due::Path(way));
                }
            }
            path.changed.wait(&mut line);
        }
        line.waiting.remove(&ticket);
        line.running += 1;
        let before = line.free_at;
        line.free_at = self.rate(way).map(|rate| self.now().after(time_for(bytes, rate)));
        let free_at = [before, line.free_at];
        drop(line);
        // There may be a place for the next one too.
        path.changed.notify_all();
        Ok(Place { path, free_at })
    }

    fn rate(&self, way: Way) -> Option<u64> {
        match way {
            Way::Down => self.settings.spill_rate,
            Way::Up => self.settings.promote_rate,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.path.line.lock().running -= 1;
        self.path.changed.notify_all();
    }
}

/// How long so many bytes take at so many in a second.
pub(crate) fn time_for(bytes: u64, rate: u64) -> Span {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Span::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
