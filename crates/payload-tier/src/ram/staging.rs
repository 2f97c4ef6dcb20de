//! Gives producers room in stages, and packs what they put there into slabs.
//!
//! A medium payload is not worth a memfd of its own, and must not be written where others read. So its producer writes
//! it into a stage that nobody else has, and the commit copies it into the namespace's slab. One copy buys few
//! descriptors, no mapping per payload on either side, and bytes that only the server can write.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::digest::Hasher;
use payload_core::port::{Placed, Sealed};
use payload_core::{Location, Namespace, Reason, Result, SessionId};
use rustix::fs::SealFlags;

use super::RamStore;
use super::segment::{Kind, Segment};
use super::stage::Stage;
use crate::fault::Doing;
use crate::mapping;
use crate::source::PIECE;
use crate::{length, pages};

/// The first stage of a producer. Most sessions have one payload in the making at a time.
const STAGE_MIN: u64 = 1 << 20;
/// Each further one is twice as big as the one before, up to this.
const STAGE_MAX: u64 = 16 << 20;

/// The stages that producers can take more of.
pub(super) type Stages = Mutex<HashMap<SessionId, Arc<Mutex<Vec<Arc<Segment>>>>>>;

impl RamStore {
    /// Reserves room in a stage, and as much of the budget for the copy that the commit will make.
    pub(super) fn reserve_staged(&self, size: u64, producer: Option<SessionId>) -> Result<Placed> {
        let size = pages(size);
        let promise = self.with_room(|| self.budget.take(size))?;
        let placed = match producer {
            Some(producer) => self.take_of_producer(producer, size)?,
            None => self.take_once(size)?,
        };
        promise.keep();
        Ok(placed)
    }

    fn take_of_producer(&self, producer: SessionId, size: u64) -> Result<Placed> {
        let own = Arc::clone(self.stages.lock().entry(producer).or_default());
        let mut own = own.lock();
        if let Some(placed) = own.iter().find_map(|segment| take(segment, size)) {
            return Ok(placed);
        }
        let last = own.last().map_or(0, |segment| segment.size());
        let wanted = (last * 2).max(size * 2).clamp(STAGE_MIN, STAGE_MAX).max(size);
        let segment = self
            .create_stage(wanted, Some(producer))
            .or_else(|error| match error.reason() {
                Reason::TierFull | Reason::MemoryShort => self.create_stage(size, Some(producer)),
                _ => Err(error),
            })?;
        own.push(Arc::clone(&segment));
        Ok(take(&segment, size).expect("a new stage has room for what it was made for"))
    }

    /// A stage for one payload, whose producer has no session that could keep it.
    fn take_once(&self, size: u64) -> Result<Placed> {
        let segment = self.create_stage(size, None)?;
        let placed = take(&segment, size).expect("a new stage has room for what it was made for");
        if let Kind::Stage(stage) = segment.kind() {
            stage.close();
        }
        Ok(placed)
    }

    fn create_stage(&self, size: u64, producer: Option<SessionId>) -> Result<Arc<Segment>> {
        let new = self.create(size)?;
        // Tells a stage from a segment when a restarted server finds it: that one is still to get its last seal.
        rustix::fs::fcntl_add_seals(&new.fd, SealFlags::SEAL).doing("seal a new stage")?;
        let mapping = mapping::Stage::map(new.fd.as_fd(), size).doing("map a new stage")?;
        let stage = Stage::new(mapping, size, producer);
        self.publish(new, self.ids.segment(), Kind::Stage(stage))
    }

    /// Copies the first `size` bytes of a range into a slab.
    pub(super) fn pack(&self, namespace: &Namespace, stage: &Stage, offset: u64, size: u64) -> Result<Sealed> {
        self.budget.give(stage.redeem(offset));
        let (placed, digest) = self.store_packed(namespace, size, |target| {
            let mut hasher = Hasher::new();
            let mut from = offset;
            for piece in target.chunks_mut(PIECE) {
                stage.copy(from, piece)?;
                // What is digested is the copy, which nobody else can change.
                hasher.update(piece);
                from += length(piece);
            }
            Ok(hasher.digest())
        })?;
        Ok(Sealed::Moved { placed, digest })
    }

