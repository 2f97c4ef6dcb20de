//! How much of one session is under way: bounded, so that a client cannot pile up work or answers.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Calls that are not answered yet, an acquire with as many as it has items: each may bring a descriptor, and those of
/// answers that the client does not read pile up here.
#[derive(Default)]
pub(super) struct InFlight {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// One of them, and how many it counts for.
pub(super) struct Flight(Arc<InFlight>, usize);

impl InFlight {
    /// Waits until `more` fit below `max`, of which they are no more.
    pub(super) fn wait_for_places(this: &Arc<Self>, more: usize, max: usize) -> Flight {
        let mut count = this.count.lock();
        while *count + more > max {
            this.fewer.wait(&mut count);
        }
        *count += more;
        Flight(Arc::clone(this), more)
    }

    /// Whether there is none.
    pub(super) fn is_idle(&self) -> bool {
        *self.count.lock() == 0
    }

    /// So many more, unless there were more than `max` then.
    pub(super) fn enter(this: &Arc<Self>, more: usize, max: usize) -> Option<Flight> {
        let mut count = this.count.lock();
        if *count + more > max {
            return None;
        }
        *count += more;
        Some(Flight(Arc::clone(this), more))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        *self.0.count.lock() -= self.1;
        self.0.fewer.notify_one();
    }
}
