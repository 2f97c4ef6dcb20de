//! The local socket in an event loop: sends and receives at once when that is possible, else waits for the kernel.

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::task::{Context, Poll, Waker};

use payload_socket::Seqpacket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A connection that the event loop watches for messages. Not for room to send: the kernel would announce that each time
/// the server reads a message, and wake the client for nothing in the middle of every call.
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
        let watched = unsafe { AsyncFd::register_with_interest(Inner(socket), Interest::READABLE) };
        watched.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Sends one message. Nothing is sent if this is dropped before it is done.
    pub(crate) async fn send(&self, bytes: &[u8]) -> std::io::Result<()> {
        // Nearly always there is room, and nobody has to be asked.
        match self.0.get_ref().0.try_send(bytes, &[]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.send_later(bytes).await,
            sent => sent,
        }
    }

    /// Sends when the server has made room.
    async fn send_later(&self, bytes: &[u8]) -> std::io::Result<()> {
        let socket = &self.0.get_ref().0;
        let duplicate = socket.as_fd().try_clone_to_owned()?;
        // SAFETY: the duplicate belongs to the `AsyncFd`, which nothing takes it out of.
        let watched = unsafe { AsyncFd::register_with_interest(duplicate, Interest::WRITABLE) };
        let watched = watched.map_err(|error| error.into_parts().1)?;
        watched
            .async_io(Interest::WRITABLE, |_| socket.try_send(bytes, &[]))
            .await
    }

    /// Receives one message; `None` at the end of the connection. While nothing is there, the task of the latest call
    /// is woken when something comes, and no other.
    pub(crate) fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
    ) -> Poll<std::io::Result<Option<usize>>> {
        loop {
            let mut ready = std::task::ready!(self.0.poll_read_ready(context))?;
            if let Ok(received) = ready.try_io(|socket| socket.get_ref().0.try_recv(buffer, fds)) {
                return Poll::Ready(received);
            }
        }
    }

    /// Receives one message at once, past the event loop, or not at all.
    pub(crate) fn try_recv(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> std::io::Result<Option<usize>> {
        self.0.get_ref().0.try_recv(buffer, fds)
    }

    /// Receives one message past the event loop, and blocks the thread until it comes, no longer than was set.
    pub(crate) fn recv(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> std::io::Result<Option<usize>> {
        self.0.get_ref().0.recv(buffer, fds)
    }

    /// Has a task woken when something comes, instead of whoever called before; or at once if something may be there.
    pub(crate) fn wake_instead(&self, waker: &Waker) {
        if self.0.poll_read_ready(&mut Context::from_waker(waker)).is_ready() {
            waker.wake_by_ref();
        }
    }

    /// Ends the connection, on both sides.
    pub(crate) fn shutdown(&self) -> std::io::Result<()> {
        self.0.get_ref().0.shutdown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_for_which_there_is_no_room_waits_for_the_reader() {
        let (near, far) = Seqpacket::pair().unwrap();
        let near = Socket::new(near).unwrap();
        let message = [7; 1_000];
        let mut sent = 0_usize;
        while near.0.get_ref().0.try_send(&message, &[]).is_ok() {
            sent += 1;
        }
        let mut waiting = std::pin::pin!(near.send(b"late"));
        let now = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context).is_ready()));
        assert!(!now.await, "there was room after all");

        let mut buffer = [0; 1_000];
        for _ in 0..sent {
            assert_eq!(far.recv(&mut buffer, &mut Vec::new()).unwrap(), Some(1_000));
        }
        waiting.await.unwrap();
        assert_eq!(far.recv(&mut buffer, &mut Vec::new()).unwrap(), Some(4));
        assert_eq!(buffer[..4], *b"late");
    }
}
