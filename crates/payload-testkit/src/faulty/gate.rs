//! Holds a call up in the middle, so that a test can look at the world meanwhile.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A place that one call comes to and does not pass before it may. Dropped, it lets the call pass.
#[derive(Debug, Default)]
pub struct Gate(Arc<Shared>);

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reached: bool,
    open: bool,
}

impl Gate {
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }

    /// Waits until the call is there.
    pub fn wait_until_reached(&self) {
        let state = self.0.state();
        drop(self.0.changed.wait_while(state, |state| !state.reached));
    }

    /// Lets it pass.
    pub fn open(&self) {
        self.0.state().open = true;
        self.0.changed.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Shared {
    /// Comes to the gate and waits until it is open.
    pub(super) fn pass(&self) {
        let mut state = self.state();
        state.reached = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.open));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
