//! Whether keeping the thread for an answer is worth it: learnt from how it went before.

use std::sync::atomic::{AtomicU32, Ordering};

use payload_core::{Instant, Span};

use crate::clock;
use crate::options::Patience;

/// After so many waits in vain in a row, more make no difference: one call in 64 still tries.
const LOSSES_MAX: u32 = 6;

/// What one connection has learnt.
#[derive(Debug, Default)]
pub(crate) struct Stamina {
    /// Waits in vain since the last one that was not.
    losses: AtomicU32,
    /// Calls that do not try before the next one does.
    pauses: AtomicU32,
}

/// Looks at the socket that are left to one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    until: Option<Instant>,
}

impl Stamina {
    /// What a call may try; nothing if it should go through the event loop at once.
    pub(crate) fn attempts(&self, patience: Patience) -> Option<Attempts> {
        let until = match patience {
            Patience::Yield => return None,
            Patience::Spin(Span::ZERO) | Patience::Block(Span::ZERO) => return None,
            Patience::Spin(longest) => Some(clock::now().after(longest)),
            Patience::Block(_) => None,
        };
        let pauses = self.pauses.load(Ordering::Relaxed);
        if pauses > 0 {
            self.pauses.store(pauses - 1, Ordering::Relaxed);
            return None;
        }
        Some(Attempts { until })
    }

    /// Notes whether an answer came in time.
    pub(crate) fn learn(&self, in_time: bool) {
        if in_time {
            return self.losses.store(0, Ordering::Relaxed);
        }
        let losses = (self.losses.load(Ordering::Relaxed) + 1).min(LOSSES_MAX);
        self.losses.store(losses, Ordering::Relaxed);
        self.pauses.store((1 << losses) - 1, Ordering::Relaxed);
    }
}

impl Attempts {
    /// Whether to look again after a look in vain. A look that blocks took all the time there was.
    pub(crate) fn has_another(&self) -> bool {
        std::hint::spin_loop();
        self.until.is_some_and(|until| clock::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPIN: Patience = Patience::Spin(Span::from_micros(50));

    #[test]
    fn waits_in_vain_make_calls_go_through_the_event_loop_and_the_first_success_ends_that() {
        let stamina = Stamina::default();
        for round in 1..=8 {
            assert!(stamina.attempts(SPIN).is_some());
            stamina.learn(false);
            let pauses = (1 << round.min(6)) - 1;
            assert_eq!((0..pauses).filter(|_| stamina.attempts(SPIN).is_some()).count(), 0);
        }
        assert!(stamina.attempts(SPIN).is_some());
        stamina.learn(true);
        assert!(stamina.attempts(SPIN).is_some());
    }

    #[test]
    fn no_patience_is_none() {
        let stamina = Stamina::default();
        for patience in [Patience::Yield, Patience::Spin(Span::ZERO), Patience::Block(Span::ZERO)] {
            assert!(stamina.attempts(patience).is_none());
        }
    }
}
