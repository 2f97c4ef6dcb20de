//! Segments made ahead of their payloads.
//!
//! The kernel clears every page that it gives away, and that costs several times as much as filling it. So pages are
//! taken in the background, piece by piece, in sizes like those that were asked for of late. A segment is used once:
//! what was sealed cannot be written again.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use payload_core::{Reason, Result};

use super::memory::{self, Memory};
use super::{New, RamStore, Slot};
use crate::fault::Doing;

/// How many reservations back one looks to see which sizes are wanted.
const REMEMBERED: usize = 32;
/// What is wanted before anybody has asked, in MiB.
const FIRST: [u64; 5] = [64, 32, 16, 8, 4];
/// Smaller ones are made as quickly as they are looked for.
const SIZE_MIN: u64 = 1 << 20;
/// How much is made at a time: a few milliseconds' work.
const PIECE: u64 = 4 << 20;

/// What is ready, and what is in the making.
#[derive(Debug)]
pub(super) struct Pool {
    max: u64,
    shelf: Mutex<Shelf>,
    /// Held while a piece is made.
    making: Mutex<Option<Making>>,
    drawn_on: AtomicBool,
}

#[derive(Debug, Default)]
struct Shelf {
    /// By size.
    ready: BTreeMap<u64, Vec<OwnedFd>>,
    /// Sizes that were asked for, the latest first.
    asked: VecDeque<u64>,
    /// Of all that is ready or in the making.
    bytes: u64,
}

#[derive(Debug)]
struct Making {
    fd: OwnedFd,
    done: u64,
    size: u64,
}

/// What to do next.
enum Next {
    Make(u64),
    /// Nobody asks for this size any more, and it is in the way of another.
    Discard(OwnedFd, u64),
    Nothing,
}

impl Pool {
    /// Makes up to `max` bytes ready, for payloads above `size_min`.
    pub(super) fn new(max: u64, size_min: u64) -> Self {
        let first = FIRST.map(|mib| mib << 20).into_iter().filter(|size| *size > size_min);
        let asked: Vec<u64> = first.collect();
        // Twice, so that two can come before the first is replaced.
        let asked = asked.iter().chain(&asked).copied().collect();
        Self {
            max,
            shelf: Mutex::new(Shelf {
                asked,
                ..Shelf::default()
            }),
            making: Mutex::default(),
            drawn_on: AtomicBool::new(false),
        }
    }

    /// What it takes up.
    pub(super) fn bytes(&self) -> u64 {
        self.shelf.lock().bytes
    }

    /// Whether anybody has asked since this was asked last.
    pub(super) fn was_drawn_on(&self) -> bool {
        // Most of the time nobody has, and then nothing is written.
        self.drawn_on.load(Ordering::Relaxed) && self.drawn_on.swap(false, Ordering::Relaxed)
    }

    /// A segment of at least `size` bytes and less than twice as many, with its size. What is asked for is noted, unless
    /// it is never to be had from here.
    fn take(&self, size: u64) -> Option<(OwnedFd, u64)> {
        if size < SIZE_MIN || size > self.max {
            return None;
        }
        self.drawn_on.store(true, Ordering::Relaxed);
        let mut shelf = self.shelf.lock();
        shelf.asked.push_front(step(size));
        shelf.asked.truncate(REMEMBERED);
        let (&found, _) = shelf.ready.range(size..size.saturating_mul(2)).next()?;
        shelf.remove(found).map(|fd| (fd, found))
    }

    fn next(&self) -> Next {
        let mut shelf = self.shelf.lock();
        let wanted = shelf.wanted(self.max);
        let missing = |size: &u64| shelf.ready.get(size).map_or(0, Vec::len) < wanted[size];
        // What was asked for last comes first.
        let Some(size) = shelf
            .asked
            .iter()
            .copied()
            .filter(|size| wanted.contains_key(size))
            .find(missing)
        else {
            return Next::Nothing;
        };
        if shelf.bytes + size <= self.max {
            shelf.bytes += size;
            return Next::Make(size);
        }
        let surplus = shelf
            .ready
            .iter()
            .find(|(size, fds)| fds.len() > wanted.get(size).copied().unwrap_or(0));
        let surplus = surplus.map(|(size, _)| *size);
        match surplus.and_then(|size| Some((shelf.remove(size)?, size))) {
            Some((fd, size)) => Next::Discard(fd, size),
            None => Next::Nothing,
        }
    }

    /// Whatever there is, to be dropped, with how many bytes and segments that is.
    fn empty(&self) -> (Vec<OwnedFd>, u64) {
        let making = self.making.lock().take();
        let mut shelf = self.shelf.lock();
        let ready = std::mem::take(&mut shelf.ready).into_values().flatten();
        let all = ready.chain(making.map(|making| making.fd)).collect();
        (all, std::mem::take(&mut shelf.bytes))
    }
}

