//! Descriptors that were open when this process began, and that its starter says are for it: sd_listen_fds(3).
#![allow(
    unsafe_code,
    reason = "only the environment says that these numbers are open descriptors"
)]

use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};

/// The first of them; those before are the standard streams.
const FIRST: RawFd = 3;
/// More cannot be open.
const COUNT_MAX: RawFd = 1 << 20;

/// Set once they have an owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes `count` descriptors with their names, which are separated by colons. They are not inherited any further.
pub(super) fn take(count: RawFd, names: &str) -> io::Result<Vec<(String, OwnedFd)>> {
    if !(0..COUNT_MAX).contains(&count) {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "LISTEN_FDS in the environment is out of range",
        ));
    }
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let mut names = names.split(':');
    (FIRST..FIRST + count)
        .map(|number| {
            // SAFETY: borrowed for one call, which does no harm to a number that is not open.
            let closed = fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC);
            closed.map_err(|error| {
                let message = format!("descriptor {number}, which LISTEN_FDS promises, is not there: {error}");
                io::Error::new(ErrorKind::InvalidInput, message)
            })?;
            // SAFETY: it is open, was so before this process began, and its starter says that it is for this process.
            // Nothing else here knows of it, and it is taken once.
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown");
            Ok((name.to_owned(), fd))
        })
        .collect()
}
