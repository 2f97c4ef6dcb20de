//! The held directory: everything is opened relative to a descriptor of it, and nothing outside is reached.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use payload_core::Result;
use payload_core::port::ObjectKey;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{PutOutcome, outcome};
use crate::fault::{Doing, missing};

/// Where files are until they are whole. No key begins with a dot.
pub(super) const TMP: &str = ".tmp";

/// Between a draft's key, whose slashes it replaces too, and what makes its name unique. No key has it.
const MARK: char = '+';

#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
}

impl Root {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let made = make_dir(CWD, dir).doing("make the directory of objects")?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty()).doing("open the directory of objects")?;
        if made {
            let parent = rustix::fs::openat(&fd, "..", flags, Mode::empty()).doing("open the directory above")?;
            rustix::fs::fsync(&parent).doing("sync the directory above")?;
        }
        let root = Self { fd };
        root.make_dirs(&format!("{TMP}/x"))?;
        Ok(root)
    }

    /// An object, for reading.
    pub(super) fn open_object(&self, key: &ObjectKey) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let fd = match open_beneath(self.fd.as_fd(), key.as_str(), flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing(format!("there is no object {key}"))),
            opened => opened.doing("open the object")?,
        };
        let stat = rustix::fs::fstat(&fd).doing("look at the object")?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(missing(format!("{key} is no object")));
        }
        Ok(fd)
    }

    /// A file that gets its name when it is whole.
    pub(super) fn draft(&self, key: &ObjectKey) -> Result<Draft<'_>> {
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).doing("make up a name")?;
        let leaf = key.as_str().replace('/', &MARK.to_string());
        let name = format!("{TMP}/{leaf}{MARK}{:016x}", u64::from_le_bytes(random));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        let fd = open_beneath(self.fd.as_fd(), &name, flags, Mode::RUSR | Mode::RGRP).doing("make a file")?;
        Ok(Draft { root: self, name, fd })
    }

    /// What is not there is fine. The name may come back after a power cut; whoever lists then removes it again.
    pub(super) fn unlink(&self, path: &str) -> Result<()> {
        let (dir, name) = match path.rsplit_once('/') {
            Some((parent, name)) => match self.dir(parent) {
                Err(Errno::NOENT) => return Ok(()),
                opened => (opened.doing("open a directory")?, name),
            },
            None => (self.dir(".").doing("open a directory")?, path),
        };
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).doing("remove the object"),
        }
    }

    /// Every file outside of [`TMP`], by its path.
    pub(super) fn walk(&self) -> Result<Vec<(String, Stat)>> {
        let mut files = Vec::new();
        let mut dirs = vec![String::new()];
        while let Some(dir) = dirs.pop() {
            for (name, stat) in self.entries(if dir.is_empty() { "." } else { &dir })? {
                let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory if path != TMP => dirs.push(path),
                    FileType::RegularFile => files.push((path, stat)),
                    _ => {}
                }
            }
        }
        Ok(files)
    }

    /// Every draft, by its name.
    pub(super) fn drafts(&self) -> Result<Vec<(String, Stat)>> {
        self.entries(TMP)
    }

    /// Whether the directory can be read and written, on the device.
    pub(super) fn check(&self) -> Result<()> {
        rustix::fs::accessat(&self.fd, TMP, rustix::fs::Access::WRITE_OK, AtFlags::empty())
            .doing("write to the directory of objects")?;
        rustix::fs::fsync(&self.fd).doing("sync the directory of objects")
    }

    fn dir(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_beneath(self.fd.as_fd(), path, flags, Mode::empty())
    }

    fn entries(&self, dir: &str) -> Result<Vec<(String, Stat)>> {
        let fd = match self.dir(dir) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            opened => opened.doing("open a directory")?,
        };
        let mut found = Vec::new();
        for entry in Dir::read_from(&fd).doing("list a directory")? {
            let entry = entry.doing("list a directory")?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            match rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => found.push((name.to_owned(), stat)),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).doing("look at an object"),
            }
        }
        Ok(found)
    }

    /// Makes the directories above a path, each on the device before the next.
    fn make_dirs(&self, path: &str) -> Result<OwnedFd> {
        let mut above = self.dir(".").doing("open a directory")?;
        let parents = path.rsplit_once('/').map_or("", |(parents, _)| parents);
        for word in parents.split('/').filter(|word| !word.is_empty()) {
            if make_dir(above.as_fd(), Path::new(word)).doing("make a directory")? {
                rustix::fs::fsync(&above).doing("sync a directory")?;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            above = open_beneath(above.as_fd(), word, flags, Mode::empty()).doing("open a directory")?;
        }
        Ok(above)
    }
}

/// A file that is not an object yet; it is thrown away if it never becomes one.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    root: &'a Root,
    name: String,
    fd: OwnedFd,
}

impl Draft<'_> {
    pub(super) fn write(&self, mut bytes: &[u8], mut at: u64) -> Result<()> {
        while !bytes.is_empty() {
            let count =
                rustix::io::retry_on_intr(|| rustix::io::pwrite(&self.fd, bytes, at)).doing("write the object")?;
            bytes = &bytes[count..];
            at += count as u64;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.fd).doing("sync the object")
    }

    /// Gives the file its name and waits until that is on the device; a link is refused where a rename would replace. The
    /// name may be on no device yet if somebody else has just given it, so it is synced then too.
    pub(super) fn publish(self, key: &ObjectKey) -> Result<PutOutcome> {
        let dir = self.root.make_dirs(key.as_str())?;
        let leaf = key.as_str().rsplit('/').next().unwrap_or_default();
        let linked = outcome(rustix::fs::linkat(
            &self.root.fd,
            &self.name,
            &dir,
            leaf,
            AtFlags::empty(),
        ))?;
        let synced = rustix::fs::fsync(&dir).doing("sync the directory of the object");
        synced.map_err(payload_core::Error::outcome_unknown)?;
        Ok(linked)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Should that fail, it is listed among the uploads that were not finished.
        let _removed = self.root.unlink(&self.name);
    }
}

/// The key that a draft's name was made from.
pub(super) fn key_of(name: &str) -> Option<ObjectKey> {
    let (key, _) = name.rsplit_once(MARK)?;
    key.replace(MARK, "/").parse().ok()
}

/// Opens below a directory and nowhere else, whatever links somebody planted.
fn open_beneath(dir: BorrowedFd<'_>, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // AGAIN: a rename elsewhere on the system came in between (openat2(2)).
    loop {
        match rustix::fs::openat2(dir, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Whether the directory was not there before.
fn make_dir(dir: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<bool> {
    match rustix::fs::mkdirat(dir, path, Mode::RWXU | Mode::RGRP | Mode::XGRP) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}
