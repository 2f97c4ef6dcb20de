//! One memfd of the tier, whatever it is for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use payload_core::{Error, Reason, Result, SegmentId};
use rustix::fs::OFlags;

use super::slab::Slab;
use super::stage::Stage;
use super::whole::Whole;
use crate::fault::{Doing, missing};
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
    Stage(Stage),
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
        self.is_claimed()
            || match &self.kind {
                Kind::Whole(_) => false,
                Kind::Slab(slab) => slab.is_open(),
                Kind::Stage(stage) => stage.is_protected(),
            }
    }

    /// Whether no row may be left that names it; `all` when nothing is known yet.
    pub(super) fn is_sweepable(&self, all: bool) -> bool {
        !self.is_protected()
            && match &self.kind {
                Kind::Whole(_) => all,
                Kind::Slab(slab) => all || slab.may_be_empty(),
                Kind::Stage(stage) => all || stage.may_be_empty(),
            }
    }

    /// The memory that it takes up.
    pub(super) fn size(&self) -> u64 {
        match &self.kind {
            Kind::Whole(whole) => whole.size(),
            Kind::Slab(slab) => slab.size(),
            Kind::Stage(stage) => stage.size(),
        }
    }

    /// The segment is going: what it took up. A seal that comes too late finds nothing to give back.
    pub(super) fn retire(&self) -> u64 {
        match &self.kind {
            Kind::Whole(whole) => whole.retire(),
            Kind::Slab(slab) => slab.size(),
            Kind::Stage(stage) => stage.size(),
        }
    }

    /// Another descriptor for the producer.
    pub(super) fn writer(&self) -> Result<OwnedFd> {
        let is_writable = match &self.kind {
            Kind::Whole(whole) => !whole.is_sealed(),
            Kind::Slab(_) => false,
            Kind::Stage(_) => true,
        };
        if !is_writable {
            return Err(Error::new(Reason::PayloadCommitted, "the bytes are sealed"));
        }
        sys::reopen(&self.fd, OFlags::RDWR).doing("open the segment for writing")
    }

    /// A descriptor for a reader. Never of bytes that a producer can still write: whoever has it could open it again
    /// for writing.
    pub(super) fn reader(&self) -> Result<OwnedFd> {
        match &self.kind {
            Kind::Whole(whole) => whole.require_sealed()?,
            Kind::Slab(_) => {}
            Kind::Stage(_) => return Err(not_sealed()),
        }
        sys::reopen(&self.fd, OFlags::RDONLY).doing("open the segment for reading")
    }

    /// Whether sealed bytes are there.
    pub(super) fn check(&self, offset: u64, size: u64) -> Result<()> {
        match &self.kind {
            Kind::Slab(slab) => slab.bytes(offset, size).map(|_| ()),
            Kind::Stage(_) => Err(missing("bytes in a stage are not sealed")),
            Kind::Whole(whole) => {
                if !whole.is_sealed() || pages(size) > whole.size() {
                    return Err(missing("the segment has no such sealed bytes"));
                }
                Ok(())
            }
        }
    }
}

pub(super) fn not_sealed() -> Error {
    Error::new(Reason::PayloadNotCommitted, "the bytes are not sealed yet")
}
