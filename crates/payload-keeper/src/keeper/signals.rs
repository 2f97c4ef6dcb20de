//! Signals as something to poll for.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The signals that ask for a stop. They write into a socket pair: neither std nor rustix has a `signalfd`, and one would
/// need the signals blocked, which children inherit.
#[derive(Debug)]
pub(crate) struct Signals {
    received: UnixStream,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let (received, raised) = UnixStream::pair()?;
        received.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, raised.try_clone()?)?;
        }
        Ok(Self { received })
    }

    /// Forgets what has been received.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.received).read(&mut bytes), Ok(count) if count > 0) {}
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.received.as_fd()
    }
}
