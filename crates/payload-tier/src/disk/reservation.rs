//! Files that their producers fill: from the reservation to the seal.
//!
//! Only this process knows them. If it dies, the files die with the last descriptor, or with the next start, which
//! empties the directory of named temporaries.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::{Error, FileId, Reason, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::WriterCheck;
use super::draft::{Draft, Temporary, discard};
use super::ledger::Ledger;
use super::root::Root;
use super::transfer::copy;
use crate::fault::{Doing, fault, too_big};
use crate::{pages, sys};

/// The reservations that are open.
#[derive(Debug)]
pub(super) struct Reservations {
    writer_check: WriterCheck,
    open: Mutex<HashMap<FileId, Arc<Mutex<Reservation>>>>,
}

#[derive(Debug)]
struct Reservation {
    size: u64,
    /// Open for reading: whoever holds it open for writing counts as a writer, the server too. Nothing once the
    /// reservation ended.
    file: Option<(OwnedFd, Temporary)>,
}

impl Reservations {
    pub(super) fn new(writer_check: WriterCheck) -> Self {
        Self {
            writer_check,
            open: Mutex::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Makes a file of `size` bytes and returns what its producer writes it with.
    pub(super) fn add(&self, root: &Root, id: FileId, size: u64) -> Result<()> {
        let draft = Draft::for_producer(root, id, size)?;
        let file = draft.suspend().doing("open a new file for reading")?;
        let reservation = Reservation { size, file: Some(file) };
        self.open.lock().insert(id, Arc::new(Mutex::new(reservation)));
        Ok(())
    }

    /// A descriptor to write with, if the reservation is open.
    pub(super) fn writer(&self, id: FileId) -> Result<Option<OwnedFd>> {
        let Some(reservation) = self.get(id) else {
            return Ok(None);
        };
        let reservation = reservation.lock();
        let Some((fd, _)) = &reservation.file else {
            return Ok(None);
        };
        sys::reopen(fd, OFlags::RDWR)
            .doing("open the file for writing")
            .map(Some)
    }

    /// Publishes the first `size` bytes; false if there is no such reservation.
    pub(super) fn seal(&self, root: &Root, ledger: &Ledger, id: FileId, size: u64) -> Result<bool> {
        let Some(reservation) = self.get(id) else {
            return Ok(false);
        };
        let mut reservation = reservation.lock();
        let Some((fd, temporary)) = reservation.file.take() else {
            return Ok(false);
        };
        if size > reservation.size {
            reservation.file = Some((fd, temporary));
            return Err(too_big());
        }
        let copying = match self.must_copy(&fd) {
            Ok(copying) => copying,
            Err(error) => {
                reservation.file = Some((fd, temporary));
                return Err(error);
            }
        };
        let reserved = pages(reservation.size);
        let draft = Draft::resume(root, id, fd, temporary);
        let result = self.finish(root, ledger, draft, id, size, copying);
        self.open.lock().remove(&id);
        let left = if result.is_ok() { pages(size) } else { 0 };
        ledger.budget().give(reserved - left);
        result.map(|()| true)
    }

    /// Ends a reservation without a seal, and returns what it took up.
    pub(super) fn discard(&self, root: &Root, id: FileId) -> Option<u64> {
        let reservation = self.open.lock().remove(&id)?;
        let mut reservation = reservation.lock();
        let (_, temporary) = reservation.file.take()?;
        if temporary == Temporary::Named {
            discard(root, id);
        }
        Some(pages(reservation.size))
    }

    fn get(&self, id: FileId) -> Option<Arc<Mutex<Reservation>>> {
        self.open.lock().get(&id).cloned()
    }

    /// Whether the bytes must be copied to be safe, or fails because somebody can still write them.
    fn must_copy(&self, fd: &OwnedFd) -> Result<bool> {
        if self.writer_check == WriterCheck::Copy {
            return Ok(true);
        }
        match sys::no_writer(fd.as_fd()) {
            Ok(true) => Ok(false),
            Ok(false) => Err(Error::new(
                Reason::WriterMapped,
                "the file is still open or mapped for writing",
            )),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOLCK) => Ok(true),
            Err(errno) => Err(fault("look for writers of the file", errno)),
        }
    }

    /// From here on any failure ends the reservation: after a failed sync the file is worth nothing.
    fn finish(
        &self,
        root: &Root,
        ledger: &Ledger,
        mut draft: Draft<'_>,
        id: FileId,
        size: u64,
        copying: bool,
    ) -> Result<()> {
        let draft = if copying {
            draft.unname();
            let fresh = Draft::for_server(root, id, size)?;
            copy(draft.fd(), &fresh, size)?;
            fresh
        } else {
            // Nobody has it open for writing, and nobody but this user may open it.
            let writer = sys::reopen(draft.fd(), OFlags::RDWR).doing("open the file for writing")?;
            rustix::fs::ftruncate(&writer, size).doing("shorten the file")?;
            rustix::fs::fchmod(&writer, Mode::RUSR).doing("close the file to writers")?;
            draft
        };
        draft.sync()?;
        ledger.add_file(id, pages(size), || draft.publish())
    }
}
