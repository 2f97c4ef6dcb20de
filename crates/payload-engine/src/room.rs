//! Room: who finds a tier full waits for a while, in a line that is fair, until the evictor has made some.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};
use payload_core::placement::Line as Standing;
use payload_core::tiering::Turns;
use payload_core::{Error, Namespace, Reason, Result, Span, Tier};

use crate::engine::Engine;
use crate::timers::Due;

/// How many may wait at once. Each keeps one of the server's threads for slow calls, and most of those must stay free for
/// the commits and releases by which room comes back.
const WAITING_MAX: usize = 64;

/// The line of those who wait for room in a tier.
#[derive(Debug, Default)]
pub(crate) struct Room {
    line: Mutex<Line>,
    changed: Condvar,
    /// How many wait; read without the lock, because mostly nobody does.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Line {
    turns: Turns<Namespace>,
    last: u64,
    /// Counts how often something was freed.
    freed: u64,
    /// What that count was when the first in line last tried.
    tried: Option<u64>,
    /// What the first in line is trying to take at this moment: if it gets it, it is used and no longer waited for.
    trying: u64,
    /// Whether it found no room, and nothing was freed since.
    stuck: bool,
    /// Everybody who waits, and whether the time is over.
    over: HashMap<u64, bool>,
    closed: bool,
}

/// What the first in line does next.
enum Turn {
    Try,
    TimeOver,
    Closed,
}

/// A place in the line; given up when dropped.
struct Place<'a> {
    room: &'a Room,
    namespace: &'a Namespace,
    ticket: u64,
    bytes: u64,
    served: bool,
}

impl Engine {
    /// The line of those who wait for room in a tier; none: nothing is given up there to make some.
    pub(crate) fn line_for(&self, tier: Tier) -> Option<&Room> {
        let is_emptied = tier == Tier::Ram || self.tier(Tier::Object).is_ok();
        self.rooms.get(tier).filter(|_| is_emptied)
    }

    /// Does what needs room in a tier. Where room is made, it waits for some.
    pub(crate) fn in_tier<T>(
        &self,
        tier: Tier,
        namespace: &Namespace,
        bytes: u64,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        match self.line_for(tier) {
            Some(room) => self.with_room(tier, room, namespace, bytes, attempt),
            None => attempt(),
        }
    }

    /// Something was freed in a tier: the first in its line tries again.
    pub(crate) fn note_freed(&self, tier: Tier) {
        if let Some(room) = self.rooms.get(tier) {
            room.freed();
        }
    }

    /// Does what needs room: at once if nobody waits for some, else when it is this caller's turn. It is tried again
    /// whenever something was freed, until it works, fails for another reason, or has waited as long as may be.
    fn with_room<T>(
        &self,
        tier: Tier,
        room: &Room,
        namespace: &Namespace,
        bytes: u64,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let wait = self.settings.room_wait;
        if room.is_quiet() {
            match attempt() {
                Err(error) if is_shortage(&error) && !wait.is_zero() => {}
                done => {
                    self.evict_if_short(tier);
                    return done;
                }
            }
        }
        self.wait_for_room(tier, namespace, bytes, wait, attempt)
    }

    /// Does what needs room in a tier when it is this caller's turn.
    pub(crate) fn wait_for_room<T>(
        &self,
        tier: Tier,
        namespace: &Namespace,
        bytes: u64,
        wait: Span,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let Some(room) = self.line_for(tier) else {
            return attempt();
        };
        let mut place = room.join(namespace, bytes)?;
        let timer = self
            .timers
            .set(self.now().after(wait), Due::RoomWait(tier, place.ticket));
        let result = self.attempt_in_turn(tier, &mut place, &mut attempt);
        self.timers.cancel(timer);
        self.metrics.waited_for_room(result.is_ok());
        result
    }

