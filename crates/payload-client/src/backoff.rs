//! How often to try a server that does not answer: soon at first, then rarely, and not for ever.

use payload_core::{Instant, Reason, Span};

use crate::clock;

const FIRST: Span = Span::from_millis(10);
const LONGEST: Span = Span::from_millis(500);

/// Failures of a server that comes or goes, or of the way to it: later, another one may answer.
pub(crate) fn is_passing(reason: Reason) -> bool {
    matches!(reason, Reason::ConnectionLost | Reason::Starting | Reason::ShuttingDown)
}

/// Doubling pauses within a total.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Span,
    until: Instant,
}

impl Backoff {
    /// Gives up when `total` has passed from now.
    pub(crate) fn new(total: Span) -> Self {
        Self {
            pause: FIRST,
            until: clock::now().after(total),
        }
    }

    /// Waits before the next attempt; false if the time is over.
    pub(crate) async fn pause(&mut self) -> bool {
        let left = self.until.since(clock::now());
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(LONGEST);
        true
    }
}
