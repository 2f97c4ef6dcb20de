//! What the keeper should hold, so that a new keeper can be given all of it again.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

use payload_core::SegmentId;

/// The owner of a segment may register it only after it was stored: until then its descriptor is kept here. More than this
/// many calls are never between the two.
const RECENT_MAX: usize = 64;

/// The names of all segments, and descriptors of the latest ones.
///
/// A duplicate of each descriptor would double what the server has open. The owner of the segments has them anyway
/// and is asked for them, one batch at a time, if it ever comes to that.
#[derive(Debug, Default)]
pub(super) struct Names {
    segments: BTreeMap<SegmentId, Option<OwnedFd>>,
    recent: VecDeque<SegmentId>,
}

impl Names {
    /// A segment that is known to its owner.
    pub(super) fn add(&mut self, segment: SegmentId) {
        self.segments.entry(segment).or_insert(None);
    }

    /// A segment that is about to be stored.
    pub(super) fn add_recent(&mut self, segment: SegmentId, fd: OwnedFd) {
        self.segments.insert(segment, Some(fd));
        self.recent.retain(|recent| *recent != segment);
        self.recent.push_back(segment);
        if self.recent.len() > RECENT_MAX
            && let Some(oldest) = self.recent.pop_front()
            && let Some(fd) = self.segments.get_mut(&oldest)
        {
            *fd = None;
        }
    }

    pub(super) fn remove(&mut self, segment: SegmentId) {
        self.segments.remove(&segment);
        self.recent.retain(|recent| *recent != segment);
    }

    pub(super) fn contains(&self, segment: SegmentId) -> bool {
        self.segments.contains_key(&segment)
    }

    pub(super) fn all(&self) -> Vec<SegmentId> {
        self.segments.keys().copied().collect()
    }

    /// A duplicate of what is kept here, if the segment is among the latest.
    pub(super) fn recent(&self, segment: SegmentId) -> Option<OwnedFd> {
        let fd = self.segments.get(&segment)?.as_ref()?;
        fd.try_clone().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u8) -> SegmentId {
        SegmentId::from_bytes([number; 16]).unwrap()
    }

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn only_the_latest_descriptors_are_kept() {
        let mut names = Names::default();
        names.add(segment(200));
        for number in 1..=65 {
            names.add_recent(segment(number), fd());
        }
        assert_eq!(names.all().len(), 66);
        assert!(names.recent(segment(1)).is_none());
        assert!(names.recent(segment(200)).is_none());
        assert!((2..=65).all(|number| names.recent(segment(number)).is_some()));

        names.remove(segment(2));
        assert!(names.recent(segment(2)).is_none() && !names.contains(segment(2)));
        names.add_recent(segment(66), fd());
        assert!(names.recent(segment(3)).is_some());
        names.add_recent(segment(3), fd());
        names.add_recent(segment(67), fd());
        assert!(names.recent(segment(3)).is_some() && names.recent(segment(4)).is_none());
    }
}
