//! A whole file in the making: without a name, or with one that nobody looks for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use payload_core::{FileId, Result};
use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::Temporaries;
use super::names::{self, TMP};
use super::root::{Root, open_beneath};
use crate::fault::Doing;
use crate::sys;

/// Dropped before it is published, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    root: &'a Root,
    id: FileId,
    fd: OwnedFd,
    temporary: Temporary,
}

/// Whether the file has a name that must be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temporary {
    Unnamed,
    Named,
}

impl<'a> Draft<'a> {
    /// A file that only the server will ever write.
    pub(super) fn for_server(root: &'a Root, id: FileId, size: u64) -> Result<Self> {
        Self::create(root, id, size, Mode::RUSR)
    }

    /// A file that its producer fills. Its owner may open it for writing until it is sealed, and nobody else ever.
    pub(super) fn for_producer(root: &'a Root, id: FileId, size: u64) -> Result<Self> {
        Self::create(root, id, size, Mode::RUSR | Mode::WUSR)
    }

    fn create(root: &'a Root, id: FileId, size: u64, mode: Mode) -> Result<Self> {
        root.require_free(size)?;
        let (fd, temporary) = match root.temporaries {
            Temporaries::Unnamed => {
                let dir = root.dir(&names::shard(id))?;
                let flags = OFlags::TMPFILE | OFlags::RDWR;
                (open_beneath(dir.as_fd(), ".", flags, mode), Temporary::Unnamed)
            }
            Temporaries::Named => {
                let dir = root.dir(TMP)?;
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
                (
                    open_beneath(dir.as_fd(), &id.to_string(), flags, mode),
                    Temporary::Named,
                )
            }
        };
        let fd = fd.doing("make a file")?;
        let draft = Self {
            root,
            id,
            fd,
            temporary,
        };
        allocate(draft.fd(), 0, size)?;
        Ok(draft)
    }

    /// Goes on with a file that was laid aside.
    pub(super) fn resume(root: &'a Root, id: FileId, fd: OwnedFd, temporary: Temporary) -> Self {
        Self {
            root,
            id,
            fd,
            temporary,
        }
    }

    /// Lays the file aside, to be resumed or thrown away by somebody else.
    pub(super) fn suspend(mut self) -> rustix::io::Result<(OwnedFd, Temporary)> {
        let fd = sys::reopen(&self.fd, OFlags::RDONLY)?;
        let temporary = std::mem::replace(&mut self.temporary, Temporary::Unnamed);
        Ok((fd, temporary))
    }

    /// Goes on without the temporary name, so that another draft of the same file can have it.
    pub(super) fn unname(&mut self) {
        if self.temporary == Temporary::Named {
            discard(self.root, self.id);
            self.temporary = Temporary::Unnamed;
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Writes all of `bytes`.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        write_all(self.fd(), bytes, offset).doing("write the file")
    }

    /// Sets the length, up or down.
    pub(super) fn set_len(&self, size: u64) -> Result<()> {
        rustix::fs::ftruncate(&self.fd, size).doing("size the file")
    }

    /// Waits until the bytes are on the device. If that fails the file is worth nothing: drop it.
    pub(super) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.fd).doing("sync the file")
    }

    /// Gives the file its name, and waits until that is on the device.
    pub(super) fn publish(mut self) -> Result<()> {
        let dir = self.root.dir(&names::shard(self.id))?;
        let name = self.id.to_string();
        match self.temporary {
            Temporary::Unnamed => {
                let flags = AtFlags::SYMLINK_FOLLOW;
                rustix::fs::linkat(CWD, sys::path_of(self.fd()), &dir, &name, flags).doing("name the file")?;
            }
            Temporary::Named => {
                let tmp = self.root.dir(TMP)?;
                rename(tmp.as_fd(), dir.as_fd(), &name).doing("name the file")?;
                self.temporary = Temporary::Unnamed;
            }
        }
        rustix::fs::fsync(&dir).doing("sync the directory").inspect_err(|_| {
            // Nobody was told of the file, so it may as well stay until the next start's sweep.
            let _removed = self.root.unlink_file(self.id);
        })
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        self.unname();
    }
}

/// Takes a temporary's name away. Should that fail, the next start empties the directory.
pub(super) fn discard(root: &Root, id: FileId) {
    let _removed = root.unlink_temporary(id);
}

/// Never over a file that is there. File systems that cannot promise that get a plain rename: ids do not repeat.
fn rename(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL) => rustix::fs::renameat(from, name, to, name),
        other => other,
    }
}

/// Reserves room and sets the length. Where the file system cannot reserve, a full disk shows at the write.
pub(super) fn allocate(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<()> {
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(fd, FallocateFlags::empty(), offset, len)) {
        Err(Errno::OPNOTSUPP) => rustix::fs::ftruncate(fd, offset + len).doing("size the file"),
        other => other.doing("reserve room for the file"),
    }
}

/// Writes all of `bytes` at `offset`.
pub(super) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, bytes, offset))?;
        if count == 0 {
            return Err(Errno::IO);
        }
        bytes = &bytes[count..];
        offset += count as u64;
    }
    Ok(())
}
