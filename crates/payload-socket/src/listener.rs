//! The listening end: takes the place of a dead server's socket, never of a living one's.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, chmodat, flock, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, accept_with, bind, connect, listen, shutdown, sockopt};

use crate::address::{Address, split};
use crate::bell::Bell;
use crate::seqpacket::{Seqpacket, new_socket};

/// How many connections may wait to be accepted; the kernel may cut it to `net.core.somaxconn`.
const BACKLOG: i32 = 128;

/// A socket in the file system that accepts connections. Dropping it leaves the file; see [`Listener::remove`].
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    owner: Owner,
}

/// Whose the socket and its file are.
#[derive(Debug)]
enum Owner {
    /// This process's alone.
    Own(Place),
    /// Somebody else's who goes on listening when this process has ended. The bell ends `accept` here alone.
    Another(Bell),
}

/// Where the socket's file is.
#[derive(Debug)]
struct Place {
    directory: OwnedFd,
    name: OsString,
    /// Device and inode of the file, so that only this socket is ever removed.
    identity: (u64, u64),
}

impl Listener {
    /// Listens at `path`, whose file gets the permission bits `mode` before anybody can connect. A socket that is
    /// there already is replaced if nobody listens on it.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if somebody listens there, or if something is there that is not a socket.
    pub fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        let (parent, name) = split(path)?;
        let directory = open_directory(parent)?;
        let socket = new_socket(SocketFlags::CLOEXEC)?;
        let address = Address::of(path)?;

        // Two processes that find the same dead socket would each remove the other's new one.
        flock(&directory, FlockOperation::LockExclusive)?;
        match bind(&socket, &address.unix) {
            Err(Errno::ADDRINUSE) => {
                remove_dead(&directory, Path::new(name), &address)?;
                bind(&socket, &address.unix)?;
            }
            other => other?,
        }
        chmodat(&directory, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        listen(&socket, BACKLOG)?;
        let place = Place::of(directory, name)?;
        flock(&place.directory, FlockOperation::Unlock)?;
        Ok(Self::own(socket, place))
    }

    /// Goes on with a listening socket that another process handed over, together with the place of its file. Clients
    /// that wait in its queue are not lost, and from now on see this process as their peer.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `fd` is not a listening socket.
    pub fn inherit(fd: OwnedFd, path: &Path) -> io::Result<Self> {
        require_listening(&fd)?;
        let (parent, name) = split(path)?;
        let directory = open_directory(parent)?;
        listen(&fd, BACKLOG)?;
        Ok(Self::own(fd, Place::of(directory, name)?))
    }

    /// Accepts from a listening socket that stays somebody else's: it goes on listening when this process has ended, and
    /// its file is never removed. Clients see this process as their peer.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `fd` is not a listening socket.
    pub fn lent(fd: OwnedFd) -> io::Result<Self> {
        require_listening(&fd)?;
        listen(&fd, BACKLOG)?;
        // Whoever was announced may be gone again before it is accepted.
        rustix::io::ioctl_fionbio(&fd, true)?;
        let owner = Owner::Another(Bell::new()?);
        Ok(Self { fd, owner })
    }

    fn own(fd: OwnedFd, place: Place) -> Self {
        let owner = Owner::Own(place);
        Self { fd, owner }
    }

    /// Waits for a connection. `None`: the listener was shut down.
    ///
    /// # Errors
    ///
    /// After an error for which [`out_of_descriptors`] holds, the connection still waits and the listener still polls
    /// as readable: back off before the next try.
    pub fn accept(&self) -> io::Result<Option<Seqpacket>> {
        loop {
            if let Owner::Another(bell) = &self.owner
                && !bell.wait_readable(&self.fd)?
            {
                return Ok(None);
            }
            match accept_with(&self.fd, SocketFlags::CLOEXEC) {
                Ok(socket) => return Ok(Some(Seqpacket::from(socket))),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) if matches!(self.owner, Owner::Another(_)) => {}
                // The kernel's answer when the listening socket is shut down.
                Err(Errno::INVAL) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes `accept` answer `WouldBlock` instead of waiting, for callers with an event loop.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.fd, nonblocking)?)
    }

    /// Stops listening and wakes every thread in `accept`; connections that were accepted live on. To a socket that is
    /// somebody else's, clients can still connect; they wait for its owner.
    pub fn shutdown(&self) -> io::Result<()> {
        if let Owner::Another(bell) = &self.owner {
            bell.ring();
            return Ok(());
        }
        match shutdown(&self.fd, Shutdown::Both) {
            Err(Errno::NOTCONN) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Removes the socket's file, unless another socket has taken its place or it is somebody else's.
    pub fn remove(&self) -> io::Result<()> {
        match &self.owner {
            Owner::Own(place) => place.remove(),
            Owner::Another(_) => Ok(()),
        }
    }
}

impl Place {
    fn of(directory: OwnedFd, name: &OsStr) -> io::Result<Self> {
        let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Self {
            directory,
            name: name.to_owned(),
            identity: (stat.st_dev, stat.st_ino),
        })
    }

    fn remove(&self) -> io::Result<()> {
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == self.identity => {
                Ok(unlinkat(&self.directory, &self.name, AtFlags::empty())?)
            }
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether `accept` failed because the process (or the host) has no file descriptor to spare.
pub fn out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

fn require_listening(fd: &OwnedFd) -> io::Result<()> {
    if !sockopt::socket_acceptconn(fd)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a listening socket"));
    }
    Ok(())
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// Removes a socket that nobody listens on.
fn remove_dead(directory: &OwnedFd, name: &Path, address: &Address) -> io::Result<()> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "something that is not a socket has its place",
        ));
    }
    // Without waiting: a listener whose queue is full is alive.
    let probe = new_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    match connect(&probe, &address.unix) {
        Err(Errno::CONNREFUSED) => Ok(unlinkat(directory, name, AtFlags::empty())?),
        Err(Errno::NOENT) => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "somebody listens on the socket",
        )),
    }
}
