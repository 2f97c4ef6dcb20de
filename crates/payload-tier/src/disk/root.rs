//! The tier's directory: everything is opened relative to a descriptor of it, and checked to be what was put there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use payload_core::{Error, FileId, Reason, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

use super::Temporaries;
use super::names::{self, FILES, PACKS, TMP};
use crate::fault::{Doing, fault};

/// The held directory.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    pub(super) temporaries: Temporaries,
    free_min: u64,
}

impl Root {
    /// Makes what is not there, and throws away what was never finished.
    pub(super) fn open(dir: &Path, temporaries: Temporaries, free_min: u64) -> Result<Self> {
        let is_new = make_dir(CWD, dir).doing("make the tier's directory")?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty()).doing("open the tier's directory")?;
        if is_new {
            let parent = rustix::fs::openat(&fd, "..", flags, Mode::empty()).doing("open the data directory")?;
            rustix::fs::fsync(&parent).doing("sync the data directory")?;
        }
        rustix::fs::fchmod(&fd, Mode::RWXU).doing("close the tier's directory to others")?;
        let mut root = Self {
            fd,
            temporaries,
            free_min,
        };
        let shards = (0..=u8::MAX).map(names::shard_of);
        for name in [FILES, PACKS, TMP].into_iter().map(str::to_owned).chain(shards) {
            make_dir(root.fd.as_fd(), Path::new(&name)).doing("make a directory of the tier")?;
        }
        for name in [".", FILES] {
            rustix::fs::fsync(root.dir(name)?).doing("sync the tier's directory")?;
        }
        root.empty_tmp()?;
        if temporaries == Temporaries::Unnamed && !root.has_unnamed()? {
            root.temporaries = Temporaries::Named;
        }
        Ok(root)
    }

    /// One of the tier's own directories.
    pub(super) fn dir(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_beneath(self.fd.as_fd(), name, flags, Mode::empty()).doing("open a directory of the tier")
    }

    /// A whole file, for reading.
    pub(super) fn open_file(&self, id: FileId) -> Result<OwnedFd> {
        self.open_checked(&format!("{}/{id}", names::shard(id)))
    }

    /// A pack, for reading.
    pub(super) fn open_pack(&self, id: FileId) -> Result<OwnedFd> {
        self.open_checked(&format!("{PACKS}/{id}"))
    }

    /// A new pack, for writing; its name is on the device when this returns.
    pub(super) fn create_pack(&self, id: FileId) -> Result<OwnedFd> {
        let packs = self.dir(PACKS)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        let fd = open_beneath(packs.as_fd(), &id.to_string(), flags, Mode::RUSR).doing("make a pack")?;
        rustix::fs::fsync(&packs).doing("sync the directory of packs")?;
        Ok(fd)
    }

    /// A pack whose bytes are to be written once more.
    pub(super) fn open_pack_to_mend(&self, id: FileId) -> Result<OwnedFd> {
        let fd = self.open_pack(id)?;
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR).doing("open the pack for writing")?;
        let path = format!("{PACKS}/{id}");
        let opened = open_beneath(self.fd.as_fd(), &path, OFlags::WRONLY, Mode::empty()).doing("open the pack");
        rustix::fs::fchmod(&fd, Mode::RUSR).doing("close the pack for writing")?;
        opened
    }

    /// Takes a whole file's name away; false if it had none. Not synced: should the name come back after a power cut,
    /// no row names it, and the first sweep finds it.
    pub(super) fn unlink_file(&self, id: FileId) -> Result<bool> {
        self.unlink(&names::shard(id), id)
    }

    /// Takes a pack's name away; false if it had none.
    pub(super) fn unlink_pack(&self, id: FileId) -> Result<bool> {
        self.unlink(PACKS, id)
    }

    /// Throws a temporary away.
    pub(super) fn unlink_temporary(&self, id: FileId) -> Result<bool> {
        self.unlink(TMP, id)
    }

    /// Every whole file, with its size.
    pub(super) fn list_files(&self) -> Result<Vec<(FileId, u64)>> {
        let mut files = Vec::new();
        for last in 0..=u8::MAX {
            self.list(&names::shard_of(last), &mut files)?;
        }
        Ok(files)
    }

    /// Every pack, with its size.
    pub(super) fn list_packs(&self) -> Result<Vec<(FileId, u64)>> {
        let mut packs = Vec::new();
        self.list(PACKS, &mut packs)?;
        Ok(packs)
    }

    /// Refuses with `TIER_FULL` what would leave too little on the file system, before the file system has to.
    pub(super) fn require_free(&self, bytes: u64) -> Result<()> {
        let free = self.free()?;
        if bytes.saturating_add(self.free_min) <= free {
            return Ok(());
        }
        Err(Error::new(
            Reason::TierFull,
            format!(
                "{free} bytes are free on the file system, {} are to stay free, {bytes} are asked for",
                self.free_min
            ),
        ))
    }

    /// How many bytes there can be in the tier, if there are `used` now and nobody else takes or gives any.
    pub(super) fn attainable(&self, used: u64) -> Option<u64> {
        let free = self.free().ok()?;
        Some(used.saturating_add(free).saturating_sub(self.free_min))
    }

    fn free(&self) -> Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.fd).doing("ask the file system for its free space")?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn unlink(&self, dir: &str, id: FileId) -> Result<bool> {
        match rustix::fs::unlinkat(self.dir(dir)?, id.to_string(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(fault("remove the file", errno)),
        }
    }

    /// Opens what may have been tampered with: links lead nowhere, and whatever waits for a peer does not wait.
    fn open_checked(&self, path: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let fd = open_beneath(self.fd.as_fd(), path, flags, Mode::empty()).doing("open the file")?;
        let stat = rustix::fs::fstat(&fd).doing("look at the file")?;
        if !is_ours(&stat) || stat.st_nlink != 1 {
            return Err(Error::new(
                Reason::BytesCorrupt,
                "the file is not the one that was put there",
            ));
        }
        Ok(fd)
    }

    fn list(&self, dir: &str, found: &mut Vec<(FileId, u64)>) -> Result<()> {
        let fd = self.dir(dir)?;
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(&fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.doing("list a directory of the tier")?;
            let Some(id) = names::parse(entry.file_name().to_bytes()) else {
                continue;
            };
            match rustix::fs::statat(&fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_ours(&stat) => found.push((id, stat.st_size.cast_unsigned())),
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(fault("look at a file of the tier", errno)),
            }
        }
        Ok(())
    }

    fn empty_tmp(&self) -> Result<()> {
        let mut temporaries = Vec::new();
        self.list(TMP, &mut temporaries)?;
        for (id, _) in temporaries {
            self.unlink_temporary(id)?;
        }
        Ok(())
    }

    fn has_unnamed(&self) -> Result<bool> {
        match open_beneath(self.fd.as_fd(), TMP, OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR) {
            Ok(_) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(false),
            Err(errno) => Err(fault("make a file without a name", errno)),
        }
    }
}

/// The length of an open file.
pub(super) fn size_of(fd: BorrowedFd<'_>) -> Result<u64> {
    Ok(rustix::fs::fstat(fd).doing("look at the file")?.st_size.cast_unsigned())
}

/// Opens below a directory and nowhere else, whatever links somebody planted.
pub(super) fn open_beneath(dir: BorrowedFd<'_>, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // AGAIN: a rename elsewhere on the system came in between (openat2(2)).
    loop {
        match rustix::fs::openat2(dir, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Whether the directory was not there before.
fn make_dir(dir: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<bool> {
    match rustix::fs::mkdirat(dir, path, Mode::RWXU) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn is_ours(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_uid == rustix::process::geteuid().as_raw()
}
