//! One memfd: a whole payload on its way from reserved to sealed, or a slab.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use payload_core::{Error, Reason, Result, SegmentId};
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::memory;
use crate::fault::{Doing, fault, missing, too_big};
use crate::freed::Freed;
use crate::mapping;
use crate::{pages, sys};

/// A memfd of the tier.
#[derive(Debug)]
pub(super) struct Segment {
    id: SegmentId,
    fd: OwnedFd,
    kind: Kind,
    /// Every claim has a clone.
    claims: Arc<()>,
}

/// What it is for.
#[derive(Debug)]
pub(super) enum Kind {
    Whole(Whole),
    Slab(Slab),
}

impl Segment {
    pub(super) fn new(id: SegmentId, fd: OwnedFd, kind: Kind) -> Self {
        Self {
            id,
            fd,
            kind,
            claims: Arc::new(()),
        }
    }

    pub(super) fn id(&self) -> SegmentId {
        self.id
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Protects the segment while it lives.
    pub(super) fn claim(&self) -> Arc<()> {
        Arc::clone(&self.claims)
    }

    pub(super) fn is_claimed(&self) -> bool {
        Arc::strong_count(&self.claims) > 1
    }

    /// Whether it must not be dropped, whatever the rows say.
    pub(super) fn is_protected(&self) -> bool {
        self.is_claimed() || matches!(&self.kind, Kind::Slab(slab) if slab.is_open())
    }

    /// Whether no row may be left that names it; `all` when nothing is known yet.
    pub(super) fn is_sweepable(&self, all: bool) -> bool {
        !self.is_protected()
            && match &self.kind {
                Kind::Whole(_) => all,
                Kind::Slab(slab) => all || slab.may_be_empty(),
            }
    }

    /// The memory that it takes up.
    pub(super) fn size(&self) -> u64 {
        match &self.kind {
            Kind::Whole(whole) => *whole.size.lock(),
            Kind::Slab(slab) => slab.size,
        }
    }

    /// The segment is going: what it took up. A seal that comes too late finds nothing to give back.
    pub(super) fn retire(&self) -> u64 {
        match &self.kind {
            Kind::Slab(slab) => slab.size,
            Kind::Whole(whole) => std::mem::take(&mut whole.size.lock()),
        }
    }

    /// Another descriptor for the producer.
    pub(super) fn writer(&self) -> Result<OwnedFd> {
        match &self.kind {
            Kind::Whole(whole) if !whole.is_sealed() => {
                sys::reopen(&self.fd, OFlags::RDWR).doing("open the segment for writing")
            }
            _ => Err(Error::new(Reason::PayloadCommitted, "the bytes are sealed")),
        }
    }

    /// A descriptor for a reader. Never of bytes that a producer can still write: whoever has it could open it again
    /// for writing.
    pub(super) fn reader(&self) -> Result<OwnedFd> {
        if let Kind::Whole(whole) = &self.kind {
            whole.require_sealed()?;
        }
        sys::reopen(&self.fd, OFlags::RDONLY).doing("open the segment for reading")
    }

    /// Whether sealed bytes are there.
    pub(super) fn check(&self, offset: u64, size: u64) -> Result<()> {
        match &self.kind {
            Kind::Slab(slab) => slab.bytes(offset, size).map(|_| ()),
            Kind::Whole(whole) => {
                let there = whole.size.lock();
                if !whole.is_sealed() || pages(size) > *there {
                    return Err(missing("the segment has no such sealed bytes"));
                }
                Ok(())
            }
        }
    }

    /// Makes the first `size` bytes immutable and frees the others.
    pub(super) fn seal(&self, size: u64) -> Result<Sealing> {
        let Kind::Whole(whole) = &self.kind else {
            return Ok(Sealing {
                charged: crate::room(size),
                freed: 0,
            });
        };
        let mut there = whole.size.lock();
        if whole.is_sealed() {
            return Ok(Sealing {
                charged: *there,
                freed: 0,
            });
        }
        let (reserved, keep) = (*there, pages(size));
        if keep > reserved {
            return Err(too_big());
        }
        // The seal forbids punching, so the tail goes first.
        if keep < reserved {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            memory::allocate(self.fd(), punch, keep, reserved - keep).doing("free the tail of the segment")?;
        }
        if let Err(errno) = memory::seal(self.fd()) {
            if keep < reserved {
                memory::allocate(self.fd(), FallocateFlags::KEEP_SIZE, keep, reserved - keep)
                    .doing("reserve the tail of the segment again")?;
            }
            return Err(match errno {
                Errno::BUSY => Error::new(Reason::WriterMapped, "the segment is still mapped for writing"),
                errno => fault("seal the segment", errno),
            });
        }
        *there = keep;
        whole.sealed.store(true, Ordering::Release);
        Ok(Sealing {
            charged: keep,
            freed: reserved - keep,
        })
    }
}

/// What a seal came to, in bytes.
#[derive(Debug)]
pub(super) struct Sealing {
    pub(super) charged: u64,
    pub(super) freed: u64,
}

/// A payload's own memfd. Its length stays what was reserved, as it cannot shrink; memory behind the committed size is
/// freed at the seal.
#[derive(Debug)]
pub(super) struct Whole {
    sealed: AtomicBool,
    size: Mutex<u64>,
}

impl Whole {
    /// Made by this process, for a producer to fill.
    pub(super) fn reserved(size: u64) -> Self {
        Self::new(size, false)
    }

