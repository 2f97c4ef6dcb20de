//! Segments that were freed while somebody else still had them open or mapped.
//!
//! Their memory is taken up until nobody has it any more, whatever the rows say: so they stay charged, and with the keeper, which
//! brings them to the attention of a restarted server. Nobody can get at them any more.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use payload_core::SegmentId;

use super::RamStore;
use super::memory::Memory;
use super::segment::Segment;
use crate::sys;

/// Those that there are.
#[derive(Debug)]
pub(super) struct Zombies {
    /// Whether the kernel tells who has a memfd.
    visible: bool,
    held: Mutex<HashMap<SegmentId, Zombie>>,
    /// Of all of them.
    bytes: AtomicU64,
}

#[derive(Clone, Debug)]
struct Zombie {
    segment: Arc<Segment>,
    bytes: u64,
}

impl Zombies {
    pub(super) fn new() -> Self {
        // Kernels before 5.3 count this process's own descriptors, too: then nothing ever looks free.
        let alone = Memory::begin().is_ok_and(|fd| !sys::is_held_elsewhere(fd.as_fd()));
        Self {
            visible: alone,
            held: Mutex::default(),
            bytes: AtomicU64::new(0),
        }
    }

    /// The memory that they take up.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.held.lock().len()
    }
}

impl RamStore {
    /// Whether somebody besides the server and its keeper has a segment.
    pub(super) fn is_held(&self, segment: &Segment) -> bool {
        self.zombies.visible && sys::is_held_elsewhere(segment.fd())
    }

    /// Takes note of a segment that nobody can get at any more and somebody has.
    pub(super) fn outlive(&self, segment: Arc<Segment>) {
        let bytes = segment.retire();
        self.zombies.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.zombies.held.lock().insert(segment.id(), Zombie { segment, bytes });
    }

    /// Frees those that nobody has any more. False if there are none.
    pub(super) fn bury(&self) -> bool {
        let zombies: Vec<Zombie> = self.zombies.held.lock().values().cloned().collect();
        let mut any = false;
        for Zombie { segment, bytes } in zombies {
            // A keeper that does not answer is asked again the next time.
            if self.is_held(&segment) || self.keeper.remove(segment.id()).is_err() {
                continue;
            }
            if self.zombies.held.lock().remove(&segment.id()).is_some() {
                self.zombies.bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.give_back([segment], bytes);
                any = true;
            }
        }
        any
    }
}
