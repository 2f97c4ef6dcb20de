//! A payload's own memfd, on its way from reserved to sealed.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use payload_core::{Error, Reason, Result};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::memory;
use super::segment::not_sealed;
use crate::fault::{Doing, fault, too_big};
use crate::pages;

/// A payload's own memfd. Its length stays what was reserved, as it cannot shrink; memory behind the committed size is
/// freed at the seal.
#[derive(Debug)]
pub(super) struct Whole {
    sealed: AtomicBool,
    size: Mutex<u64>,
}

impl Whole {
    /// Made by this process, for a producer to fill.
    pub(super) fn reserved(size: u64) -> Self {
        Self::new(size, false)
    }

    /// Made and filled by this process.
    pub(super) fn sealed(size: u64) -> Self {
        Self::new(size, true)
    }

    /// Left by an earlier server.
    pub(super) fn adopted(size: u64, sealed: bool) -> Self {
        Self::new(size, sealed)
    }

    fn new(size: u64, sealed: bool) -> Self {
        Self {
            sealed: AtomicBool::new(sealed),
            size: Mutex::new(size),
        }
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(super) fn require_sealed(&self) -> Result<()> {
        if self.is_sealed() {
            return Ok(());
        }
        Err(not_sealed())
    }

    /// The memory that it takes up.
    pub(super) fn size(&self) -> u64 {
        *self.size.lock()
    }

    /// It is going: what it took up. A seal that comes too late finds nothing to give back.
    pub(super) fn retire(&self) -> u64 {
        std::mem::take(&mut self.size.lock())
    }

    /// Makes the first `size` bytes immutable and frees the others.
    pub(super) fn seal(&self, fd: BorrowedFd<'_>, size: u64) -> Result<Sealing> {
        let mut there = self.size.lock();
        if self.is_sealed() {
            return Ok(Sealing {
                charged: *there,
                freed: 0,
            });
        }
        let (reserved, keep) = (*there, pages(size));
        if keep > reserved {
            return Err(too_big());
        }
        // The seal forbids punching, so the tail goes first.
        if keep < reserved {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            memory::allocate(fd, punch, keep, reserved - keep).doing("free the tail of the segment")?;
        }
        if let Err(errno) = memory::seal(fd) {
            if keep < reserved {
                memory::allocate(fd, FallocateFlags::KEEP_SIZE, keep, reserved - keep)
                    .doing("reserve the tail of the segment again")?;
            }
            return Err(match errno {
                Errno::BUSY => Error::new(Reason::WriterMapped, "the segment is still mapped for writing"),
                errno => fault("seal the segment", errno),
            });
        }
        *there = keep;
        self.sealed.store(true, Ordering::Release);
        Ok(Sealing {
            charged: keep,
            freed: reserved - keep,
        })
    }
}

/// What a seal came to, in bytes.
#[derive(Debug)]
pub(super) struct Sealing {
    pub(super) charged: u64,
    pub(super) freed: u64,
}
