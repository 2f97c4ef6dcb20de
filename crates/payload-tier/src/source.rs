//! Reads bytes of another tier piece by piece.

use std::os::fd::{AsFd, BorrowedFd};

use payload_core::digest::Hasher;
use payload_core::{Digest, Result};
use rustix::io::Errno;

use crate::fault::{Doing, missing};

/// Pieces of this size stay in the second-level cache from the read to the digest and the write.
pub(crate) const PIECE: usize = 1 << 20;

/// Fills `target` from `offset`, or says that the file is too short.
pub(crate) fn read_exact(fd: BorrowedFd<'_>, target: &mut [u8], offset: u64) -> Result<()> {
    let mut done = 0;
    while done < target.len() {
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut target[done..], offset + done as u64))
            .doing("read the bytes")?;
        if count == 0 {
            return Err(missing("the file is shorter than its row says"));
        }
        done += count;
    }
    Ok(())
}

/// Appends `size` bytes from `offset` to `out`.
pub(crate) fn append(fd: BorrowedFd<'_>, offset: u64, size: u64, out: &mut Vec<u8>) -> Result<()> {
    // A row may be wrong about the size; the file is not, and memory is reserved for no more than it has.
    let len = rustix::fs::fstat(fd).doing("look at the file")?.st_size.cast_unsigned();
    if offset.checked_add(size).is_none_or(|end| end > len) {
        return Err(missing("the file is shorter than its row says"));
    }
    let start = out.len();
    out.resize(start + crate::index(size), 0);
    let result = read_exact(fd, &mut out[start..], offset);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Digests `size` bytes from `offset`, without mapping them.
pub(crate) fn digest(fd: impl AsFd, offset: u64, size: u64) -> Result<Digest> {
    let mut hasher = Hasher::new();
    let mut piece = vec![0; PIECE.min(crate::index(size))];
    let mut done = 0;
    while done < size {
        let len = piece.len().min(crate::index(size - done));
        read_exact(fd.as_fd(), &mut piece[..len], offset + done)?;
        hasher.update(&piece[..len]);
        done += len as u64;
    }
    Ok(hasher.digest())
}

/// Turns an answer of the mapping module into one of the port.
pub(crate) fn mapped<T>(result: rustix::io::Result<T>) -> Result<T> {
    match result {
        Err(Errno::OVERFLOW) => Err(missing("the segment is shorter than its row says")),
        other => other.doing("map the segment"),
    }
}
