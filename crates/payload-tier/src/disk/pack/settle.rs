//! Payloads that commits carry: written into packs without a sync, and brought to the device before the commits' journal
//! forgets them.

use std::mem;
use std::os::fd::OwnedFd;

use parking_lot::Mutex;
use payload_core::port::Placed;
use payload_core::{Error, Namespace, Reason, Result};

use super::append::Wait;
use super::{Open, Packs};
use crate::disk::DiskStore;
use crate::fault::Doing;

/// How many packs that take no more may wait to be settled. Each has a descriptor.
const CLOSED_MAX: usize = 64;

/// What is still to be brought to the device, besides open packs.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// Held by whoever settles, so that nobody takes what another is at work on for done. True once that has failed: the
    /// kernel may have dropped the very pages and said so once.
    failed: Mutex<bool>,
    /// Of packs that take no more.
    closed: Mutex<Vec<OwnedFd>>,
}

impl DiskStore {
    /// Appends to the namespace's pack, and does not wait for the device.
    pub(in crate::disk) fn store_unsettled(&self, namespace: &Namespace, bytes: &[u8]) -> Result<Placed> {
        if self.packs.unsettled.closed.lock().len() >= CLOSED_MAX {
            self.settle_packs()?;
        }
        let mut placed = self.store_in_lane(namespace, &[bytes], Wait::Later);
        placed.pop().expect("one was stored, and has a result")
    }

    /// Returns when everything that was stored before this call is on the device.
    pub(in crate::disk) fn settle_packs(&self) -> Result<()> {
        let unsettled = &self.packs.unsettled;
        let mut failed = unsettled.failed.lock();
        if *failed {
            return Err(Error::new(
                Reason::TierUnavailable,
                "an earlier sync of packs has failed, and what the device has of them nobody knows",
            ));
        }
        let open = self.packs.take_unsettled();
        // Later than the open ones: what is closed in between is in one of the two.
        let closed = mem::take(&mut *unsettled.closed.lock());
        for fd in open.into_iter().chain(closed) {
            let synced = rustix::fs::fdatasync(&fd).doing("sync the pack");
            *failed = synced.is_err();
            synced?;
        }
        Ok(())
    }
}

impl Packs {
    fn take_unsettled(&self) -> Vec<OwnedFd> {
        let lanes: Vec<_> = self.lanes.read().values().cloned().collect();
        let unsettled = lanes.iter().filter_map(|lane| lane.open.lock().as_mut()?.settle.take());
        unsettled.collect()
    }

    /// A pack takes no more; whoever settles next finds it elsewhere.
    pub(super) fn retire(&self, open: &mut Open) {
        self.unsettled.closed.lock().extend(open.settle.take());
    }
}