impl Shelf {
    fn remove(&mut self, size: u64) -> Option<OwnedFd> {
        let fds = self.ready.get_mut(&size)?;
        let fd = fds.pop()?;
        if fds.is_empty() {
            self.ready.remove(&size);
        }
        self.bytes -= size;
        Some(fd)
    }

    /// How many of each size there should be: as many as were asked for, the latest first, while there is room.
    fn wanted(&self, max: u64) -> BTreeMap<u64, usize> {
        let mut wanted = BTreeMap::new();
        let mut left = max;
        for size in &self.asked {
            if let Some(rest) = left.checked_sub(*size) {
                left = rest;
                *wanted.entry(*size).or_default() += 1;
            }
        }
        wanted
    }
}

/// The next larger of eight steps to a power of two, so that payloads of nearly the same size share segments.
fn step(size: u64) -> u64 {
    let step = (size.next_power_of_two() / 8).max(crate::PAGE);
    size.next_multiple_of(step)
}

impl RamStore {
    /// A segment of `size` bytes from the pool.
    pub(super) fn take_ready(&self, size: u64) -> Result<Option<New<'_>>> {
        let Some((fd, found)) = self.pool.take(size) else {
            return Ok(None);
        };
        let mut room = self.budget.hold(found);
        let slot = Slot(Some(&self.segments));
        memory::fix(fd.as_fd(), size).doing("cut a segment to its size")?;
        room.shrink(size);
        Ok(Some(New { fd, room, slot }))
    }

    /// Makes one piece of a segment for the pool. False: there is nothing to make, or nothing to make it of.
    pub(super) fn fill_pool(&self) -> Result<bool> {
        let mut making = self.pool.making.lock();
        let mut current = match making.take() {
            Some(current) => current,
            None => match self.pool.next() {
                Next::Make(size) => match self.begin(size)? {
                    Some(begun) => begun,
                    None => return Ok(false),
                },
                Next::Discard(fd, size) => {
                    self.give_back([fd], size);
                    return Ok(true);
                }
                Next::Nothing => return Ok(false),
            },
        };
        let until = (current.done + PIECE).min(current.size);
        if let Err(error) = self.memory.grow(current.fd.as_fd(), current.done, until) {
            self.pool.shelf.lock().bytes -= current.size;
            self.give_back([current.fd], current.size);
            return match error.reason() {
                Reason::MemoryShort => Ok(false),
                _ => Err(error),
            };
        }
        current.done = until;
        if current.done < current.size {
            *making = Some(current);
        } else {
            self.pool
                .shelf
                .lock()
                .ready
                .entry(current.size)
                .or_default()
                .push(current.fd);
        }
        Ok(true)
    }

    /// Charges a segment for the pool; nothing while payloads need the room more.
    fn begin(&self, size: u64) -> Result<Option<Making>> {
        let begun = self.charge(size);
        if !matches!(begun, Ok(Some(_))) {
            self.pool.shelf.lock().bytes -= size;
        }
        begun
    }

    fn charge(&self, size: u64) -> Result<Option<Making>> {
        if !self.budget.has_plenty(size) {
            return Ok(None);
        }
        let (Ok(slot), Ok(room)) = (
            Slot::take(&self.segments, self.options.segments_max / 8 * 7),
            self.budget.take(size),
        ) else {
            return Ok(None);
        };
        let fd = Memory::begin()?;
        room.keep();
        slot.keep();
        Ok(Some(Making { fd, done: 0, size }))
    }

    /// Gives up all that is ready. False if that is nothing.
    pub(super) fn empty_pool(&self) -> bool {
        let (fds, bytes) = self.pool.empty();
        let any = !fds.is_empty();
        self.give_back(fds, bytes);
        any
    }

    /// Drops segments of so many bytes altogether.
    pub(super) fn give_back<S>(&self, segments: impl IntoIterator<Item = S>, bytes: u64) {
        for segment in segments {
            drop(segment);
            self.segments.fetch_sub(1, Ordering::Relaxed);
        }
        self.budget.give(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_go_up_in_steps_of_a_quarter_at_most() {
        assert_eq!(step(5 << 20), 5 << 20);
        assert_eq!(step((5 << 20) + 1), 6 << 20);
        assert_eq!(step(64 << 20), 64 << 20);
        for size in [1, 4_096, 4_097, 2_100_000, 3 << 20, (1 << 40) - 4_096] {
            assert!(step(size) >= size && step(size) - size <= size.max(crate::PAGE) / 4 + crate::PAGE);
        }
    }

    #[test]
    fn what_was_asked_for_last_is_wanted_first() {
        let shelf = Shelf {
            asked: VecDeque::from([10, 4, 10, 50, 3]),
            ..Shelf::default()
        };
        assert_eq!(shelf.wanted(24), BTreeMap::from([(10, 2), (4, 1)]));
        assert_eq!(shelf.wanted(27), BTreeMap::from([(3, 1), (10, 2), (4, 1)]));
        assert_eq!(shelf.wanted(3), BTreeMap::from([(3, 1)]));
    }
}
