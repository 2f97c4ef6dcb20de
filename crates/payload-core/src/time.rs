//! Two clocks that must never be mixed up: one for leases, one for calendars.

use std::fmt;

/// A length of time in nanoseconds, never negative.
pub type Span = std::time::Duration;

/// A reading of the boot-time clock (`CLOCK_BOOTTIME`): nanoseconds since the host started, suspend included.
///
/// Leases, deadlines and timeouts use it, because nobody can set it back or forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// From nanoseconds since boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The instant that lies `span` later; saturates at the end of time.
    pub fn after(self, span: Span) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// How long it is from `earlier` to `self`; zero if `earlier` is the later one.
    pub fn since(self, earlier: Self) -> Span {
        Span::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A reading of the wall clock: microseconds since 1970-01-01T00:00:00Z.
///
/// Rows and events carry it. It may jump; nothing that protects bytes depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The moment that lies `span` later; saturates.
    pub fn after(self, span: Span) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// The moment that lies `span` earlier; saturates.
    pub fn before(self, span: Span) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// How long it is from `self` until `later`; zero if that has passed.
    pub fn until(self, later: Self) -> Span {
        Span::from_micros(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Instant::from_nanos(5).after(Span::MAX), Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::from_nanos(5).since(Instant::from_nanos(9)), Span::ZERO);
        assert_eq!(
            Timestamp::from_micros(5).after(Span::MAX),
            Timestamp::from_micros(i64::MAX)
        );
        assert_eq!(Timestamp::from_micros(9).until(Timestamp::from_micros(5)), Span::ZERO);
    }
}
