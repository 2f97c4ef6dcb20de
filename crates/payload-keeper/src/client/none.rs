//! The server's side when there is no keeper: memory lives and dies with the server.

use std::os::fd::{BorrowedFd, OwnedFd};

use payload_core::port::FdStore;
use payload_core::{Result, SegmentId};

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeeper;

impl FdStore for NoKeeper {
    fn store(&self, _segment: SegmentId, _fd: BorrowedFd<'_>) -> Result<()> {
        Ok(())
    }

    fn remove(&self, _segment: SegmentId) -> Result<()> {
        Ok(())
    }

    fn list(&self) -> Result<Vec<(SegmentId, OwnedFd)>> {
        Ok(Vec::new())
    }
}
