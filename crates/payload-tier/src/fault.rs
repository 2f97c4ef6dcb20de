//! Says what a failed system call means to a caller of the port.

use payload_core::{Error, Reason, Result};
use rustix::io::Errno;

/// Adds what was being done to the error of a system call.
pub(crate) trait Doing<T> {
    /// `doing` completes "cannot …".
    fn doing(self, doing: &'static str) -> Result<T>;
}

impl<T> Doing<T> for rustix::io::Result<T> {
    fn doing(self, doing: &'static str) -> Result<T> {
        self.map_err(|errno| fault(doing, errno))
    }
}

/// No room is the caller's to wait for; a name that leads elsewhere means that somebody tampered, and trying again
/// would not help; everything else may be better the next time.
pub(crate) fn fault(doing: &'static str, errno: Errno) -> Error {
    let reason = match errno {
        Errno::NOSPC | Errno::DQUOT => Reason::TierFull,
        Errno::NOMEM => Reason::MemoryShort,
        Errno::NOENT => Reason::BytesMissing,
        Errno::LOOP | Errno::XDEV | Errno::NXIO => Reason::BytesCorrupt,
        _ => Reason::TierUnavailable,
    };
    Error::new(reason, format!("cannot {doing}")).source(std::io::Error::from(errno))
}

/// The row names bytes that are not there.
pub(crate) fn missing(what: &'static str) -> Error {
    Error::new(Reason::BytesMissing, what)
}

/// A fault of the caller: the location belongs to another tier.
pub(crate) fn foreign() -> Error {
    Error::new(Reason::Internal, "the location belongs to another tier")
}

/// The container has bytes that a row may name soon.
pub(crate) fn in_use() -> Error {
    Error::new(Reason::Conflict, "the container is in use")
}

/// More was committed than was allocated.
pub(crate) fn too_big() -> Error {
    Error::invalid(Reason::BadSize, "size must not be above the allocated size").field("size")
}
