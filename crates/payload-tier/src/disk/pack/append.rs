//! Puts payloads at the end of packs, many with one write and one sync.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use payload_core::port::Placed;
use payload_core::{Error, Namespace, Result};
use rustix::io::Errno;

use super::{Open, Pack};
use crate::direct::{Aligned, DIRECT_MIN, clear_direct, set_direct};
use crate::disk::DiskStore;
use crate::disk::draft::{allocate, write_all};
use crate::fault::Doing;
use crate::{index, length, pages, room};

/// How many zeros are written ahead of small groups.
const AHEAD: u64 = 256 << 10;
/// Groups of at least this size gain nothing from zeros.
const SMALL_GROUP_MAX: u64 = 64 << 10;
impl DiskStore {
    /// Appends to the namespace's pack, and returns when that is on the device.
    pub(in crate::disk) fn store_small(&self, namespace: &Namespace, bytes: Box<[u8]>) -> Result<Placed> {
        if let Some(superfluous) = self.packs.take_superfluous(namespace) {
            self.close(&mut superfluous.open.lock());
        }
        let lane = self.packs.lane(namespace);
        let append = |items: Vec<Box<[u8]>>| self.append(&mut lane.open.lock(), &items, Wait::ForTheDevice);
        lane.group.run(bytes, append)
    }

    /// Many at a time, or one without a group.
    pub(in crate::disk) fn store_in_lane(
        &self,
        namespace: &Namespace,
        items: &[&[u8]],
        wait: Wait,
    ) -> Vec<Result<Placed>> {
        if let Some(superfluous) = self.packs.take_superfluous(namespace) {
            self.close(&mut superfluous.open.lock());
        }
        let lane = self.packs.lane(namespace);
        self.append(&mut lane.open.lock(), items, wait)
    }

    /// One group, cut only where a pack is full, or where there is no room for all of it.
    fn append(&self, open: &mut Option<Open>, mut items: &[impl AsRef<[u8]>], wait: Wait) -> Vec<Result<Placed>> {
        let mut results = Vec::with_capacity(items.len());
        let mut most = items.len();
        while let Some(first) = items.first() {
            if open
                .as_ref()
                .is_some_and(|open| !open.fits(room(length(first.as_ref())), self.packs.size_max))
            {
                self.close(open);
            }
            let mut target = match open.take().map_or_else(|| self.create(), Ok) {
                Ok(target) => target,
                Err(error) => {
                    results.extend(repeat(error, items.len()));
                    break;
                }
            };
            let count = target.count_that_fits(items, self.packs.size_max).min(most);
            let (now, later) = items.split_at(count);
            match self.append_to(&mut target, now, wait) {
                // What is left of the room is for as many as it holds.
                Err(Failed::NoRoom(_)) if count > 1 => {
                    *open = Some(target);
                    most = count / 2;
                    continue;
                }
                Ok(placed) => {
                    results.extend(placed.into_iter().map(Ok));
                    *open = Some(target);
                }
                Err(Failed::NoRoom(error)) => {
                    results.extend(repeat(error, count));
                    *open = Some(target);
                }
                Err(Failed::Damaged(error)) => {
                    // What the device has of this group nobody knows, and asking it again would not tell: the pack is
                    // never written again. Groups before this one that were waited for are safe in it.
                    self.packs.retire(&mut target);
                    target.pack.open.store(false, Ordering::Release);
                    results.extend(repeat(error, count));
                }
            }
            items = later;
        }
        results
    }

    fn append_to(&self, target: &mut Open, items: &[impl AsRef<[u8]>], wait: Wait) -> Result<Vec<Placed>, Failed> {
        let size: u64 = items.iter().map(|item| room(length(item.as_ref()))).sum();
        let direct = size >= DIRECT_MIN;
        // What lies between the last group and the next page is lost.
        let start = if direct { pages(target.filled) } else { target.filled };
        let ahead = self.make_room(target, start, size).map_err(Failed::NoRoom)?;
        let end = if direct {
            pages(start + size)
        } else {
            start + size + ahead
        };
        let mut memory = Aligned::default();
        let group = memory.bytes(index(end - start));
        let mut offset = start;
        let mut places = Vec::with_capacity(items.len());
        for item in items {
            let bytes = item.as_ref();
            let at = index(offset - start);
            group[at..at + bytes.len()].copy_from_slice(bytes);
            places.push((offset, room(length(bytes))));
            offset += room(length(bytes));
        }
        debug_assert_eq!(offset, start + size);
        if wait == Wait::Later && target.settle.is_none() {
            target.settle = Some(self.root.open_pack(target.pack.id).map_err(Failed::NoRoom)?);
        }
        let written = match direct {
            true => write_direct(target.fd.as_fd(), group, start),
            false => write_all(target.fd.as_fd(), group, start).doing("write the pack"),
        };
        let stored = written.and_then(|()| match wait {
            Wait::ForTheDevice => rustix::fs::fdatasync(&target.fd).doing("sync the pack"),
            Wait::Later => Ok(()),
        });
        stored.map_err(Failed::Damaged)?;
        target.filled = start + size;
        let placed = places.into_iter().map(|(offset, room)| target.pack.place(offset, room));
        Ok(placed.collect())
    }

