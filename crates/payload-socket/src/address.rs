//! Socket paths of any length: `sun_path` has room for 107 bytes, directories of users and tests are often longer.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::SocketAddrUnix;

/// The longest path, in bytes, that fits into `sun_path` with its final NUL.
const SUN_PATH_MAX: usize = 107;

/// The address of a socket; keeps the directory open for as long as a call may need it.
#[derive(Debug)]
pub(crate) struct Address {
    /// What the kernel is given.
    pub(crate) unix: SocketAddrUnix,
    /// Open while `unix` names it by number.
    _directory: Option<OwnedFd>,
}

impl Address {
    /// The address of `path`; a long one goes through its directory's entry in `/proc/self/fd`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= SUN_PATH_MAX {
            return Ok(Self {
                unix: SocketAddrUnix::new(path)?,
                _directory: None,
            });
        }
        let (parent, name) = split(path)?;
        let directory = openat(
            CWD,
            parent,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        Ok(Self {
            unix: SocketAddrUnix::new(short)?,
            _directory: Some(directory),
        })
    }
}

/// The directory and the name in it.
pub(crate) fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let name = path.file_name().filter(|name| !name.as_bytes().is_empty());
    let name =
        name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path of a socket must name a file"))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((parent, name))
}
