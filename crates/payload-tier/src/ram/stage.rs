//! One stage: a memfd that a single producer writes, with ranges for the payloads that it is putting together.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use payload_core::{Result, SessionId};

use crate::fault::missing;
use crate::freed::Freed;
use crate::mapping;

/// Room that a producer fills and the server copies from.
#[derive(Debug)]
pub(super) struct Stage {
    mapping: mapping::Stage,
    size: u64,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    /// Made here.
    Here {
        /// Nobody's, if it was made for one payload of a producer that cannot keep it.
        producer: Option<SessionId>,
        ranges: Mutex<Ranges>,
    },
    /// Left by an earlier server, so which ranges rows name is not known.
    Earlier { freed: Freed },
}

#[derive(Debug)]
struct Ranges {
    /// Lengths by offset; neighbours are always one.
    free: BTreeMap<u64, u64>,
    taken: HashMap<u64, Taken>,
    /// No more will be taken.
    closed: bool,
}

#[derive(Debug)]
struct Taken {
    len: u64,
    /// What the budget holds ready for the copy in a slab.
    promised: u64,
}

impl Stage {
    pub(super) fn new(mapping: mapping::Stage, size: u64, producer: Option<SessionId>) -> Self {
        let ranges = Mutex::new(Ranges {
            free: BTreeMap::from([(0, size)]),
            taken: HashMap::new(),
            closed: false,
        });
        Self {
            mapping,
            size,
            origin: Origin::Here { producer, ranges },
        }
    }

    pub(super) fn adopted(mapping: mapping::Stage, size: u64) -> Self {
        Self {
            mapping,
            size,
            origin: Origin::Earlier {
                freed: Freed::default(),
            },
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn producer(&self) -> Option<SessionId> {
        match self.origin {
            Origin::Here { producer, .. } => producer,
            Origin::Earlier { .. } => None,
        }
    }

    /// Takes a range of `len` bytes, and notes that the budget holds as many ready.
    pub(super) fn take(&self, len: u64) -> Option<u64> {
        let Origin::Here { ranges, .. } = &self.origin else {
            return None;
        };
        let mut ranges = ranges.lock();
        if ranges.closed {
            return None;
        }
        let (&offset, &free) = ranges.free.iter().find(|(_, free)| **free >= len)?;
        ranges.free.remove(&offset);
        if free > len {
            ranges.free.insert(offset + len, free - len);
        }
        ranges.taken.insert(offset, Taken { len, promised: len });
        Some(offset)
    }

    /// What the budget held ready for the range at `offset`; it is for the caller to give back, once.
    pub(super) fn redeem(&self, offset: u64) -> u64 {
        let Origin::Here { ranges, .. } = &self.origin else {
            return 0;
        };
        let mut ranges = ranges.lock();
        let taken = ranges.taken.get_mut(&offset);
        taken.map_or(0, |taken| std::mem::take(&mut taken.promised))
    }

    /// Ends the range at `offset`; the same is returned as by [`redeem`](Self::redeem).
    pub(super) fn give_up(&self, offset: u64) -> u64 {
        match &self.origin {
            Origin::Here { ranges, .. } => ranges.lock().give_up(offset),
            Origin::Earlier { freed } => {
                freed.mark(offset);
                0
            }
        }
    }

    /// Copies what the producer has put at `offset` by now.
    pub(super) fn copy(&self, offset: u64, target: &mut [u8]) -> Result<()> {
        self.mapping
            .copy(offset, target)
            .ok_or_else(|| missing("the stage has no such bytes"))
    }

    /// Bytes of it that nobody has taken.
    pub(super) fn idle(&self) -> u64 {
        match &self.origin {
            Origin::Here { ranges, .. } => ranges.lock().free.values().sum(),
            Origin::Earlier { .. } => 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle() == self.size
    }

    /// No more will be taken.
    pub(super) fn close(&self) {
        if let Origin::Here { ranges, .. } = &self.origin {
            ranges.lock().closed = true;
        }
    }

    /// Whether it must not be dropped, whatever the rows say.
    pub(super) fn is_protected(&self) -> bool {
        match &self.origin {
            Origin::Here { ranges, .. } => {
                let ranges = ranges.lock();
                !ranges.closed || !ranges.taken.is_empty()
            }
            Origin::Earlier { .. } => false,
        }
    }

    /// Whether no row may be left that names it, as far as this process knows.
    pub(super) fn may_be_empty(&self) -> bool {
        match &self.origin {
            Origin::Here { .. } => !self.is_protected(),
            Origin::Earlier { freed } => freed.any(),
        }
    }
}

impl Ranges {
    fn give_up(&mut self, offset: u64) -> u64 {
        let Some(Taken { mut len, promised }) = self.taken.remove(&offset) else {
            return 0;
        };
        let mut start = offset;
        if let Some((&before, &free)) = self.free.range(..offset).next_back()
            && before + free == offset
        {
            self.free.remove(&before);
            (start, len) = (before, len + free);
        }
        if let Some(free) = self.free.remove(&(start + len)) {
            len += free;
        }
        self.free.insert(start, len);
        promised
    }
}
