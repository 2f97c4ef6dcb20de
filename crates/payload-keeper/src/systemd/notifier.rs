//! Tells the manager how this process is, and gives it descriptors to keep: datagrams as in sd_notify(3).

use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use payload_core::Span;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    sendmsg_addr, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};

/// How long the manager may take to receive a datagram, and to come to a barrier.
const PATIENCE: Span = Span::from_secs(5);

/// Where the manager listens.
#[derive(Debug)]
pub struct Notifier {
    socket: OwnedFd,
    address: SocketAddrUnix,
}

impl Notifier {
    /// Of the address that `NOTIFY_SOCKET` names: a path, or `@` and an abstract name.
    pub(super) fn new(address: &str) -> io::Result<Self> {
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
            None if address.starts_with('/') => SocketAddrUnix::new(address)?,
            None => {
                let message = format!("NOTIFY_SOCKET in the environment is {address:?}, which is no local socket");
                return Err(io::Error::new(ErrorKind::InvalidInput, message));
            }
        };
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        Ok(Self { socket, address })
    }

    /// Tells that the process is ready, and what it does.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={status}"), &[])
    }

    /// Tells that the start takes longer, and that the manager will hear of it again within `span`.
    pub fn waiting(&self, span: Span, status: &str) -> io::Result<()> {
        let micros = span.as_millis() * 1_000;
        self.send(&format!("EXTEND_TIMEOUT_USEC={micros}\nSTATUS={status}"), &[])
    }

    /// Tells that the process ends on purpose.
    pub fn stopping(&self, status: &str) -> io::Result<()> {
        self.send(&format!("STOPPING=1\nSTATUS={status}"), &[])
    }

    /// Tells what the process does, in a line for people.
    pub fn status(&self, status: &str) -> io::Result<()> {
        self.send(&format!("STATUS={status}"), &[])
    }

    /// A sign of life.
    pub fn alive(&self) -> io::Result<()> {
        self.send("WATCHDOG=1", &[])
    }

    /// Has a duplicate of `fd` kept under a name; whether it is, shows after a barrier at the earliest.
    pub(super) fn store(&self, name: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.send(&format!("FDSTORE=1\nFDNAME={name}"), &[fd])
    }

    /// Has what is kept under a name closed.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])
    }

    /// Waits until the manager has done everything that it was told before: it then closes the pipe's other end.
    pub(super) fn barrier(&self) -> io::Result<()> {
        let (end, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        self.send("BARRIER=1", &[theirs.as_fd()])?;
        drop(theirs);
        let patience = Timespec::try_from(PATIENCE).expect("it is a few seconds");
        let mut fds = [PollFd::new(&end, PollFlags::empty())];
        match retry_on_intr(|| poll(&mut fds, Some(&patience)))? {
            0 => Err(io::Error::new(
                ErrorKind::TimedOut,
                "the service manager does not answer",
            )),
            _ => Ok(()),
        }
    }

    fn send(&self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            let pushed = control.push(SendAncillaryMessage::ScmRights(fds));
            debug_assert!(pushed, "there is room for one descriptor");
        }
        let text = [IoSlice::new(text.as_bytes())];
        retry_on_intr(|| sendmsg_addr(&self.socket, &self.address, &text, &mut control, SendFlags::NOSIGNAL))?;
        Ok(())
    }
}