    /// Made and filled by this process.
    pub(super) fn sealed(size: u64) -> Self {
        Self::new(size, true)
    }

    /// Left by an earlier server.
    pub(super) fn adopted(size: u64, sealed: bool) -> Self {
        Self::new(size, sealed)
    }

    fn new(size: u64, sealed: bool) -> Self {
        Self {
            sealed: AtomicBool::new(sealed),
            size: Mutex::new(size),
        }
    }

    fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(super) fn require_sealed(&self) -> Result<()> {
        if self.is_sealed() {
            return Ok(());
        }
        Err(Error::new(Reason::PayloadNotCommitted, "the bytes are not sealed yet"))
    }
}

/// Many payloads of one namespace.
#[derive(Debug)]
pub(super) struct Slab {
    mapping: mapping::Slab,
    size: u64,
    /// Charged for payloads that this process put in and nobody gave up.
    live: AtomicU64,
    freed: Freed,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    /// Made here; open while more may be put in.
    Here { open: AtomicBool },
    /// Left by an earlier server, so how many rows name it is not known.
    Earlier,
}

impl Slab {
    pub(super) fn open(mapping: mapping::Slab, size: u64) -> Self {
        let open = AtomicBool::new(true);
        Self::new(mapping, size, Origin::Here { open })
    }

    pub(super) fn adopted(mapping: mapping::Slab, size: u64) -> Self {
        Self::new(mapping, size, Origin::Earlier)
    }

    fn new(mapping: mapping::Slab, size: u64, origin: Origin) -> Self {
        Self {
            mapping,
            size,
            live: AtomicU64::new(0),
            freed: Freed::default(),
            origin,
        }
    }

    /// Copies `bytes` in and charges for them; nothing if they do not fit.
    pub(super) fn append(&self, bytes: &[u8], charged: u64) -> Option<u64> {
        let offset = self.mapping.append(bytes)?;
        self.live.fetch_add(charged, Ordering::Relaxed);
        Some(offset)
    }

    pub(super) fn bytes(&self, offset: u64, size: u64) -> Result<&[u8]> {
        self.mapping
            .bytes(offset, size)
            .ok_or_else(|| missing("the slab has no such bytes"))
    }

    /// Notes that no row names the place any more.
    pub(super) fn give_up(&self, offset: u64, charged: u64) {
        if self.freed.mark(offset) && matches!(self.origin, Origin::Here { .. }) {
            crate::budget::subtract(&self.live, charged);
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
        !self.mapping.is_empty() && self.live.load(Ordering::Relaxed) == 0
    }

    fn is_open(&self) -> bool {
        matches!(&self.origin, Origin::Here { open } if open.load(Ordering::Acquire))
    }

    fn may_be_empty(&self) -> bool {
        match self.origin {
            Origin::Here { .. } => self.live.load(Ordering::Relaxed) == 0,
            Origin::Earlier => self.freed.any(),
        }
    }
}
