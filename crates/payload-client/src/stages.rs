//! Stages: memory that this client alone writes, mapped once, and in which the server gives it room.
//!
//! The server sends a stage's descriptor only with the first room there, so none is dropped before the server says that
//! it is gone, or the session is.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::{Error, Reason, Result};
use payload_proto::v1;

use crate::grant::nonsense;
use crate::mapping::{Area, WritableMapping};
use crate::ranges::range;

/// All stages of one session.
#[derive(Debug, Default)]
pub(crate) struct Stages(Mutex<HashMap<String, Arc<Stage>>>);

#[derive(Debug)]
struct Stage {
    fd: OwnedFd,
    area: Arc<Area>,
}

/// A range of a stage for one payload, which nobody else writes.
#[derive(Debug)]
pub(crate) struct StagedRoom {
    stage: Arc<Stage>,
    offset: u64,
}

impl Stages {
    /// Room at a place that the server named. `fd` is what it sent for the stage, if it sent one.
    pub(crate) fn room(
        &self,
        location: &v1::Location,
        fd: Option<OwnedFd>,
        size: u64,
    ) -> Result<(StagedRoom, WritableMapping)> {
        let stage = self.stage(&location.container_id, fd)?;
        let bytes = range(location.offset, size)?;
        let mapping = WritableMapping::part(&stage.area, bytes).ok_or_else(|| nonsense("room outside of its stage"))?;
        let offset = location.offset;
        Ok((StagedRoom { stage, offset }, mapping))
    }

    /// The server has given these up.
    pub(crate) fn gone(&self, ids: &[String]) {
        let mut stages = self.0.lock();
        for id in ids {
            stages.remove(id);
        }
    }

    /// Another session begins, with stages of its own.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    fn stage(&self, id: &str, fd: Option<OwnedFd>) -> Result<Arc<Stage>> {
        let mut stages = self.0.lock();
        if let Some(stage) = stages.get(id) {
            return Ok(Arc::clone(stage));
        }
        let fd = fd.ok_or_else(|| nonsense("room in a stage without its descriptor"))?;
        let area = Area::of_stage(&fd).map_err(|error| {
            Error::new(Reason::Internal, format!("cannot map room to write: {error}")).source(error)
        })?;
        let stage = Arc::new(Stage {
            fd,
            area: Arc::new(area),
        });
        stages.insert(id.to_owned(), Arc::clone(&stage));
        Ok(stage)
    }
}

impl StagedRoom {
    /// The stage, and where in it the room begins.
    pub(crate) fn as_fd(&self) -> (BorrowedFd<'_>, u64) {
        (self.stage.fd.as_fd(), self.offset)
    }
}
