//! Memory that is mapped from memfds: the one place where raw pointers become slices.
//!
//! Four kinds, by who can change the bytes meanwhile: nobody ([`Sealed`]), only this process and only past the bytes
//! that were given out ([`Slab`]), only the one owner of the mapping ([`Fill`]), another process at any time
//! ([`Stage`]). Files on disk are never mapped here, because a read error of the device would be a signal instead of an
//! error.

use std::ffi::c_void;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::fs::SealFlags;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Shared memory of this process, unmapped when dropped.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a region is plain memory that belongs to no thread; its users below say who may read and write which part.
unsafe impl Send for Region {}
// SAFETY: see above.
unsafe impl Sync for Region {}

impl Region {
    fn map(fd: BorrowedFd<'_>, offset: u64, len: u64, rights: ProtFlags) -> rustix::io::Result<Self> {
        Self::with(fd, offset, len, rights, MapFlags::SHARED)
    }

    /// The same for memory that will all be used soon: its pages are entered at once, which costs far less than a fault
    /// for each.
    fn map_all(fd: BorrowedFd<'_>, len: u64, rights: ProtFlags) -> rustix::io::Result<Self> {
        Self::map_range(fd, 0, len, rights)
    }

    fn map_range(fd: BorrowedFd<'_>, offset: u64, len: u64, rights: ProtFlags) -> rustix::io::Result<Self> {
        Self::with(fd, offset, len, rights, MapFlags::SHARED | MapFlags::POPULATE)
    }

    fn with(fd: BorrowedFd<'_>, offset: u64, len: u64, rights: ProtFlags, flags: MapFlags) -> rustix::io::Result<Self> {
        let len = crate::index(len);
        // SAFETY: without a fixed address the kernel chooses one that nothing else uses.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, rights, flags, fd, offset) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, len })
    }

    /// # Safety
    ///
    /// The range must be inside, and nobody may change its bytes while the slice lives.
    unsafe fn slice(&self, range: Range<usize>) -> &[u8] {
        debug_assert!(range.end <= self.len);
        // SAFETY: the caller keeps the range inside of the mapping, which lives as long as the slice.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(range.start), range.len()) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the region was mapped with this address and length, and all slices of it are gone.
        let result = unsafe { rustix::mm::munmap(self.start.as_ptr().cast::<c_void>(), self.len) };
        debug_assert_eq!(result, Ok(()));
    }
}

/// Has the kernel allocate a range of a memfd in huge pages, as far as it has any.
pub(crate) fn populate_huge(fd: BorrowedFd<'_>, offset: u64, len: u64) -> rustix::io::Result<()> {
    let region = Region::map(fd, offset, len, ProtFlags::READ | ProtFlags::WRITE)?;
    for advice in [Advice::LinuxHugepage, Advice::LinuxPopulateWrite] {
        // SAFETY: neither changes a byte; the whole range is this region's, and nobody looks at it.
        unsafe { rustix::mm::madvise(region.start.as_ptr().cast(), region.len, advice) }?;
    }
    Ok(())
}

/// Ask for the node of a page instead of a thread's policy (get_mempolicy(2), linux/mempolicy.h).
const MPOL_F_NODE_OF_ADDRESS: libc::c_int = 1 | 2;

/// Which memory node the page at `offset` is in (get_mempolicy(2)); nothing if the kernel does not say.
pub(crate) fn node_of(fd: BorrowedFd<'_>, offset: u64) -> Option<u32> {
    let region = Region::map(fd, offset - offset % crate::PAGE, crate::PAGE, ProtFlags::READ).ok()?;
    let mut node: libc::c_int = -1;
    // SAFETY: the kernel writes one number and looks up one page, which is mapped for as long as the region lives.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut node,
            std::ptr::null_mut::<libc::c_ulong>(),
            0,
            region.start.as_ptr(),
            MPOL_F_NODE_OF_ADDRESS,
        )
    };
    u32::try_from(node).ok().filter(|_| result == 0)
}

/// Bytes that the kernel lets nobody change any more.
#[derive(Debug)]
pub(crate) struct Sealed {
    region: Region,
    skip: usize,
}

impl Sealed {
    /// Maps `size` bytes from `offset`, or says that they can still change (`PERM`). An empty range has no mapping,
    /// and must not come here.
    pub(crate) fn map(fd: BorrowedFd<'_>, offset: u64, size: u64) -> rustix::io::Result<Self> {
        let seals = rustix::fs::fcntl_get_seals(fd)?;
        if !seals.contains(SealFlags::SHRINK) || !seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) {
            return Err(Errno::PERM);
        }
        let end = offset.checked_add(size).ok_or(Errno::OVERFLOW)?;
        if end > rustix::fs::fstat(fd)?.st_size.cast_unsigned() {
            return Err(Errno::OVERFLOW);
        }
        let skip = offset % crate::PAGE;
        let region = Region::map_range(fd, offset - skip, skip + size, ProtFlags::READ)?;
        let skip = crate::index(skip);
        Ok(Self { region, skip })
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the seals keep the whole range in place and unwritten. A slab's own server may still fill what
        // follows the ranges that it gave out, but only those are ever mapped here.
        unsafe { self.region.slice(self.skip..self.region.len) }
    }
}

/// A slab: filled from its beginning, by this process alone. Ranges are taken one after the other and may be filled at
/// the same time.
#[derive(Debug)]
pub(crate) struct Slab {
    region: Region,
    /// Everything before this was filled and never changes again.
    settled: AtomicUsize,
    filling: Mutex<Filling>,
}

