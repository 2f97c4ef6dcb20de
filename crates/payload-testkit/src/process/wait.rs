//! Waiting for a level: a thing that, once true, stays true long enough to be seen.

use std::time::Duration;

use rustix::event::{Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

/// How often the world is looked at.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};
/// When to give up and say what was waited for; the test runner would only say that it took too long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` sees something, and returns that.
///
/// # Panics
///
/// After a minute, naming `what` it waited for.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(now() - began < PATIENCE, "waited in vain for {what}");
        // An interrupted pause only means looking earlier.
        let _ = poll(&mut [], Some(&LOOK));
    }
}

/// Lets time pass while something is measured. Nothing may depend on what happens meanwhile.
pub fn pass(span: Duration) {
    let began = now();
    while let Some(left) = span.checked_sub(now() - began).filter(|left| !left.is_zero()) {
        let _ = poll(&mut [], Timespec::try_from(left).ok().as_ref());
    }
}

/// What `work` returns and how long it took, for reports; nothing asserts it.
pub fn elapsed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = now();
    let result = work();
    (result, now() - began)
}

fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or(Duration::ZERO)
}
