//! Finds a segment by its id. Every grant looks here, so the table is cut into parts that are locked one by one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use payload_core::SegmentId;

use super::segment::Segment;

const PARTS: usize = 32;

type Part = RwLock<HashMap<SegmentId, Arc<Segment>>>;

/// All memfds of the tier.
#[derive(Debug)]
pub(super) struct Table {
    parts: [Part; PARTS],
    len: AtomicUsize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            parts: std::array::from_fn(|_| Part::default()),
            len: AtomicUsize::new(0),
        }
    }

    pub(super) fn get(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.part(id).read().get(&id).cloned()
    }

    pub(super) fn insert(&self, segment: Arc<Segment>) {
        if self.part(segment.id()).write().insert(segment.id(), segment).is_none() {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn remove(&self, id: SegmentId) -> Option<Arc<Segment>> {
        let segment = self.part(id).write().remove(&id)?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some(segment)
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(super) fn find(&self, which: impl Fn(&Segment) -> bool) -> Option<Arc<Segment>> {
        let any = |part: &Part| part.read().values().find(|segment| which(segment)).cloned();
        self.parts.iter().find_map(any)
    }

    pub(super) fn each(&self, mut visit: impl FnMut(&Segment)) {
        for part in &self.parts {
            part.read().values().for_each(|segment| visit(segment));
        }
    }

    /// The last byte of an id is random.
    fn part(&self, id: SegmentId) -> &Part {
        &self.parts[usize::from(id.as_bytes()[15]) % PARTS]
    }
}
