//! How often to try a server that does not answer: soon at first, then rarely, and not for ever.

use payload_core::{Error, ErrorKind, Instant, Outcome, Reason, Result, Span};

use crate::clock;

const FIRST: Span = Span::from_millis(10);
const LONGEST: Span = Span::from_millis(500);

/// Failures of a server that comes or goes, or of the way to it: later, another one may answer.
pub(crate) fn is_passing(reason: Reason) -> bool {
    matches!(reason, Reason::ConnectionLost | Reason::Starting | Reason::ShuttingDown)
}

/// A request that is asked again until it is known what became of it, within a total time. It must be one that may be asked
/// twice: it reads, or the server knows it again.
#[derive(Debug)]
pub(crate) struct Attempts {
    total: Span,
    backoff: Option<Backoff>,
    /// An earlier attempt may have been carried out, so only an answer from somebody who knows settles it.
    in_doubt: bool,
}

impl Attempts {
    pub(crate) fn within(total: Span) -> Self {
        Self {
            total,
            backoff: None,
            in_doubt: false,
        }
    }

    /// An attempt had no answer.
    pub(crate) fn unanswered(&mut self) {
        self.in_doubt = true;
    }

    /// Whether to ask once more; then the pause before that is over. Else this is what the caller is told.
    pub(crate) async fn once_more_after(&mut self, error: Error) -> Result<()> {
        self.in_doubt |= error.outcome() == Outcome::Unknown;
        let is_open = is_passing(error.reason()) || self.in_doubt && error.kind() == ErrorKind::Unavailable;
        if !is_open {
            return Err(error);
        }
        let total = self.total;
        let backoff = self.backoff.get_or_insert_with(|| Backoff::new(total));
        match backoff.pause().await {
            true => Ok(()),
            false => Err(self.given_up(error)),
        }
    }

    /// What the caller is told when there are no more attempts.
    pub(crate) fn given_up(&self, error: Error) -> Error {
        match self.in_doubt {
            true => error.outcome_unknown(),
            false => error,
        }
    }
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
