//! What follows from a server's end: decided here without any effect, so that every case can be tested as a table.

use payload_core::Span;

use crate::options::Backoff;
use crate::protocol::Fate;

/// How the server's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited by itself.
    Exited(u8),
    /// A signal killed it.
    Killed(i32),
    /// It was not this keeper's child, so only the fact is known.
    Unseen,
}

/// What the keeper knows about the server at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// This server had said hello.
    pub(crate) greeted: bool,
    /// This server, or an earlier one of this keeper, was ready.
    pub(crate) ever_ready: bool,
    /// The server had announced a graceful stop.
    pub(crate) stopping: Option<Fate>,
    /// The keeper was told to stop, and told the server.
    pub(crate) terminating: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start the server again.
    Restart,
    /// Exit with this code.
    Finish { code: u8, fate: Fate },
}

/// A death is followed by a restart, a stop by the keeper's end. A server that exits with an error before any was ever
/// ready has something to tell the user (a mistake in its configuration), and trying again would not help; one that
/// was *killed* before it was ready has nothing to tell.
pub(crate) fn verdict(end: End, standing: Standing) -> Verdict {
    let stopped = standing.terminating || standing.stopping.is_some();
    let code = match end {
        End::Exited(code) => code,
        End::Killed(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        End::Unseen => u8::from(!stopped),
    };
    let finish = match end {
        _ if stopped => true,
        End::Exited(code) => code == 0 || !standing.ever_ready,
        End::Killed(_) => false,
        End::Unseen => !standing.greeted,
    };
    if finish {
        Verdict::Finish {
            code,
            fate: standing.stopping.unwrap_or(Fate::Keep),
        }
    } else {
        Verdict::Restart
    }
}

/// Counts deaths in a row.
#[derive(Debug)]
pub(crate) struct Restarts {
    settings: Backoff,
    in_a_row: u32,
}

impl Restarts {
    pub(crate) fn new(settings: Backoff) -> Self {
        Self { settings, in_a_row: 0 }
    }

    /// How long to wait before the next start, after a death of a server that had been ready for `ready_for`.
    pub(crate) fn after_death(&mut self, ready_for: Option<Span>) -> Span {
        if ready_for.is_some_and(|ready| ready >= self.settings.steady) {
            self.in_a_row = 0;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let Some(doublings) = self.in_a_row.checked_sub(2) else {
            return Span::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.settings.first.saturating_mul(factor).min(self.settings.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Standing = Standing {
        greeted: true,
        ever_ready: true,
        stopping: None,
        terminating: false,
    };
    const NEVER_READY: Standing = Standing {
        ever_ready: false,
        ..READY
    };
    const UNKNOWN: Standing = Standing {
        greeted: false,
        ..NEVER_READY
    };
    const TERMINATING: Standing = Standing {
        terminating: true,
        ..READY
    };
    const KEEPING: Standing = Standing {
        stopping: Some(Fate::Keep),
        ..READY
    };
    const DROPPING: Standing = Standing {
        stopping: Some(Fate::Drop),
        ..TERMINATING
    };

    #[test]
    fn a_death_is_followed_by_a_restart_and_a_stop_by_the_end() {
        let finish = |code, fate| Verdict::Finish { code, fate };
        let table = [
            (End::Killed(9), READY, Verdict::Restart),
            (End::Killed(9), NEVER_READY, Verdict::Restart),
            (End::Killed(9), UNKNOWN, Verdict::Restart),
            (End::Exited(101), READY, Verdict::Restart),
            (End::Exited(3), NEVER_READY, finish(3, Fate::Keep)),
            (End::Exited(3), UNKNOWN, finish(3, Fate::Keep)),
            (End::Exited(0), UNKNOWN, finish(0, Fate::Keep)),
            (End::Exited(0), READY, finish(0, Fate::Keep)),
            (End::Exited(0), DROPPING, finish(0, Fate::Drop)),
            (End::Exited(4), KEEPING, finish(4, Fate::Keep)),
            (End::Killed(15), TERMINATING, finish(143, Fate::Keep)),
            (End::Killed(9), KEEPING, finish(137, Fate::Keep)),
            (End::Unseen, READY, Verdict::Restart),
            (End::Unseen, NEVER_READY, Verdict::Restart),
            (End::Unseen, UNKNOWN, finish(1, Fate::Keep)),
            (End::Unseen, KEEPING, finish(0, Fate::Keep)),
            (End::Unseen, TERMINATING, finish(0, Fate::Keep)),
        ];
        for (end, standing, expected) in table {
            assert_eq!(verdict(end, standing), expected, "{end:?} {standing:?}");
        }
    }

    #[test]
    fn a_row_of_deaths_slows_the_restarts_down_and_a_steady_server_ends_the_row() {
        let second = Span::from_secs(1);
        let mut restarts = Restarts::new(Backoff {
            first: second,
            max: second * 5,
            steady: second * 10,
        });
        let mut waits = |ready_for: &[Option<Span>]| -> Vec<u64> {
            let waits = ready_for.iter().map(|ready| restarts.after_death(*ready).as_secs());
            waits.collect()
        };
        assert_eq!(waits(&[None; 6]), [0, 1, 2, 4, 5, 5]);
        assert_eq!(waits(&[Some(second * 9); 2]), [5, 5]);
        assert_eq!(waits(&[Some(second * 10), None]), [0, 1]);
        assert_eq!(waits(&[None; 60]).last(), Some(&5));
    }
}
