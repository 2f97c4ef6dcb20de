//! Mappings of descriptors that the server handed out.

use std::os::fd::AsFd;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared mapping of a whole range.
#[derive(Debug)]
pub(crate) struct Map {
    address: *mut u8,
    size: usize,
}

impl Map {
    pub(crate) fn readable(fd: impl AsFd, size: usize) -> rustix::io::Result<Self> {
        Self::new(fd, size, ProtFlags::READ)
    }

    pub(crate) fn writable(fd: impl AsFd, size: usize) -> rustix::io::Result<Self> {
        Self::new(fd, size, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn new(fd: impl AsFd, size: usize, access: ProtFlags) -> rustix::io::Result<Self> {
        // SAFETY: the kernel chooses an address that nothing else uses.
        let address = unsafe { mmap(std::ptr::null_mut(), size, access, MapFlags::SHARED, fd, 0) }?;
        Ok(Self {
            address: address.cast(),
            size,
        })
    }

    /// What is there at this moment.
    pub(crate) fn copy(&self) -> Vec<u8> {
        let byte = |position| {
            // SAFETY: within the mapping, which lives as long as `self`; volatile, as others may write.
            unsafe { self.address.add(position).read_volatile() }
        };
        (0..self.size).map(byte).collect()
    }

    /// Writes from the start; only through a writable mapping.
    pub(crate) fn write(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.size);
        for (position, byte) in bytes.iter().enumerate() {
            // SAFETY: within the mapping, which lives as long as `self`; volatile, as others may read.
            unsafe { self.address.add(position).write_volatile(*byte) };
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: nothing points into the mapping but `self`.
        let _ = unsafe { munmap(self.address.cast(), self.size) };
    }
}