    /// Ends a range. Of stages that are not in use, a producer keeps one; the others become sweepable.
    pub(super) fn unstage(&self, segment: &Segment, stage: &Stage, offset: u64) {
        self.budget.give(stage.give_up(offset));
        let Some(producer) = stage.producer().filter(|_| stage.is_idle()) else {
            return;
        };
        let Some(own) = self.stages.lock().get(&producer).cloned() else {
            return;
        };
        let mut own = own.lock();
        if own.len() > 1 && stage.is_idle() {
            stage.close();
            own.retain(|other| other.id() != segment.id());
        }
    }

    /// Bytes of stages that are in no payload's use.
    pub(super) fn staging(&self) -> u64 {
        let mut idle = 0;
        self.table.each(|segment| {
            if let Kind::Stage(stage) = segment.kind() {
                idle += stage.idle();
            }
        });
        idle
    }

    /// Frees what a producer had. Where it still has something in the making, the sweep does that later.
    pub(super) fn close_stages(&self, producer: SessionId) {
        let Some(own) = self.stages.lock().remove(&producer) else {
            return;
        };
        for segment in own.lock().iter() {
            if let Kind::Stage(stage) = segment.kind() {
                stage.close();
                // Nobody can take a range any more, so none that is idle has a row. The sweep tries again what fails.
                if stage.is_idle() && !segment.is_claimed() {
                    let _swept_later = self.free(segment.id());
                }
            }
        }
    }
}

/// Takes a range of a stage; the claim is there before anybody could sweep.
fn take(segment: &Arc<Segment>, size: u64) -> Option<Placed> {
    let Kind::Stage(stage) = segment.kind() else {
        return None;
    };
    let offset = stage.take(size)?;
    let stage = segment.id();
    Some(segment.place(Location::Stage { stage, offset }, size))
}

#[cfg(test)]
mod tests {
    use payload_core::SessionId;
    use rustix::fs::MemfdFlags;

    use super::*;

    fn stage(size: u64) -> Stage {
        let fd = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, size).unwrap();
        let mapping = mapping::Stage::map(fd.as_fd(), size).unwrap();
        Stage::new(mapping, size, None::<SessionId>)
    }

    #[test]
    fn ranges_never_overlap_and_come_back_whole() {
        let stage = stage(100 * 4_096);
        let sizes = [3, 40, 7, 20, 30].map(|n| n * 4_096);
        let taken: Vec<u64> = sizes.iter().map(|size| stage.take(*size).unwrap()).collect();
        assert!(stage.take(4_096).is_none(), "all of it is taken");
        let mut ranges: Vec<_> = taken
            .iter()
            .zip(sizes)
            .map(|(offset, size)| (*offset, offset + size))
            .collect();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ranges:?}");
        for index in [1, 3, 0, 4, 2] {
            assert_eq!(stage.give_up(taken[index]), sizes[index]);
            assert_eq!(stage.give_up(taken[index]), 0, "twice counts once");
        }
        assert!(stage.is_idle());
        assert_eq!(stage.take(100 * 4_096), Some(0), "neighbours became one");
    }

    #[test]
    fn what_was_promised_is_given_back_once() {
        let stage = stage(8 * 4_096);
        let offset = stage.take(4_096).unwrap();
        assert_eq!(stage.redeem(offset), 4_096);
        assert_eq!((stage.redeem(offset), stage.give_up(offset)), (0, 0));
    }

    #[test]
    fn a_closed_stage_gives_no_more_and_is_protected_while_in_use() {
        let stage = stage(8 * 4_096);
        let offset = stage.take(4_096).unwrap();
        stage.close();
        assert_eq!(stage.take(4_096), None);
        assert!(stage.is_protected());
        stage.give_up(offset);
        assert!(!stage.is_protected() && stage.may_be_empty());
    }
}