    /// Makes sure that the pack has room for `size` bytes from `start`; returns how many zeros are to follow them.
    fn make_room(&self, target: &mut Open, start: u64, size: u64) -> Result<u64> {
        let end = start + size;
        if end <= target.allocated {
            return Ok(0);
        }
        let ahead = if size < SMALL_GROUP_MAX { AHEAD } else { 0 };
        let wanted = pages(end + ahead).min(self.packs.size_max).max(pages(end));
        let got = self
            .extend(target, wanted)
            .or_else(|_| self.extend(target, pages(end)))?;
        Ok(got - end)
    }

    fn extend(&self, target: &mut Open, end: u64) -> Result<u64> {
        let more = end - target.allocated;
        let hold = self.ledger.budget().take(more)?;
        self.root.require_free(more)?;
        allocate(target.fd.as_fd(), target.allocated, more)?;
        hold.keep();
        target.allocated = end;
        target.pack.size.store(end, Ordering::Relaxed);
        Ok(end)
    }

    fn create(&self) -> Result<Open> {
        let id = self.ids.file();
        let fd = self.root.create_pack(id)?;
        let pack = Arc::new(Pack::new(id, 0, false));
        self.packs.table.write().insert(id, Arc::clone(&pack));
        Ok(Open {
            pack,
            fd,
            settle: None,
            filled: 0,
            allocated: 0,
        })
    }

    /// The pack takes no more, and gives back the room that nobody was promised.
    fn close(&self, open: &mut Option<Open>) {
        let Some(mut open) = open.take() else {
            return;
        };
        let end = pages(open.filled);
        if end < open.allocated && rustix::fs::ftruncate(&open.fd, end).is_ok() {
            open.pack.size.store(end, Ordering::Relaxed);
            self.ledger.budget().give(open.allocated - end);
        }
        self.packs.retire(&mut open);
        open.pack.open.store(false, Ordering::Release);
    }

    /// Closes packs from which everything was given up, and forgets namespaces that have none. Claims are made under
    /// the lane's lock, so none can come up meanwhile.
    pub(in crate::disk) fn close_given_up_packs(&self) {
        let lanes: Vec<_> = self.packs.lanes.read().values().cloned().collect();
        for lane in &lanes {
            let mut open = lane.open.lock();
            let given_up = open
                .as_ref()
                .is_some_and(|open| !open.pack.is_claimed() && open.pack.live.bytes() == 0);
            if given_up {
                self.close(&mut open);
            }
        }
        drop(lanes);
        let mut lanes = self.packs.lanes.write();
        lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || lane.open.lock().is_some());
    }
}

impl Open {
    fn fits(&self, room: u64, size_max: u64) -> bool {
        self.filled == 0 || self.filled + room <= size_max
    }

    /// At least one: an empty pack takes anything.
    fn count_that_fits(&self, items: &[impl AsRef<[u8]>], size_max: u64) -> usize {
        let fitting = |from: u64| {
            let ends = items.iter().scan(from, |end, item| {
                *end += room(length(item.as_ref()));
                Some(*end)
            });
            let count = ends.clone().take_while(|end| *end <= size_max).count();
            (count, ends.take(count).last().unwrap_or(from) - from)
        };
        let (mut count, size) = fitting(self.filled);
        if size >= DIRECT_MIN {
            // Such a group begins at a page.
            (count, _) = fitting(pages(self.filled));
        }
        count.max(1)
    }
}

/// What a group waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum Wait {
    ForTheDevice,
    /// Somebody else brings it to the device.
    Later,
}

/// Why a group was not stored.
enum Failed {
    /// Nothing was written, for want of room as a rule.
    NoRoom(Error),
    /// The pack cannot be trusted from where the group begins.
    Damaged(Error),
}

/// Writes whole pages past the page cache; through it where the file system has no such way.
fn write_direct(fd: BorrowedFd<'_>, group: &[u8], start: u64) -> Result<()> {
    let direct = set_direct(fd)?;
    let written = match write_all(fd, group, start) {
        // Some file systems accept the flag and refuse the write.
        Err(Errno::INVAL) if direct => {
            clear_direct(fd).and_then(|()| write_all(fd, group, start).doing("write the pack"))
        }
        other => other.doing("write the pack"),
    };
    // Small groups do not end at pages.
    written.and(clear_direct(fd))
}

/// The same error for everybody in the group; the first gets the cause.
fn repeat(error: Error, count: usize) -> impl Iterator<Item = Result<Placed>> {
    let (reason, message) = (error.reason(), error.message().to_owned());
    let others = (1..count).map(move |_| Err(Error::new(reason, message.clone())));
    std::iter::once(Err(error)).chain(others)
}
