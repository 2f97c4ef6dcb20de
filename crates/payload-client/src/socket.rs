//! The local socket in an event loop: sends and receives at once when that is possible, else waits for the kernel.

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use payload_socket::Seqpacket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A connection that the event loop watches.
#[derive(Debug)]
pub(crate) struct Socket(AsyncFd<Inner>);

#[derive(Debug)]
struct Inner(Seqpacket);

impl AsRawFd for Inner {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Socket {
    pub(crate) fn new(socket: Seqpacket) -> std::io::Result<Self> {
        // SAFETY: the descriptor belongs to the socket, which nothing takes out of the `AsyncFd`, so it stays open and
        // the same until the `AsyncFd` is dropped.
        let watched = unsafe { AsyncFd::register(Inner(socket)) };
        watched.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Sends one message. Nothing is sent if this is dropped before it is done.
    pub(crate) async fn send(&self, bytes: &[u8]) -> std::io::Result<()> {
        // Nearly always there is room, and nobody has to be asked.
        match self.0.get_ref().0.try_send(bytes, &[]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.0
                    .async_io(Interest::WRITABLE, |socket| socket.0.try_send(bytes, &[]))
                    .await
            }
            sent => sent,
        }
    }

    /// Receives one message; `None` at the end of the connection.
    pub(crate) async fn recv(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> std::io::Result<Option<usize>> {
        self.0
            .async_io(Interest::READABLE, |socket| socket.0.try_recv(buffer, fds))
            .await
    }

    /// Ends the connection, on both sides.
    pub(crate) fn shutdown(&self) -> std::io::Result<()> {
        self.0.get_ref().0.shutdown()
    }
}