    fn attempt_in_turn<T>(
        &self,
        tier: Tier,
        place: &mut Place<'_>,
        attempt: &mut dyn FnMut() -> Result<T>,
    ) -> Result<T> {
        let mut refusal = None;
        loop {
            if let Some(signal) = self.evict_signals.get(tier) {
                signal.raise();
            }
            match place.room.wait_for_turn(place) {
                Turn::Try => {}
                Turn::TimeOver => return Err(refusal.unwrap_or_else(too_long)),
                Turn::Closed => return Err(Error::new(Reason::ShuttingDown, "the server is shutting down")),
            }
            match attempt() {
                Err(error) if is_shortage(&error) => {
                    refusal = Some(error);
                    place.room.note_no_room();
                }
                done => {
                    place.served = true;
                    return done;
                }
            }
        }
    }

    /// Ends a wait whose time is over, if it still waits.
    pub(crate) fn time_out_room(&self, tier: Tier, ticket: u64) {
        let Some(room) = self.rooms.get(tier) else { return };
        if let Some(over) = room.line.lock().over.get_mut(&ticket) {
            *over = true;
        }
        room.changed.notify_all();
    }

    /// Sends everybody away who waits for room, and whoever comes later.
    pub(crate) fn close_room(&self) {
        for room in self.rooms.all() {
            room.line.lock().closed = true;
            room.changed.notify_all();
        }
    }
}

impl Room {
    /// Something was freed: the first in line tries again.
    pub(crate) fn freed(&self) {
        if !self.is_quiet() {
            let mut line = self.line.lock();
            line.freed += 1;
            line.stuck = false;
            self.changed.notify_all();
        }
    }

    /// How many bytes are waited for, and how many of them by somebody who has just found no room for them.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        if self.is_quiet() {
            return (0, 0);
        }
        let line = self.line.lock();
        let bytes = line.turns.bytes().saturating_sub(line.trying);
        (bytes, if line.stuck { bytes } else { 0 })
    }

    /// What somebody who comes now would find.
    pub(crate) fn line(&self) -> Standing {
        match self.len() {
            0 => Standing::Empty,
            WAITING_MAX.. => Standing::Full,
            _ => Standing::Open,
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.len() == 0
    }

    fn join<'a>(&'a self, namespace: &'a Namespace, bytes: u64) -> Result<Place<'a>> {
        let mut line = self.line.lock();
        if line.turns.len() >= WAITING_MAX {
            return Err(Error::new(
                Reason::TierFull,
                format!("the tier has no room, and {WAITING_MAX} requests wait for some already"),
            ));
        }
        line.last += 1;
        let ticket = line.last;
        line.turns.join(namespace, ticket, bytes);
        line.over.insert(ticket, false);
        self.waiting.store(line.turns.len(), Ordering::Relaxed);
        Ok(Place {
            room: self,
            namespace,
            ticket,
            bytes,
            served: false,
        })
    }

    /// Waits until the caller is first in line and something was freed since the first last tried.
    fn wait_for_turn(&self, place: &Place<'_>) -> Turn {
        let ticket = place.ticket;
        let mut line = self.line.lock();
        loop {
            if line.closed {
                return Turn::Closed;
            }
            if line.over.get(&ticket) == Some(&true) {
                return Turn::TimeOver;
            }
            if line.turns.next() == Some(ticket) && line.tried != Some(line.freed) {
                line.tried = Some(line.freed);
                line.trying = place.bytes;
                return Turn::Try;
            }
            self.changed.wait(&mut line);
        }
    }

    /// The first in line has tried in vain.
    fn note_no_room(&self) {
        let mut line = self.line.lock();
        line.trying = 0;
        line.stuck = line.tried == Some(line.freed);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.room.line.lock();
        match self.served {
            true => line.turns.served(self.namespace, self.ticket),
            false => line.turns.gave_up(self.namespace, self.ticket),
        }
        line.over.remove(&self.ticket);
        self.room.waiting.store(line.turns.len(), Ordering::Relaxed);
        // Whoever is first now tries for itself.
        line.tried = None;
        line.trying = 0;
        line.stuck = false;
        self.room.changed.notify_all();
    }
}

/// Whether making room in RAM would help.
pub(crate) fn is_shortage(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::TierFull | Reason::MemoryShort | Reason::SegmentsExhausted
    )
}

fn too_long() -> Error {
    Error::new(
        Reason::TierFull,
        "others waited for room for longer, and there was none in time",
    )
}
