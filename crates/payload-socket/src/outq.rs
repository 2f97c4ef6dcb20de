//! A system call that has no safe wrapper: how much of what was sent is still unread.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ` of `linux/sockios.h`, which is `TIOCOUTQ` of `asm-generic/ioctls.h`; the architectures left out have
/// another number.
#[cfg(not(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "sparc64"
)))]
const SIOCOUTQ: Opcode = 0x5411;

/// Bytes of buffer that messages sent on `socket` still occupy.
pub(crate) fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: the opcode is right for this architecture, and the kernel writes one `int` for it (`unix_ioctl`).
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, std::ffi::c_int>::new()) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}
