//! Memory mappings, with what makes them safe to look at.

use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A read-only mapping of the first bytes of a segment or file.
#[derive(Debug)]
pub(crate) struct Mapping(Region);

/// A writable mapping of an allocation: of all of its segment or file, or of a part of a stage.
#[derive(Debug)]
pub(crate) struct WritableMapping {
    area: Arc<Area>,
    range: Range<usize>,
}

/// Memory that is mapped for writing, in parts that each have one writer.
#[derive(Debug)]
pub(crate) struct Area(Region);

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
        Region::new(fd, len, ProtFlags::READ, MapFlags::SHARED).map(Self)
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
        let area = Area(Region::new(
            fd,
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
        )?);
        Ok(Self {
            area: Arc::new(area),
            range: 0..len,
        })
    }

    /// A part of what is mapped, which is reserved for the caller; nothing if it is not inside.
    pub(crate) fn part(area: &Arc<Area>, range: Range<usize>) -> Option<Self> {
        let inside = range.start <= range.end && range.end <= area.0.len;
        inside.then(|| Self {
            area: Arc::clone(area),
            range,
        })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: the range is inside of the mapping, which lives as long as `self`. Every allocation has a range of its
        // own and one writer: this one.
        unsafe { std::slice::from_raw_parts(self.area.0.start.as_ptr().add(self.range.start), self.range.len()) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and exclusively for as long as `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.area.0.start.as_ptr().add(self.range.start), self.range.len()) }
    }
}

impl Area {
    /// Maps all of a stage. Its pages are entered at once: it will be written again and again.
    pub(crate) fn of_stage(fd: impl AsFd) -> std::io::Result<Self> {
        let len = usize::try_from(rustix::fs::fstat(&fd)?.st_size).map_err(std::io::Error::other)?;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        Region::new(fd, len, ProtFlags::READ | ProtFlags::WRITE, flags).map(Self)
    }
}

impl Region {
    fn new(fd: impl AsFd, len: usize, protection: ProtFlags, flags: MapFlags) -> std::io::Result<Self> {
        // SAFETY: the kernel chooses an address where nothing is mapped.
        let start = unsafe { mmap(std::ptr::null_mut(), len, protection, flags, fd, 0)? };
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
