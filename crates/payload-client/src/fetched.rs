//! Memory of this process in the shape of a segment: for bytes that travel instead of being shared.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use payload_core::{Error, Reason, Result};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use crate::mapping::Mapping;
use crate::ranges::range;

/// Nameless memory of `size` bytes that nobody else has.
pub(crate) fn memory(size: u64) -> Result<OwnedFd> {
    let fd = memfd_create("payload-client", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(no_memory)?;
    ftruncate(&fd, size).map_err(no_memory)?;
    Ok(fd)
}

/// Content that was fetched from afar: a copy of this client's own, as immutable as the original.
#[derive(Debug)]
pub(crate) struct Fetched {
    fd: OwnedFd,
    /// Absent if there are no bytes.
    mapping: Option<Mapping>,
    size: usize,
}

impl Fetched {
    /// Of memory that is complete.
    pub(crate) fn new(fd: OwnedFd, size: u64) -> Result<Self> {
        let size = range(0, size)?.end;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&fd, seals).map_err(no_memory)?;
        let mapping = match size {
            0 => None,
            size => Some(Mapping::new(&fd, size).map_err(no_memory)?),
        };
        Ok(Self { fd, mapping, size })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.mapping
            .as_ref()
            .and_then(|mapping| mapping.get(0..self.size))
            .unwrap_or_default()
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn no_memory(error: impl Into<std::io::Error>) -> Error {
    let error = error.into();
    Error::new(
        Reason::Internal,
        format!("cannot make room for the content here: {error}"),
    )
    .source(error)
}
