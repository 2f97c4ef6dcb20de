//! How often something was used lately.

use crate::time::{Instant, Span};

/// Uses count half as much after this time.
const HALF_LIFE: Span = Span::from_nanos(HALF_LIFE_NANOS);
const HALF_LIFE_NANOS: u64 = 60_000_000_000;
/// So much is one use, so that it is still something after a few half-lives.
const USE: u32 = 256;

/// A count of uses that cools down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heat {
    count: u32,
    at: Option<Instant>,
}

impl Heat {
    /// Counts a use.
    pub fn warm(&mut self, now: Instant) {
        let at = self.at.get_or_insert(now);
        let halvings = halvings(*at, now);
        *at = at.after(HALF_LIFE * halvings);
        self.count = cooled(self.count, halvings).saturating_add(USE);
    }

    /// Whether it was used at least so often, where uses of a while ago count less.
    pub fn reaches(&self, uses: u32, now: Instant) -> bool {
        self.count(now) >= uses.saturating_mul(USE)
    }

    /// Whether it is worth while to let this take the place of `other`: it is more than twice as hot. Without a distance
    /// between the two, things that are used alike would take turns.
    pub fn is_worth_replacing(&self, other: &Self, now: Instant) -> bool {
        self.count(now) > other.count(now).saturating_mul(2)
    }

    /// How hot it is now, in a measure of its own.
    pub fn count(&self, now: Instant) -> u32 {
        self.at.map_or(0, |at| cooled(self.count, halvings(at, now)))
    }
}

fn halvings(from: Instant, to: Instant) -> u32 {
    // In 64 bits, because every lease does this.
    let nanos = to.as_nanos().saturating_sub(from.as_nanos());
    u32::try_from(nanos / HALF_LIFE_NANOS).unwrap_or(u32::MAX)
}

fn cooled(count: u32, halvings: u32) -> u32 {
    count.checked_shr(halvings).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn used(times: u32, when: Instant) -> Heat {
        let mut heat = Heat::default();
        (0..times).for_each(|_| heat.warm(when));
        heat
    }

    #[test]
    fn uses_add_up_and_fade() {
        let heat = used(4, at(100));
        assert!(heat.reaches(4, at(159)) && !heat.reaches(5, at(100)));
        assert!(heat.reaches(2, at(160)) && !heat.reaches(3, at(160)));
        assert!(!heat.reaches(1, at(100_000)));
        assert!(Heat::default().reaches(0, at(0)) && !Heat::default().reaches(1, at(0)));
        let mut again = heat;
        again.warm(at(160));
        assert!(again.reaches(3, at(219)));
        assert!(
            used(1, at(u64::MAX / 1_000_000_000)).reaches(1, at(0)),
            "a clock that stands still"
        );
    }

    #[test]
    fn what_is_used_alike_does_not_take_turns() {
        let now = at(10);
        let table = [
            (2, 1, false),
            (3, 1, true),
            (1, 0, true),
            (0, 0, false),
            (20, 10, false),
            (21, 10, true),
        ];
        for (hot, cold, replaces) in table {
            let (hot, cold) = (used(hot, now), used(cold, now));
            assert_eq!(hot.is_worth_replacing(&cold, now), replaces, "{hot:?} {cold:?}");
        }
    }
}
