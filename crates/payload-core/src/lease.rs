//! Terms of leases: how long one may last, and what a renewal gives. Pure arithmetic on the boot-time clock.

use crate::error::{Error, Reason};
use crate::time::{Instant, Span};

/// How long leases last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The term of a remote lease whose holder asks for none.
    pub remote_default: Span,
    /// The longest term that anybody gets at once.
    pub term_max: Span,
    /// How long a local lease may be held in all, if that is bounded.
    pub local_hold_max: Option<Span>,
}

/// Whether the holder's death can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderKind {
    /// Behind a local socket: its death closes the connection.
    Local,
    /// Somewhere else: only time tells.
    Remote,
}

/// When a lease ends on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The end that a renewal may move, if there is one.
    pub ends_at: Option<Instant>,
    /// The end that nothing moves, if there is one.
    pub hold_until: Option<Instant>,
}

impl Term {
    /// Whether the lease is over.
    pub fn is_over(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }
}

/// The term of a new lease. A local holder that asks for no term holds until it releases, dies, or reaches the maximum hold.
pub fn grant(terms: &LeaseTerms, kind: HolderKind, asked: Option<Span>, now: Instant) -> Result<Term, Error> {
    let hold_until = match kind {
        HolderKind::Local => terms.local_hold_max.map(|max| now.after(max)),
        HolderKind::Remote => None,
    };
    let span = match (kind, asked) {
        (_, Some(asked)) if asked > terms.term_max => {
            return Err(Error::invalid(
                Reason::BadDuration,
                format!(
                    "a lease lasts at most {} ms at a time; renew it",
                    terms.term_max.as_millis()
                ),
            )
            .field("ttl_ms"));
        }
        (_, Some(Span::ZERO)) => {
            return Err(Error::invalid(Reason::BadDuration, "a lease must last longer than zero").field("ttl_ms"));
        }
        (_, Some(asked)) => Some(asked),
        (HolderKind::Remote, None) => Some(terms.remote_default),
        (HolderKind::Local, None) => None,
    };
    Ok(Term {
        ends_at: earlier(span.map(|span| now.after(span)), hold_until),
        hold_until,
    })
}

/// The term of a lease after its renewal: never shorter than it was, never beyond the maximum hold.
pub fn renew(
    terms: &LeaseTerms,
    kind: HolderKind,
    term: Term,
    asked: Option<Span>,
    now: Instant,
) -> Result<Term, Error> {
    if term.is_over(now) {
        return Err(Error::new(
            Reason::LeaseExpired,
            "the lease has expired; acquire the payload again",
        ));
    }
    let fresh = grant(terms, kind, asked, now)?;
    let ends_at = match (term.ends_at, fresh.ends_at) {
        (Some(old), Some(new)) => Some(old.max(new)),
        (None, _) | (_, None) => None,
    };
    Ok(Term {
        ends_at: earlier(ends_at, term.hold_until),
        hold_until: term.hold_until,
    })
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: LeaseTerms = LeaseTerms {
        remote_default: Span::from_secs(30),
        term_max: Span::from_secs(120),
        local_hold_max: Some(Span::from_secs(3600)),
    };

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn secs(seconds: u64) -> Option<Span> {
        Some(Span::from_secs(seconds))
    }

    #[test]
    fn terms_are_what_was_asked_within_the_maximum() {
        let end = |kind, asked| {
            grant(&TERMS, kind, asked, at(100))
                .map(|term| term.ends_at)
                .map_err(|error| error.reason())
        };
        assert_eq!(end(HolderKind::Remote, None), Ok(Some(at(130))));
        assert_eq!(end(HolderKind::Remote, secs(5)), Ok(Some(at(105))));
        assert_eq!(end(HolderKind::Remote, secs(120)), Ok(Some(at(220))));
        assert_eq!(end(HolderKind::Remote, secs(121)), Err(Reason::BadDuration));
        assert_eq!(end(HolderKind::Local, secs(0)), Err(Reason::BadDuration));
        assert_eq!(end(HolderKind::Local, None), Ok(Some(at(3700))));
        assert_eq!(end(HolderKind::Local, secs(5)), Ok(Some(at(105))));
        let unbounded = LeaseTerms {
            local_hold_max: None,
            ..TERMS
        };
        assert_eq!(
            grant(&unbounded, HolderKind::Local, None, at(100)).unwrap().ends_at,
            None
        );
    }

    #[test]
    fn a_renewal_never_shortens_and_never_resurrects() {
        let term = grant(&TERMS, HolderKind::Remote, secs(60), at(0)).unwrap();
        assert_eq!(
            renew(&TERMS, HolderKind::Remote, term, secs(5), at(10))
                .unwrap()
                .ends_at,
            Some(at(60))
        );
        assert_eq!(
            renew(&TERMS, HolderKind::Remote, term, None, at(50)).unwrap().ends_at,
            Some(at(80))
        );
        assert_eq!(
            renew(&TERMS, HolderKind::Remote, term, None, at(60))
                .unwrap_err()
                .reason(),
            Reason::LeaseExpired
        );
    }

    #[test]
    fn a_local_hold_ends_at_its_maximum_however_often_it_is_renewed() {
        let mut term = grant(&TERMS, HolderKind::Local, secs(100), at(0)).unwrap();
        for now in (50..3_600).step_by(50) {
            term = renew(&TERMS, HolderKind::Local, term, secs(100), at(now)).unwrap();
            assert!(term.ends_at.unwrap() <= at(3_600));
        }
        assert!(term.is_over(at(3_600)));
    }
}
