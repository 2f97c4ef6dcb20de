//! Past the page cache: what direct reads and writes want of descriptors and of memory.

use std::os::fd::BorrowedFd;

use payload_core::Result;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::fault::Doing;
use crate::{PAGE, index};

/// Below this the page cache is as fast, and its write-back merges with others'.
pub(crate) const DIRECT_MIN: u64 = 1 << 20;

/// Memory that begins at a page, as direct reads and writes want it; made when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Aligned(Vec<u8>);

impl Aligned {
    /// The first `len` bytes; all zeros whenever that is more than ever before.
    pub(crate) fn bytes(&mut self, len: usize) -> &mut [u8] {
        let room = len + index(PAGE);
        if self.0.len() < room {
            self.0 = vec![0; room];
        }
        let skip = self.0.as_ptr().align_offset(index(PAGE));
        &mut self.0[skip..skip + len]
    }
}

/// Whether memory begins and ends at a page.
pub(crate) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(index(PAGE)) && bytes.len().is_multiple_of(index(PAGE))
}

/// Turns direct reading and writing on, if the file system has it.
pub(crate) fn set_direct(fd: BorrowedFd<'_>) -> Result<bool> {
    let flags = rustix::fs::fcntl_getfl(fd).doing("look at the file's flags")?;
    match rustix::fs::fcntl_setfl(fd, flags | OFlags::DIRECT) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(crate::fault::fault("go past the page cache", errno)),
    }
}

/// And off again.
pub(crate) fn clear_direct(fd: BorrowedFd<'_>) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd).doing("look at the file's flags")?;
    rustix::fs::fcntl_setfl(fd, flags - OFlags::DIRECT).doing("go through the page cache")
}
