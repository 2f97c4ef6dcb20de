//! Set aside: a payload of which copies fail again and again, or were cancelled, is left where it is for a while.
//!
//! Else the evictor would choose it in every round, because nobody uses it, and what could go would wait behind what cannot.
//! What concerns a whole tier (no room, a device that answers nothing) is not counted: for that the evictor pauses.

use std::sync::Arc;

use payload_core::{Error, ErrorKind, Instant, Reason, Span};

use crate::engine::Engine;
use crate::entry::{Entry, Live};
use crate::timers::Due;

/// So many failures in a row are borne before the payload is set aside.
const BORNE: u32 = 3;
/// For how long at first; twice as long after each further failure.
const ASIDE_MIN: Span = Span::from_secs(30);
const ASIDE_MAX: Span = Span::from_secs(600);

/// How the last copies of a payload went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setbacks {
    failures: u32,
    until: Option<Instant>,
}

impl Setbacks {
    /// A copy worked.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_aside(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// How long it is set aside after one more failure, if it is.
    fn fail(&mut self, now: Instant) -> Option<Instant> {
        self.failures += 1;
        let further = self.failures.checked_sub(BORNE)?;
        let span = (ASIDE_MIN * 2_u32.saturating_pow(further.min(8))).min(ASIDE_MAX);
        self.until = Some(now.after(span));
        self.until
    }
}

impl Engine {
    /// Notes how a copy of a payload went.
    pub(crate) fn note_copy(&self, entry: &Arc<Entry>, failure: Option<&Error>) {
        match failure {
            None => entry.live().setbacks.clear(),
            Some(error) if is_its_own(error) => {
                let aside = entry.live().setbacks.fail(self.now());
                if let Some(until) = aside {
                    tracing::warn!(payload = %entry.id, %error, "copies of a payload fail again and again; it is set aside");
                    self.timers.set(until, Due::AsideOver(Arc::downgrade(entry)));
                }
            }
            Some(_) => {}
        }
    }

    /// Leaves a payload where it is for a while.
    pub(crate) fn set_aside(&self, entry: &Arc<Entry>) {
        let until = self.now().after(ASIDE_MIN);
        entry.live().setbacks.until = Some(until);
        self.timers.set(until, Due::AsideOver(Arc::downgrade(entry)));
    }

    pub(crate) fn is_set_aside(&self, live: &Live) -> bool {
        live.setbacks.is_aside(self.now())
    }
}

/// Whether a failure is about the payload, and not about a tier, the catalog, or what somebody else did meanwhile.
fn is_its_own(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::ResourceExhausted | ErrorKind::Unavailable | ErrorKind::FailedPrecondition | ErrorKind::NotFound
    ) && error.reason() != Reason::Conflict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_failure_sets_aside_and_each_further_one_for_longer() {
        let now = Instant::from_nanos(1);
        let mut setbacks = Setbacks::default();
        let spans: Vec<Option<Span>> = (0..10)
            .map(|_| setbacks.fail(now).map(|until| until.since(now)))
            .collect();
        assert_eq!(spans[..2], [None, None]);
        let secs: Vec<u64> = spans[2..].iter().flatten().map(|span| span.as_secs()).collect();
        assert_eq!(secs, [30, 60, 120, 240, 480, 600, 600, 600]);
        assert!(setbacks.is_aside(now) && !setbacks.is_aside(now.after(ASIDE_MAX)));
        setbacks.clear();
        assert!(!setbacks.is_aside(now));
    }
}
