//! Packs small and medium payloads into their namespace's slab.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use payload_core::port::Placed;
use payload_core::{Location, Namespace, Reason, Result};
use rustix::fs::SealFlags;

use super::RamStore;
use super::segment::{Kind, Segment};
use super::slab::Slab;
use crate::fault::Doing;
use crate::mapping::{self, Room};
use crate::{pages, room};

/// The slabs that take more, one for each namespace that stores.
pub(super) type Lanes = RwLock<HashMap<Namespace, Arc<Mutex<Lane>>>>;

/// Where a namespace stores next. Its lock is held while room is taken, not while bytes are copied.
#[derive(Debug, Default)]
pub(super) struct Lane {
    open: Option<Arc<Segment>>,
    last_size: u64,
}

impl Lane {
    fn take(&self, size: u64) -> Option<(Arc<Segment>, Room, Placed)> {
        let segment = self.open.as_ref()?;
        let Kind::Slab(slab) = segment.kind() else {
            return None;
        };
        let room = slab.take(size)?;
        let (slab, offset) = (segment.id(), room.offset());
        let placed = segment.place(Location::Slab { slab, offset }, crate::room(size));
        Some((Arc::clone(segment), room, placed))
    }

    fn close(&mut self) {
        if let Some(segment) = self.open.take()
            && let Kind::Slab(slab) = segment.kind()
        {
            slab.close();
        }
    }

    /// Closes a slab from which everything was given up, so that its memory can be freed. Claims are made under the
    /// lane's lock, so none can come up meanwhile.
    fn close_if_given_up(&mut self) {
        let given_up = self.open.as_ref().is_some_and(|segment| {
            !segment.is_claimed() && matches!(segment.kind(), Kind::Slab(slab) if slab.is_given_up())
        });
        if given_up {
            self.close();
            self.last_size = 0;
        }
    }
}

impl RamStore {
    /// Puts `size` bytes, which `fill` brings, into the namespace's slab.
    pub(super) fn store_packed<T>(
        &self,
        namespace: &Namespace,
        size: u64,
        fill: impl FnOnce(&mut [u8]) -> Result<T>,
    ) -> Result<(Placed, T)> {
        let (segment, room, placed) = self.take_room(namespace, size)?;
        let Kind::Slab(slab) = segment.kind() else {
            unreachable!("room is taken in slabs");
        };
        match slab.fill(room, fill) {
            Ok(result) => Ok((placed, result)),
            Err(error) => {
                slab.give_up(placed.location.offset(), placed.charged);
                Err(error)
            }
        }
    }

    fn take_room(&self, namespace: &Namespace, size: u64) -> Result<(Arc<Segment>, Room, Placed)> {
        let lane = self.lane(namespace);
        let mut lane = lane.lock();
        if let Some(taken) = lane.take(size) {
            return Ok(taken);
        }
        let segment = self.create_slab(lane.last_size, size)?;
        lane.close();
        lane.last_size = segment.size();
        lane.open = Some(segment);
        Ok(lane.take(size).expect("a new slab has room for what it was made for"))
    }

    fn lane(&self, namespace: &Namespace) -> Arc<Mutex<Lane>> {
        if let Some(lane) = self.lanes.read().get(namespace) {
            return Arc::clone(lane);
        }
        Arc::clone(self.lanes.write().entry(namespace.clone()).or_default())
    }

    /// A slab twice as big as the last one, or as small as it can be when the tier has no room for that.
    fn create_slab(&self, last_size: u64, size: u64) -> Result<Arc<Segment>> {
        let (min, max) = (self.options.slab_size_min, self.options.slab_size_max);
        let wanted = (last_size * 2).max(size * 4).clamp(min, max).max(room(size));
        self.create_slab_of(pages(wanted))
            .or_else(|error| match error.reason() {
                Reason::TierFull | Reason::MemoryShort => self.create_slab_of(pages(room(size))),
                _ => Err(error),
            })
    }

    /// The server maps the memory for writing, then seals it against every other writer: this mapping goes on, and
    /// nobody can ever make a second one.
    fn create_slab_of(&self, size: u64) -> Result<Arc<Segment>> {
        let new = self.create(size)?;
        let mapping = mapping::Slab::create(new.fd.as_fd(), size).doing("map a new slab")?;
        let seals = SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&new.fd, seals).doing("seal a new slab")?;
        self.publish(new, self.ids.segment(), Kind::Slab(Slab::open(mapping, size)))
    }

    /// Closes slabs from which everything was given up, and forgets namespaces that have none.
    pub(super) fn close_empty_slabs(&self) {
        let lanes: Vec<_> = self.lanes.read().values().cloned().collect();
        for lane in &lanes {
            lane.lock().close_if_given_up();
        }
        drop(lanes);
        self.lanes
            .write()
            .retain(|_, lane| Arc::strong_count(lane) > 1 || lane.lock().open.is_some());
    }
}
