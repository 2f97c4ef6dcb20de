//! What the kernel offers and `rustix` does not wrap: leases on files, and reopening a descriptor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// fcntl(2); the `libc` crate does not have it for this platform.
const F_SETSIG: libc::c_int = 10;

/// A new open file description of the same file, with rights of its own.
pub(crate) fn reopen(fd: impl AsFd, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(CWD, path_of(fd.as_fd()), flags | OFlags::CLOEXEC, Mode::empty())
}

/// The name under which the kernel shows a descriptor to its own process.
pub(crate) fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Whether nobody has the file open or mapped for writing. `fd` must be open for reading only, and the file must
/// belong to this process's user.
///
/// The kernel grants a read lease on exactly this condition, and tells all writers of the machine, whatever process
/// holds them. The lease is given back at once: what keeps new writers out is the file's mode.
pub(crate) fn no_writer(fd: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    // Whoever opens the file for writing while the lease is there makes the kernel signal its owner. By default that
    // is SIGIO, which kills; SIGURG is ignored unless somebody handles it.
    fcntl(fd, F_SETSIG, libc::SIGURG)?;
    match fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(()) => fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK).map(|()| true),
        Err(Errno::AGAIN) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether anybody has a memfd of this process's user open or mapped, apart from descriptors that share the open file
/// of `fd`, and mappings made through those: what the server has itself, and what it gave its keeper.
///
/// The kernel grants a write lease to who has the only other open file. It is given back at once.
pub(crate) fn is_held_elsewhere(fd: BorrowedFd<'_>) -> bool {
    let lease = || {
        // The open file that a memfd begins with does not count as a writer in the kernel, so it must be opened again.
        let own = reopen(fd, OFlags::RDWR)?;
        fcntl(own.as_fd(), F_SETSIG, libc::SIGURG)?;
        fcntl(own.as_fd(), libc::F_SETLEASE, libc::F_WRLCK)?;
        fcntl(own.as_fd(), libc::F_SETLEASE, libc::F_UNLCK)
    };
    // Short of descriptors or memory one cannot tell, and looks again later.
    matches!(lease(), Err(Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

fn fcntl(fd: BorrowedFd<'_>, command: libc::c_int, argument: libc::c_int) -> rustix::io::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and both commands take an int and touch no memory.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    if result >= 0 {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Err(Errno::from_raw_os_error(errno))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;

    /// Without another signal for the lease, this test does not fail but dies.
    #[test]
    fn a_writer_that_comes_during_the_check_does_not_kill_the_server() {
        let file = OwnedFd::from(tempfile::tempfile().unwrap());
        let reader = reopen(&file, OFlags::RDONLY).unwrap();
        drop(file);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    drop(reopen(&reader, OFlags::RDWR).unwrap());
                }
            });
            let (mut with, mut without) = (0, 0);
            while with < 5_000 || without < 5_000 {
                match no_writer(reader.as_fd()).unwrap() {
                    true => without += 1,
                    false => with += 1,
                }
            }
            done.store(true, Relaxed);
        });
    }
}
