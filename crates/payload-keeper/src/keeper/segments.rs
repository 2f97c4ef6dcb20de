//! The table of what is held, with its bound.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use payload_core::SegmentId;
use payload_core::limits::KEEPER_SEGMENTS_MAX;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::protocol::BATCH_MAX;

/// Descriptors that the keeper needs for itself: connections, a message that is arriving, processes.
const RESERVE: u64 = 32 + 2 * BATCH_MAX as u64;

/// Descriptors by segment.
#[derive(Debug)]
pub(crate) struct Segments {
    held: BTreeMap<SegmentId, OwnedFd>,
    max: usize,
}

impl Segments {
    /// Empty; raises this process's limit of open files as far as it may, and holds no more than fit.
    pub(crate) fn new() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => raised.current,
            Err(_) => limit.current,
        };
        Self {
            held: BTreeMap::new(),
            max: bound(current),
        }
    }

    /// Holds `fd`, instead of what was held under this name; false if there is no room.
    pub(crate) fn store(&mut self, segment: SegmentId, fd: OwnedFd) -> bool {
        if self.held.len() >= self.max && !self.held.contains_key(&segment) {
            return false;
        }
        self.held.insert(segment, fd);
        true
    }

    pub(crate) fn remove(&mut self, segment: SegmentId) {
        self.held.remove(&segment);
    }

    /// The next batch in ascending order.
    pub(crate) fn batch(&self, after: Option<SegmentId>) -> (Vec<SegmentId>, Vec<BorrowedFd<'_>>) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.held
            .range((start, Bound::Unbounded))
            .take(BATCH_MAX)
            .map(|(segment, fd)| (*segment, fd.as_fd()))
            .unzip()
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }
}

/// How many segments fit under a limit of open files.
fn bound(open_files: Option<u64>) -> usize {
    let room = open_files.map_or(u64::MAX, |open| open.saturating_sub(RESERVE));
    usize::try_from(room).map_or(KEEPER_SEGMENTS_MAX, |room| room.min(KEEPER_SEGMENTS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u16) -> SegmentId {
        let mut bytes = [1; 16];
        bytes[14..].copy_from_slice(&number.to_be_bytes());
        SegmentId::from_bytes(bytes).unwrap()
    }

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn the_bound_follows_the_limit_of_open_files() {
        assert_eq!(bound(None), KEEPER_SEGMENTS_MAX);
        assert_eq!(bound(Some(u64::MAX)), KEEPER_SEGMENTS_MAX);
        assert_eq!(bound(Some(RESERVE + 100)), 100);
        assert_eq!(bound(Some(3)), 0);
    }

    #[test]
    fn a_full_table_refuses_what_is_new_and_replaces_what_is_not() {
        let mut segments = Segments {
            held: BTreeMap::new(),
            max: 2,
        };
        assert!(segments.store(segment(1), fd()));
        assert!(segments.store(segment(2), fd()));
        assert!(!segments.store(segment(3), fd()));
        assert!(segments.store(segment(2), fd()));
        segments.remove(segment(1));
        segments.remove(segment(1));
        assert!(segments.store(segment(3), fd()));
        assert_eq!(segments.len(), 2);
    }

    #[test]
    fn batches_cover_everything_once() {
        let mut segments = Segments {
            held: BTreeMap::new(),
            max: 1000,
        };
        for number in 0..150 {
            segments.store(segment(number), fd());
        }
        let (mut after, mut sizes, mut seen) = (None, vec![], vec![]);
        loop {
            let (batch, fds) = segments.batch(after);
            assert_eq!(batch.len(), fds.len());
            sizes.push(batch.len());
            let Some(last) = batch.last() else { break };
            after = Some(*last);
            seen.extend(batch);
        }
        assert_eq!(sizes, [64, 64, 22, 0]);
        assert_eq!(seen, (0..150).map(segment).collect::<Vec<_>>());
    }
}
