//! When a store that does not answer is left alone, and when it is asked again.

use crate::time::{Instant, Span};

/// After so many failures in a row nobody asks any more.
const FAILURES: u32 = 3;
/// For so long at first, and twice as long each time that the next question fails too.
const PAUSE_MIN: Span = Span::from_secs(1);
const PAUSE_MAX: Span = Span::from_secs(30);

/// What is known of a store's answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// Until when it is left alone, and for how long that was; absent while it answers.
    open: Option<(Instant, Span)>,
}

/// Whether somebody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes, and the answer is to be noted.
    Open,
    /// No, not before then.
    Closed {
        /// When one may try.
        until: Instant,
    },
}

impl Breaker {
    /// Asked before each call. When a pause is over, one caller is let through, and the pause begins again for all others.
    pub fn ask(&mut self, now: Instant) -> Gate {
        match &mut self.open {
            Some((until, _)) if now < *until => Gate::Closed { until: *until },
            Some((until, pause)) => {
                *until = now.after(*pause);
                Gate::Open
            }
            None => Gate::Open,
        }
    }

    /// Told after each call whether the store answered, whatever it said.
    pub fn note(&mut self, answered: bool, now: Instant) {
        if answered {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let pause = match self.open {
            Some((_, pause)) => (pause * 2).min(PAUSE_MAX),
            None => PAUSE_MIN,
        };
        if self.failures >= FAILURES {
            self.open = Some((now.after(pause), pause));
        }
    }

    /// Whether it did not answer the last times.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_left_alone_after_a_few_failures_and_asked_by_one_at_a_time() {
        let start = Instant::from_nanos(7);
        let at = |millis| start.after(Span::from_millis(millis));
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert_eq!((breaker.ask(start), breaker.is_open()), (Gate::Open, false));
            breaker.note(false, start);
        }
        assert!(breaker.is_open());
        assert_eq!(breaker.ask(at(999)), Gate::Closed { until: at(1_000) });
        assert_eq!(breaker.ask(at(1_000)), Gate::Open);
        assert_eq!(
            breaker.ask(at(1_000)),
            Gate::Closed { until: at(2_000) },
            "one asks, the others wait"
        );
        breaker.note(false, at(1_500));
        assert_eq!(breaker.ask(at(3_499)), Gate::Closed { until: at(3_500) });
        assert_eq!(breaker.ask(at(3_500)), Gate::Open);
        breaker.note(true, at(3_600));
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn pauses_grow_to_a_limit_and_one_answer_between_failures_begins_anew() {
        let now = Instant::from_nanos(7);
        let mut breaker = Breaker::default();
        for _ in 0..50 {
            breaker.note(false, now);
        }
        assert_eq!(
            breaker.ask(now),
            Gate::Closed {
                until: now.after(PAUSE_MAX)
            }
        );
        let mut breaker = Breaker::default();
        for answered in [false, false, true, false, false] {
            breaker.note(answered, now);
        }
        assert!(!breaker.is_open());
    }
}
