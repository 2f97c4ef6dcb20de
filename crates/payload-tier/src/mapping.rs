//! Memory that is mapped from memfds: the one place where raw pointers become slices.
//!
//! Three kinds, by who can change the bytes meanwhile: nobody ([`Sealed`]), only this process and only past the bytes
//! that were given out ([`Slab`]), only the one owner of the mapping ([`Fill`]). Files on disk are never mapped here,
//! because a read error of the device would be a signal instead of an error.

use std::ffi::c_void;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::fs::SealFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

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
        let len = crate::index(len);
        // SAFETY: without a fixed address the kernel chooses one that nothing else uses.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, rights, MapFlags::SHARED, fd, offset) }?;
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
        let region = Region::map(fd, offset - skip, skip + size, ProtFlags::READ)?;
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

/// A slab: filled from its beginning, by this process alone.
#[derive(Debug)]
pub(crate) struct Slab {
    region: Region,
    /// Everything before this was written and never changes again.
    filled: AtomicUsize,
    appending: Mutex<()>,
}

impl Slab {
    /// Maps a new slab, to be filled. To be followed by the seal that makes this mapping the last writable one.
    pub(crate) fn create(fd: BorrowedFd<'_>, len: u64) -> rustix::io::Result<Self> {
        Self::new(Region::map(fd, 0, len, ProtFlags::READ | ProtFlags::WRITE)?, 0)
    }

    /// Maps a slab that an earlier server filled; it takes no more.
    pub(crate) fn adopt(fd: BorrowedFd<'_>, len: u64) -> rustix::io::Result<Self> {
        Self::new(Region::map(fd, 0, len, ProtFlags::READ)?, crate::index(len))
    }

    fn new(region: Region, filled: usize) -> rustix::io::Result<Self> {
        Ok(Self {
            region,
            filled: AtomicUsize::new(filled),
            appending: Mutex::new(()),
        })
    }

    /// Copies `bytes` behind what is there, and returns where; nothing if they do not fit.
    pub(crate) fn append(&self, bytes: &[u8]) -> Option<u64> {
        let _alone = self.appending.lock();
        let offset = self.filled.load(Ordering::Relaxed);
        let end = offset + crate::index(crate::room(crate::length(bytes)));
        if end > self.region.len {
            return None;
        }
        // SAFETY: the range is inside of the mapping, which is writable because a slab that is not starts out full.
        // No slice covers it, as slices end at `filled`; and the lock keeps other writers out.
        unsafe {
            let target = self.region.start.as_ptr().add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        self.filled.store(end, Ordering::Release);
        Some(offset as u64)
    }

    /// Whether anything was ever put in.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled.load(Ordering::Acquire) == 0
    }

    /// A range that was given out.
    pub(crate) fn bytes(&self, offset: u64, size: u64) -> Option<&[u8]> {
        let end = crate::index(offset.checked_add(size)?);
        if end > self.filled.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: the range is inside, and everything before `filled` stays as it is: only this process can write to
        // the memfd, and it only appends.
        Some(unsafe { self.region.slice(crate::index(offset)..end) })
    }
}

/// Memory of a memfd that nobody else has, to be filled before it is sealed.
#[derive(Debug)]
pub(crate) struct Fill(Region);

impl Fill {
    /// Maps the first `size` bytes. The memfd must be new: this process has its only descriptor.
    pub(crate) fn map(fd: BorrowedFd<'_>, size: u64) -> rustix::io::Result<Self> {
        Region::map(fd, 0, size, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    /// The bytes to fill.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is as long as this, and the only one of a memfd that nobody else has.
        unsafe { std::slice::from_raw_parts_mut(self.0.start.as_ptr(), self.0.len) }
    }
}
