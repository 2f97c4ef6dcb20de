//! Keeps file descriptors alive while the server is not.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::Result;
use crate::id::SegmentId;

/// Holds duplicates of segments' file descriptors, outside the server's process.
///
/// A segment whose `store` was acknowledged survives any death of the server. Adapters: the built-in keeper; none.
pub trait FdStore: Send + Sync {
    /// Keeps a duplicate of `fd` under the segment's name. Returns when it is kept. Keeping the same name again
    /// replaces what was there.
    fn store(&self, segment: SegmentId, fd: BorrowedFd<'_>) -> Result<()>;

    /// Gives the duplicate up. Unknown names are fine.
    fn remove(&self, segment: SegmentId) -> Result<()>;

    /// Duplicates of everything that is kept.
    fn list(&self) -> Result<Vec<(SegmentId, OwnedFd)>>;
}
