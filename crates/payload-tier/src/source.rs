//! Reads bytes of another tier piece by piece.

use std::os::fd::{AsFd, BorrowedFd};

use payload_core::digest::Hasher;
use payload_core::port::{Receiver, Sender, Source};
use payload_core::{Digest, Error, Result};
use rustix::io::Errno;

use crate::direct::{DIRECT_MIN, clear_direct, is_aligned, set_direct};
use crate::fault::{Doing, fault, missing};
use crate::{PAGE, index, length};

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

/// Fills memory with the source's bytes, and digests them on the way: past the page cache when there are many, because
/// whoever reads them next does that in the memory.
pub(crate) fn fill(source: Source<'_>, target: &mut [u8]) -> Result<Digest> {
    let mut hasher = Hasher::new();
    let mut offset = source.offset;
    let mut direct = source.size >= DIRECT_MIN && source.offset.is_multiple_of(PAGE) && set_direct(source.fd)?;
    for piece in target.chunks_mut(PIECE) {
        if direct && !(is_aligned(piece) && read_direct(source.fd, piece, offset)?) {
            clear_direct(source.fd)?;
            direct = false;
        }
        if !direct {
            read_exact(source.fd, piece, offset)?;
        }
        hasher.update(piece);
        offset += length(piece);
    }
    Ok(hasher.digest())
}

/// Fills whole pages past the page cache; false where the file system accepts the flag and refuses the read, or has no
/// whole page left.
fn read_direct(fd: BorrowedFd<'_>, piece: &mut [u8], offset: u64) -> Result<bool> {
    let mut done = 0;
    while done < piece.len() {
        match rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut piece[done..], offset + done as u64)) {
            Ok(count) if count > 0 && count.is_multiple_of(index(PAGE)) => done += count,
            Ok(_) | Err(Errno::INVAL) => return Ok(false),
            Err(errno) => return Err(fault("read the bytes", errno)),
        }
    }
    Ok(true)
}

/// Appends `size` bytes from `offset` to `out`.
pub(crate) fn append(fd: BorrowedFd<'_>, offset: u64, size: u64, out: &mut Vec<u8>) -> Result<()> {
    // A row may be wrong about the size; the file is not, and memory is reserved for no more than it has.
    let len = rustix::fs::fstat(fd).doing("look at the file")?.st_size.cast_unsigned();
    if offset.checked_add(size).is_none_or(|end| end > len) {
        return Err(missing("the file is shorter than its row says"));
    }
    let start = out.len();
    out.resize(start + index(size), 0);
    let result = read_exact(fd, &mut out[start..], offset);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Digests `size` bytes from `offset`, without mapping them.
pub(crate) fn digest(fd: impl AsFd, offset: u64, size: u64) -> Result<Digest> {
    let mut hasher = Hasher::new();
    let mut piece = vec![0; PIECE.min(index(size))];
    let mut done = 0;
    while done < size {
        let len = piece.len().min(index(size - done));
        read_exact(fd.as_fd(), &mut piece[..len], offset + done)?;
        hasher.update(&piece[..len]);
        done += len as u64;
    }
    Ok(hasher.digest())
}

/// Gives `size` bytes from `offset` to a receiver.
pub(crate) fn send(fd: impl AsFd, offset: u64, size: u64, to: Receiver<'_>) -> Result<()> {
    let mut piece = vec![0; PIECE.min(index(size))];
    let mut done = 0;
    while done < size {
        let len = piece.len().min(index(size - done));
        read_exact(fd.as_fd(), &mut piece[..len], offset + done)?;
        to(done, &piece[..len])?;
        done += len as u64;
    }
    Ok(())
}

/// Fills `target` with what another tier sends, and digests it.
pub(crate) fn gather(target: &mut [u8], from: Sender<'_>) -> Result<Digest> {
    let mut received = 0;
    from(&mut |offset, bytes| {
        let start = index(offset);
        let place = start
            .checked_add(bytes.len())
            .and_then(|end| target.get_mut(start..end));
        place.ok_or_else(too_long)?.copy_from_slice(bytes);
        received += bytes.len();
        Ok(())
    })?;
    if received != target.len() {
        return Err(missing("the other tier has sent too few bytes"));
    }
    Ok(Digest::of(target))
}

fn too_long() -> Error {
    missing("the other tier has sent more bytes than the row says there are")
}

/// Turns an answer of the mapping module into one of the port.
pub(crate) fn mapped<T>(result: rustix::io::Result<T>) -> Result<T> {
    match result {
        Err(Errno::OVERFLOW) => Err(missing("the segment is shorter than its row says")),
        other => other.doing("map the segment"),
    }
}
