//! One end of a connection: sends and receives whole messages with their file descriptors.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, connect, recv, recvmsg, send, sendmsg,
    shutdown, socket_with, socketpair, sockopt,
};

use crate::address::Address;
use crate::peer::{self, Peer};
use crate::{MESSAGE_FDS_MAX, deadline, outq};

/// Room for the descriptors of one message.
const CONTROL_SIZE: usize = rustix::cmsg_space!(ScmRights(MESSAGE_FDS_MAX));

/// One end of a connection.
///
/// Any number of threads may send and receive at the same time; each message goes to one of those that receive.
#[derive(Debug)]
pub struct Seqpacket {
    fd: OwnedFd,
}

impl Seqpacket {
    /// Two ends that are connected to each other.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { fd: one }, Self { fd: other }))
    }

    /// Connects to a listener; `path` may be longer than the 107 bytes of a socket address.
    ///
    /// # Errors
    ///
    /// `NotFound` if nothing is there, `ConnectionRefused` if nobody listens.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = new_socket(SocketFlags::CLOEXEC)?;
        let address = Address::of(path)?;
        retry(|| connect(&socket, &address.unix))?;
        Ok(Self { fd: socket })
    }

    /// Sends one message, whole or not at all; waits while the peer's queue is full.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an empty message and for more than [`MESSAGE_FDS_MAX`] descriptors; `BrokenPipe` or
    /// `ConnectionReset` if the peer is gone; `EMSGSIZE` if the message is larger than the socket's send buffer;
    /// `ETOOMANYREFS` if this user has more descriptors in flight than the kernel allows.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(bytes, fds, SendFlags::NOSIGNAL)
    }

    /// The same without waiting: `WouldBlock` if the peer's queue is full.
    pub fn try_send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(bytes, fds, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn send_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
        if bytes.is_empty() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a message must not be empty"));
        }
        if fds.len() > MESSAGE_FDS_MAX {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "too many file descriptors for one message",
            ));
        }
        let sent = if fds.is_empty() {
            // The same to the peer, and less work for the kernel.
            retry(|| send(&self.fd, bytes, flags))?
        } else {
            let mut space = [MaybeUninit::uninit(); CONTROL_SIZE];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let pushed = control.push(SendAncillaryMessage::ScmRights(fds));
            debug_assert!(pushed, "the buffer has room for the largest message");
            retry(|| sendmsg(&self.fd, &[IoSlice::new(bytes)], &mut control, flags))?
        };
        debug_assert_eq!(sent, bytes.len(), "a sequenced packet is sent whole");
        Ok(())
    }

    /// Waits for one message, puts it into `buffer` and adds its descriptors to `fds`. `None`: the connection has
    /// ended, on this side or the other, and everything that came before its end has been received.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the message is larger than `buffer`, has more than [`MESSAGE_FDS_MAX`] descriptors, or this
    /// process had no room for them in its descriptor table: the message is gone, descriptors that did arrive are
    /// closed, and the connection can be used on.
    pub fn recv(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<Option<usize>> {
        self.recv_with(buffer, fds, RecvFlags::CMSG_CLOEXEC)
    }

    /// The same without waiting: `WouldBlock` if no message is there.
    pub fn try_recv(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<Option<usize>> {
        self.recv_with(buffer, fds, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    /// Waits for one message like [`recv`](Self::recv), for callers who want no descriptors: the kernel closes those that
    /// come.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the message is larger than `buffer`.
    pub fn recv_bytes(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let room = buffer.len();
        let len = loop {
            match recv(&self.fd, &mut *buffer, RecvFlags::TRUNC) {
                Err(Errno::INTR | Errno::CONNRESET) => {}
                other => break other?.1,
            }
        };
        if len > room {
            return Err(too_large());
        }
        Ok((len > 0).then_some(len))
    }

    fn recv_with(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>, flags: RecvFlags) -> io::Result<Option<usize>> {
        let mut space = [MaybeUninit::uninit(); CONTROL_SIZE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(&self.fd, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
                // A peer that closed without reading everything leaves this mark, once, in front of what it had sent.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                other => break other?,
            }
        };
        let mut arrived = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                arrived.extend(rights);
            }
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(too_large());
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || arrived.len() > MESSAGE_FDS_MAX {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "file descriptors of the message were lost",
            ));
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        fds.append(&mut arrived);
        Ok(Some(received.bytes))
    }

    /// Bounds how long `recv` waits; it then answers `WouldBlock`. The kernel rounds up to whole ticks.
    pub fn set_recv_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(&self.fd, sockopt::Timeout::Recv, timeout)?)
    }

    /// Who made the other end (`SO_PEERCRED`).
    pub fn peer(&self) -> io::Result<Peer> {
        peer::of(self.fd.as_fd())
    }

    /// How much of what was sent here the peer has not read (`SIOCOUTQ`): 0 when it has read everything, else the
    /// memory that unread messages occupy, which is more than their bytes.
    pub fn unread(&self) -> io::Result<usize> {
        outq::unread(self.fd.as_fd())
    }

    /// Waits until a message can be sent, or sending would fail at once; false if `timeout` came first.
    pub fn wait_writable(&self, timeout: Option<Duration>) -> io::Result<bool> {
        deadline::wait(self.fd.as_fd(), PollFlags::OUT, timeout)
    }

    /// Waits until a message, or the end of the connection, can be received; false if `timeout` came first.
    pub fn wait_readable(&self, timeout: Option<Duration>) -> io::Result<bool> {
        deadline::wait(self.fd.as_fd(), PollFlags::IN, timeout)
    }

    /// Waits for the end of the connection without receiving anything; false if `timeout` came first.
    pub fn wait_closed(&self, timeout: Option<Duration>) -> io::Result<bool> {
        deadline::wait(self.fd.as_fd(), PollFlags::empty(), timeout)
    }

    /// Ends the connection for both sides and wakes every thread that sends or receives on it. What was sent before
    /// can still be received.
    pub fn shutdown(&self) -> io::Result<()> {
        match shutdown(&self.fd, Shutdown::Both) {
            Err(Errno::NOTCONN) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Makes `send` and `recv` answer `WouldBlock` instead of waiting, for callers with an event loop.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.fd, nonblocking)?)
    }
}

impl AsFd for Seqpacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Seqpacket {
    /// Takes over a connected `SOCK_SEQPACKET` socket.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Seqpacket> for OwnedFd {
    fn from(socket: Seqpacket) -> Self {
        socket.fd
    }
}

/// A socket that is neither bound nor connected.
pub(crate) fn new_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

fn too_large() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the message is larger than the buffer")
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
