//! One slab: a memfd that packs payloads of one namespace and that only the server writes.

use std::sync::atomic::{AtomicBool, Ordering};

use payload_core::Result;

use crate::fault::missing;
use crate::freed::Freed;
use crate::live::Live;
use crate::mapping::{self, Room};

/// Many payloads of one namespace.
#[derive(Debug)]
pub(super) struct Slab {
    mapping: mapping::Slab,
    size: u64,
    live: Live,
    freed: Freed,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    /// Made here; open while more may be put in.
    Here { open: AtomicBool },
    /// Left by an earlier server, so how many rows name it is not known until they were counted.
    Earlier,
}

impl Slab {
    pub(super) fn open(mapping: mapping::Slab, size: u64) -> Self {
        let open = AtomicBool::new(true);
        Self::new(mapping, size, Live::empty(), Origin::Here { open })
    }

    pub(super) fn adopted(mapping: mapping::Slab, size: u64) -> Self {
        Self::new(mapping, size, Live::unknown(), Origin::Earlier)
    }

    fn new(mapping: mapping::Slab, size: u64, live: Live, origin: Origin) -> Self {
        Self {
            mapping,
            size,
            live,
            freed: Freed::default(),
            origin,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes room for a payload; nothing if it does not fit.
    pub(super) fn take(&self, size: u64) -> Option<Room> {
        let room = self.mapping.take(size)?;
        self.live.add(crate::room(size));
        Some(room)
    }

    /// Has `fill` write the bytes of a payload, for ever.
    pub(super) fn fill<T>(&self, room: Room, fill: impl FnOnce(&mut [u8]) -> T) -> T {
        self.mapping.fill(room, fill)
    }

    pub(super) fn bytes(&self, offset: u64, size: u64) -> Result<&[u8]> {
        self.mapping
            .bytes(offset, size)
            .ok_or_else(|| missing("the slab has no such bytes"))
    }

    /// Notes that no row names the place any more.
    pub(super) fn give_up(&self, offset: u64, charged: u64) {
        if self.freed.mark(offset) {
            self.live.subtract(charged);
        }
    }

    /// Takes no more payloads.
    pub(super) fn close(&self) {
        if let Origin::Here { open } = &self.origin {
            open.store(false, Ordering::Release);
        }
    }

    /// Whether everything that was put in was given up.
    pub(super) fn is_given_up(&self) -> bool {
        !self.mapping.is_empty() && self.live.bytes() == 0
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(&self.origin, Origin::Here { open } if open.load(Ordering::Acquire))
    }

    pub(super) fn may_be_empty(&self) -> bool {
        match self.is_counted() {
            true => self.live.bytes() == 0,
            false => self.freed.any(),
        }
    }

    pub(super) fn is_counted(&self) -> bool {
        self.live.is_counted()
    }

    /// Finds out how much of it is used.
    pub(super) fn count(&self, rows: impl FnOnce() -> Result<u64>) -> Result<()> {
        self.live.count(rows)
    }

    pub(super) fn is_hollow(&self, share: u8) -> bool {
        self.is_counted() && crate::is_hollow(self.live.bytes(), self.size, share)
    }

    /// What in it is nobody's, if it takes no more.
    pub(super) fn dead(&self) -> u64 {
        match self.is_counted() && !self.is_open() {
            true => self.size.saturating_sub(self.live.bytes()),
            false => 0,
        }
    }
}
