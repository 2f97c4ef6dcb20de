//! What a client does with a descriptor at least: map it.

#![allow(unsafe_code, reason = "mapping memory is what this file is for")]

use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The first bytes of a file, mapped until this is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    len: usize,
}

// SAFETY: the memory is mapped for the whole process, and `&self` only reads it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes, at least one.
    pub(crate) fn readable(fd: impl AsFd, len: usize) -> io::Result<Self> {
        // SAFETY: the kernel chooses a free range, so nothing that exists is replaced.
        let start = unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, fd, 0) }?;
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// The first byte, which brings its page in.
    pub(crate) fn first(&self) -> u8 {
        // SAFETY: at least one byte is mapped, and the volatile read takes whatever it is at this moment.
        unsafe { self.start.cast::<u8>().as_ptr().read_volatile() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly this range was mapped, and no reference to it outlives `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr(), self.len) };
        debug_assert!(unmapped.is_ok(), "unmapping our own mapping cannot fail");
    }
}
