//! Says what a failure below means to a caller of the port.

use payload_core::{Error, Reason, Result};
use rustix::io::Errno;

/// Adds what was being done to the error of a system call.
pub(crate) trait Doing<T> {
    /// `doing` completes "cannot …".
    fn doing(self, doing: &'static str) -> Result<T>;
}

impl<T> Doing<T> for rustix::io::Result<T> {
    fn doing(self, doing: &'static str) -> Result<T> {
        self.map_err(|errno| {
            let reason = match errno {
                Errno::NOSPC | Errno::DQUOT => Reason::TierFull,
                Errno::NOMEM => Reason::MemoryShort,
                Errno::NOENT => Reason::BytesMissing,
                Errno::ACCESS | Errno::PERM | Errno::ROFS => Reason::ObjectStoreDenied,
                Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::NXIO => Reason::BytesCorrupt,
                _ => Reason::ObjectStoreUnavailable,
            };
            Error::new(reason, format!("cannot {doing}")).source(std::io::Error::from(errno))
        })
    }
}

/// There is no object, or less of it than there should be.
pub(crate) fn missing(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Reason::BytesMissing, message)
}
