//! Memory mappings, with what makes them safe to look at.

use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A read-only mapping of the first bytes of a segment or file.
#[derive(Debug)]
pub(crate) struct Mapping(Region);

/// A writable mapping of an allocation.
#[derive(Debug)]
pub(crate) struct WritableMapping(Region);

/// Mapped memory that is unmapped when dropped. Never empty: the kernel refuses that.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a region is plain memory that belongs to whoever has the value; no thread is special to it.
unsafe impl Send for Region {}
// SAFETY: through a shared reference a region can only be read.
unsafe impl Sync for Region {}

impl Mapping {
    /// Maps `len` bytes, which must not be zero, and which the container must have.
    pub(crate) fn new(fd: impl AsFd, len: usize) -> std::io::Result<Self> {
        Region::new(fd, len, ProtFlags::READ).map(Self)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len
    }

    /// Leased bytes, or nothing if `range` is not within the mapping.
    pub(crate) fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        if range.start > range.end || range.end > self.0.len {
            return None;
        }
        // SAFETY: the range lies within the mapping, which lives as long as `self`. The bytes of a leased range are
        // immutable: the kernel seals segments, the server never writes to a granted range of a slab or a file again.
        // Only ranges that were granted are ever turned into slices, because other parts of a slab do change.
        Some(unsafe { std::slice::from_raw_parts(self.0.start.as_ptr().add(range.start), range.len()) })
    }
}

impl WritableMapping {
    /// Maps `len` bytes, which must not be zero, and which are reserved for the caller.
    pub(crate) fn new(fd: impl AsFd, len: usize) -> std::io::Result<Self> {
        Region::new(fd, len, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: the whole mapping, for as long as `self` is borrowed. An allocation has one writer: this one.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the whole mapping, exclusively for as long as `self` is borrowed. An allocation has one writer.
        unsafe { std::slice::from_raw_parts_mut(self.0.start.as_ptr(), self.0.len) }
    }
}

impl Region {
    fn new(fd: impl AsFd, len: usize, protection: ProtFlags) -> std::io::Result<Self> {
        // SAFETY: the kernel chooses an address where nothing is mapped.
        let start = unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, fd, 0)? };
        let start = NonNull::new(start.cast()).ok_or_else(|| std::io::Error::other("mapped at address zero"))?;
        Ok(Self { start, len })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping and no slice of it outlives the value. It cannot fail for such a range.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
