//! Waiting for a socket without letting signals shorten or stretch the time.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

/// Waits until one of `events` (or an error, or the end of the connection) is there; false if `timeout` came first.
pub(crate) fn wait(socket: BorrowedFd<'_>, events: PollFlags, timeout: Option<Duration>) -> io::Result<bool> {
    let end = timeout.map(|timeout| now().saturating_add(timeout));
    loop {
        let left = end.map(|end| end.saturating_sub(now()));
        let left = left.map(|left| Timespec::try_from(left).unwrap_or(FOREVER));
        match poll(&mut [PollFd::from_borrowed_fd(socket, events)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a duration too long for the kernel's clock amounts to.
const FOREVER: Timespec = Timespec {
    tv_sec: i64::MAX / 2_000_000_000,
    tv_nsec: 0,
};

/// The monotonic clock, which measures how long a call of this crate has waited and is seen by nobody else.
fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or(Duration::ZERO)
}
