//! Takes down what the engine tells a session.

use std::sync::{Arc, Mutex};

use payload_core::{LeaseId, Reason};
use payload_engine::{Notice, NoticeSink};

/// The notices of one session, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Notice>>>);

impl Told {
    /// All so far.
    pub(crate) fn all(&self) -> Vec<Notice> {
        self.0.lock().unwrap().clone()
    }

    /// Leases that ended against the holder's will, and why.
    pub(crate) fn ended(&self) -> Vec<(LeaseId, Reason)> {
        let ended = |notice| match notice {
            Notice::LeaseEnded { lease, reason, .. } => Some((lease, reason)),
            Notice::ContainersGone(_) => None,
        };
        self.all().into_iter().filter_map(ended).collect()
    }
}

impl NoticeSink for Told {
    fn send(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice);
    }
}
