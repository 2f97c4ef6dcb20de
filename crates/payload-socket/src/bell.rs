//! Wakes a thread that waits for a connection, without touching the socket: others may listen on it too.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::{Errno, write};

/// Rung once, it stays rung.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A bell that has not been rung.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Ends every wait, now and later.
    pub fn ring(&self) {
        // It fails only when the bell has been rung more often than anybody could count.
        let _rung = write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Waits until there is something to read or accept from `fd`; false once the bell was rung.
    pub fn wait_readable(&self, fd: impl AsFd) -> io::Result<bool> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN),
                PollFd::new(&self.0, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) if !fds[1].revents().is_empty() => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
