//! A keeper that is only a map, so that stores can be dropped and opened again, and its faulty shell.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use payload_core::port::FdStore;
use payload_core::{Error, Reason, Result, SegmentId};

use super::Switch;

/// Keeps descriptors in this process.
#[derive(Debug, Default)]
pub struct MapFds(Mutex<HashMap<SegmentId, OwnedFd>>);

impl MapFds {
    /// Holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.kept().len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.kept().is_empty()
    }

    /// The host goes down: everything in memory is gone.
    pub fn clear(&self) {
        self.kept().clear();
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<SegmentId, OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FdStore for MapFds {
    fn store(&self, segment: SegmentId, fd: BorrowedFd<'_>) -> Result<()> {
        let fd = fd.try_clone_to_owned().map_err(out_of_descriptors)?;
        self.kept().insert(segment, fd);
        Ok(())
    }

    fn remove(&self, segment: SegmentId) -> Result<()> {
        self.kept().remove(&segment);
        Ok(())
    }

    fn list(&self) -> Result<Vec<(SegmentId, OwnedFd)>> {
        let kept = self.kept();
        let copies = kept
            .iter()
            .map(|(id, fd)| Ok((*id, fd.try_clone().map_err(out_of_descriptors)?)));
        copies.collect()
    }
}

fn out_of_descriptors(error: std::io::Error) -> Error {
    Error::new(Reason::SegmentsExhausted, "cannot duplicate a descriptor").source(error)
}

/// A keeper whose calls the switch may stop.
#[derive(Debug)]
pub struct FaultyFds<F> {
    inner: Arc<F>,
    switch: Arc<Switch>,
}

impl<F: FdStore> FaultyFds<F> {
    /// Around a keeper that outlives the simulated process.
    pub const fn new(inner: Arc<F>, switch: Arc<Switch>) -> Self {
        Self { inner, switch }
    }
}

impl<F: FdStore> FdStore for FaultyFds<F> {
    fn store(&self, segment: SegmentId, fd: BorrowedFd<'_>) -> Result<()> {
        self.switch.run("fds.store", || self.inner.store(segment, fd))
    }

    fn remove(&self, segment: SegmentId) -> Result<()> {
        self.switch.run("fds.remove", || self.inner.remove(segment))
    }

    fn list(&self) -> Result<Vec<(SegmentId, OwnedFd)>> {
        self.switch.run("fds.list", || self.inner.list())
    }
}
