//! Who made the other end of a connection. rustix reads the process as a number that is never zero, which it is when the
//! process is in a pid namespace that cannot be seen from here, such as that of the host as seen from a container.
#![allow(unsafe_code, reason = "getsockopt(2) without a wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process that made the other end, as it was at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process id, or 0 if it cannot be seen from here. The process may be gone, and another one may have the number.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// `SO_PEERCRED` of a connected socket.
pub(crate) fn of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut size = libc::socklen_t::try_from(size_of_val(&credentials)).expect("it is three numbers");
    // SAFETY: the kernel writes at most `size` bytes to a value of that size, which any bytes are valid for.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut size,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer {
        pid: credentials.pid,
        uid: credentials.uid,
        gid: credentials.gid,
    })
}