#[derive(Debug)]
struct Filling {
    /// Where the next range begins.
    end: usize,
    /// Ranges that were taken and are not filled yet, in no order.
    taken: Vec<Range<usize>>,
}

/// A range of a slab that is to be filled.
#[derive(Debug)]
#[must_use = "a range that is never filled is lost"]
pub(crate) struct Room {
    slab: NonNull<u8>,
    range: Range<usize>,
    content: usize,
}

impl Slab {
    /// Maps a new slab, to be filled. To be followed by the seal that makes this mapping the last writable one.
    pub(crate) fn create(fd: BorrowedFd<'_>, len: u64) -> rustix::io::Result<Self> {
        Self::new(Region::map_all(fd, len, ProtFlags::READ | ProtFlags::WRITE)?, 0)
    }

    /// Maps a slab that an earlier server filled; it takes no more.
    pub(crate) fn adopt(fd: BorrowedFd<'_>, len: u64) -> rustix::io::Result<Self> {
        Self::new(Region::map(fd, 0, len, ProtFlags::READ)?, crate::index(len))
    }

    fn new(region: Region, filled: usize) -> rustix::io::Result<Self> {
        Ok(Self {
            region,
            settled: AtomicUsize::new(filled),
            filling: Mutex::new(Filling {
                end: filled,
                taken: Vec::new(),
            }),
        })
    }

    /// Takes room for `size` bytes behind what was taken before; nothing if they do not fit.
    pub(crate) fn take(&self, size: u64) -> Option<Room> {
        let mut filling = self.filling.lock();
        let start = filling.end;
        let end = start + crate::index(crate::room(size));
        if end > self.region.len {
            return None;
        }
        filling.end = end;
        filling.taken.push(start..end);
        Some(Room {
            slab: self.region.start,
            range: start..end,
            content: crate::index(size),
        })
    }

    /// Has `fill` write the bytes of a range, for ever.
    #[expect(clippy::needless_pass_by_value, reason = "it is used up: a range is filled once")]
    pub(crate) fn fill<T>(&self, room: Room, fill: impl FnOnce(&mut [u8]) -> T) -> T {
        assert_eq!(
            room.slab, self.region.start,
            "a range is filled in the slab that it was taken from"
        );
        // SAFETY: the range is inside of the mapping, which is writable because a slab that is not starts out full.
        // It was taken once, and the value that says so is used up here; `bytes` makes no slice of it before it is
        // settled.
        let target = unsafe {
            let start = self.region.start.as_ptr().add(room.range.start);
            std::slice::from_raw_parts_mut(start, room.content)
        };
        let result = fill(target);
        let mut filling = self.filling.lock();
        filling.taken.retain(|range| *range != room.range);
        let settled = filling.taken.iter().map(|range| range.start).min();
        self.settled.store(settled.unwrap_or(filling.end), Ordering::Release);
        result
    }

    /// Whether no room was ever taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.filling.lock().end == 0
    }

    /// A range that was filled.
    pub(crate) fn bytes(&self, offset: u64, size: u64) -> Option<&[u8]> {
        let range = crate::index(offset)..crate::index(offset.checked_add(size)?);
        if range.end > self.settled.load(Ordering::Acquire) && !self.filling.lock().is_filled(&range) {
            return None;
        }
        // SAFETY: the range is inside and was filled, so it stays as it is: only this process can write to the memfd,
        // and it fills each range once.
        Some(unsafe { self.region.slice(range) })
    }
}

impl Filling {
    /// Whether a range, somewhere behind those that are settled, is.
    fn is_filled(&self, range: &Range<usize>) -> bool {
        let overlaps = |taken: &Range<usize>| taken.start < range.end && range.start < taken.end;
        range.end <= self.end && !self.taken.iter().any(overlaps)
    }
}

impl Room {
    /// Where the range begins.
    pub(crate) fn offset(&self) -> u64 {
        self.range.start as u64
    }
}

/// A stage, which its producer may be writing to at any time.
#[derive(Debug)]
pub(crate) struct Stage(Region);

impl Stage {
    /// Maps a stage for reading. Its length must be sealed.
    pub(crate) fn map(fd: BorrowedFd<'_>, len: u64) -> rustix::io::Result<Self> {
        Region::map_all(fd, len, ProtFlags::READ).map(Self)
    }

    /// Copies what is there at this moment; nothing if the range is not inside.
    pub(crate) fn copy(&self, offset: u64, target: &mut [u8]) -> Option<()> {
        let end = offset.checked_add(crate::length(target))?;
        if end > self.0.len as u64 {
            return None;
        }
        // SAFETY: both ranges are inside of their memory. No reference is ever made to the stage's bytes, because another
        // process may change them; what is copied is then whatever it is.
        unsafe {
            let source = self.0.start.as_ptr().add(crate::index(offset));
            std::ptr::copy_nonoverlapping(source, target.as_mut_ptr(), target.len());
        }
        Some(())
    }
}

/// Memory of a memfd that nobody else has, to be filled before it is sealed.
#[derive(Debug)]
pub(crate) struct Fill(Region);

impl Fill {
    /// Maps the first `size` bytes. The memfd must be new: this process has its only descriptor.
    pub(crate) fn map(fd: BorrowedFd<'_>, size: u64) -> rustix::io::Result<Self> {
        Region::map_all(fd, size, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    /// The bytes to fill.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is as long as this, and the only one of a memfd that nobody else has.
        unsafe { std::slice::from_raw_parts_mut(self.0.start.as_ptr(), self.0.len) }
    }
}
