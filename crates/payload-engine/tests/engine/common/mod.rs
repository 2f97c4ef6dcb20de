//! What every test of the engine uses: one rig, the words to say what it shall do, and the invariants.

pub(crate) mod calls;
mod invariants;
mod rig;
mod sink;

pub(crate) use calls::{bytes, secs};
pub(crate) use rig::{Backend, KEPT, Rig, Setup};
pub(crate) use sink::Told;

use payload_core::{Principal, Reason, Result};

/// The principal of tests that need only one.
pub(crate) fn alice() -> Principal {
    Principal::uid(1000)
}

/// Another one.
pub(crate) fn bob() -> Principal {
    Principal::uid(1001)
}

/// Why something was refused.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T>) -> Reason {
    result.unwrap_err().reason()
}

/// Waits for what other threads bring about.
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}
