//! Upload: fill an allocation for a producer who cannot be handed a descriptor.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use payload_core::lease::HolderKind;
use payload_core::{
    AllocationToken, Error, LifecycleEvent, Namespace, Payload, PayloadId, Reason, Result, State, Timestamp,
};

use crate::engine::Engine;
use crate::entry::{Entry, Live};

/// An allocation that is being filled. While it lives there is no second one, and nobody can commit.
#[derive(Debug)]
pub struct Upload {
    entry: Arc<Entry>,
    writer: Option<File>,
    offset: u64,
    size: u64,
}

impl Engine {
    /// Begins to fill an allocation. Its token is the right to, over whichever door it was made. What an earlier upload
    /// wrote is overwritten.
    pub fn open_upload(&self, namespace: &Namespace, id: PayloadId, token: AllocationToken) -> Result<Upload> {
        let entry = self.entry(namespace, id)?;
        // A commit that is under way decides first.
        let _gate = entry.gate();
        let row = entry.row();
        if !self.mint.is_allocation(token, &row.owner, id) {
            return Err(Error::new(
                Reason::AllocationNotOwned,
                "the token does not belong to this allocation",
            ));
        }
        check_open(row.state)?;
        let writer = self.upload_writer(&row)?;
        take_turn(&mut entry.live())?;
        Ok(Upload {
            writer,
            offset: row.replicas.first().map_or(0, |replica| replica.location.offset()),
            size: row.size,
            entry: Arc::clone(&entry),
        })
    }

    fn upload_writer(&self, row: &Payload) -> Result<Option<File>> {
        match row.replicas.first() {
            Some(replica) if !replica.tier().is_local() => {
                let message = "the allocation is in the bucket: store the content at the URL that it came with";
                Err(Error::invalid(Reason::BadRequest, message))
            }
            Some(replica) if row.size > 0 => {
                let writer = self.tier(row.tier)?.writer(&replica.location)?;
                Ok(Some(File::from(writer)))
            }
            _ => Ok(None),
        }
    }
}

fn take_turn(live: &mut Live) -> Result<()> {
    if live.owner.as_ref().is_some_and(|owner| owner.kind == HolderKind::Local) {
        return Err(Error::new(
            Reason::AllocationNotOwned,
            "the allocation belongs to a session of the local socket, which writes it itself",
        ));
    }
    if live.uploading {
        return Err(Error::new(
            Reason::Conflict,
            "another upload into this allocation is under way",
        ));
    }
    live.uploading = true;
    Ok(())
}

/// What could still be aborted can still be filled.
fn check_open(state: State) -> Result<()> {
    let any_time = Timestamp::from_micros(0);
    payload_core::step(state, LifecycleEvent::Abort, any_time).map(drop)
}

impl Upload {
    /// How many bytes were allocated.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes a piece, counted from the beginning of the content. Pieces beyond the allocation are refused.
    pub fn write(&self, bytes: &[u8], at: u64) -> Result<()> {
        let end = at.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(Error::invalid(
                Reason::BadSize,
                format!("only {} bytes were allocated", self.size),
            ));
        }
        match &self.writer {
            Some(writer) => writer.write_all_at(bytes, self.offset + at).map_err(refused),
            None => Ok(()),
        }
    }

    /// Fails once the allocation was aborted, or has timed out.
    pub fn check(&self) -> Result<()> {
        check_open(self.entry.live().row.state)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.entry.live().uploading = false;
    }
}

fn refused(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let why = "a commit that was refused has made the bytes immutable; abort, and allocate again";
        return Error::new(Reason::Conflict, why).source(error);
    }
    Error::new(Reason::TierUnavailable, "the tier did not take the bytes").source(error)
}
