//! What must be true, as far as the acknowledgements say.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use payload_core::Span;

use super::journal::{Attempt, Line};
use super::stubborn::INLINE_MAX;
use crate::content::Content;

/// The largest payload that is packed with others in memory, as long as descriptors abound.
pub(super) const PACKED_MAX: u64 = 2 << 20;

/// Shared by the driver and the threads that read what the victims tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Model(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    facts: Mutex<Facts>,
    more: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Committed with acknowledgement, and not deleted.
    pub(super) live: HashMap<String, Content>,
    pub(super) deleted: HashMap<String, Content>,
    /// What each victim has under way.
    under_way: HashMap<usize, UnderWay>,
    pub(super) acknowledged: u64,
    /// How many of those were of which size.
    pub(super) sizes: BTreeMap<Size, u64>,
    pub(super) verified: u64,
    pub(super) wrong: Vec<String>,
    pub(super) refused: Vec<String>,
}

/// Which way a payload's bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Size {
    Empty,
    Inline,
    Packed,
    Whole,
}

impl Size {
    fn of(content: Content) -> Self {
        match content.size {
            0 => Self::Empty,
            1..=INLINE_MAX => Self::Inline,
            _ if content.size <= PACKED_MAX => Self::Packed,
            _ => Self::Whole,
        }
    }
}

/// A call without an answer.
#[derive(Clone, Debug)]
pub(super) enum UnderWay {
    Commit(Attempt),
    Delete(String),
}

impl Model {
    /// Takes note of what a victim told.
    pub(super) fn note(&self, victim: usize, line: Line) {
        self.0.facts.lock().note(victim, line);
        self.0.more.notify_all();
    }

    /// Looks at the facts, or corrects them.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Facts) -> T) -> T {
        look(&mut self.0.facts.lock())
    }

    /// Waits until so many commits more are acknowledged; false if they do not come.
    pub(super) fn wait_for_commits(&self, more: u64, patience: Span) -> bool {
        let mut facts = self.0.facts.lock();
        let target = facts.acknowledged + more;
        let condition = |facts: &mut Facts| facts.acknowledged < target && facts.wrong.is_empty();
        !self.0.more.wait_while_for(&mut facts, condition, patience).timed_out()
    }
}

impl Facts {
    fn note(&mut self, victim: usize, line: Line) {
        match line {
            Line::Trying(attempt) => {
                self.under_way.insert(victim, UnderWay::Commit(attempt));
            }
            Line::Deleting { payload } => {
                self.under_way.insert(victim, UnderWay::Delete(payload));
            }
            Line::Committed { payload } => {
                if let Some(UnderWay::Commit(attempt)) = self.under_way.remove(&victim) {
                    self.committed(payload, attempt.content);
                }
            }
            Line::Deleted => {
                if let Some(UnderWay::Delete(payload)) = self.under_way.remove(&victim) {
                    self.deleted(&payload);
                }
            }
            Line::Refused { why } => {
                self.under_way.remove(&victim);
                self.refused.push(why);
            }
            Line::Verified => self.verified += 1,
            Line::Wrong { what } => self.wrong.push(what),
        }
    }

    pub(super) fn committed(&mut self, payload: String, content: Content) {
        self.acknowledged += 1;
        *self.sizes.entry(Size::of(content)).or_default() += 1;
        self.live.insert(payload, content);
    }

    pub(super) fn deleted(&mut self, payload: &str) {
        if let Some(content) = self.live.remove(payload) {
            self.deleted.insert(payload.to_owned(), content);
        }
    }

    /// What a dead victim left open.
    pub(super) fn take_under_way(&mut self, victim: usize) -> Option<UnderWay> {
        self.under_way.remove(&victim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill_loop::journal::{How, Place};

    #[test]
    fn facts_follow_acknowledgements_and_keep_what_is_open() {
        let content = Content { seed: 1, size: 2 };
        let attempt = Attempt {
            request_id: "r".into(),
            content,
            place: Place::DiskHost,
            how: How::Put,
        };
        let model = Model::default();
        model.note(0, Line::Trying(attempt.clone()));
        model.note(0, Line::Committed { payload: "p".into() });
        model.note(0, Line::Deleting { payload: "p".into() });
        model.note(1, Line::Trying(attempt));
        model.with(|facts| {
            assert_eq!((facts.live.len(), facts.acknowledged), (1, 1));
            assert!(matches!(facts.take_under_way(1), Some(UnderWay::Commit(_))));
            assert!(facts.take_under_way(1).is_none());
        });
        model.note(0, Line::Deleted);
        assert_eq!(model.with(|facts| (facts.live.len(), facts.deleted.len())), (0, 1));
    }
}
