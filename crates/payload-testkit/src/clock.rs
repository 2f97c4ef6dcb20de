//! A clock that only tests move, and randomness that a seed repeats.

use std::sync::Mutex;

use payload_core::port::{Clock, Entropy};
use payload_core::{Instant, Span, Timestamp};

/// Stands still until it is told to move. Its two clocks are set apart from each other, as the real ones can be.
#[derive(Debug)]
pub struct ManualClock(Mutex<(Instant, Timestamp)>);

impl Default for ManualClock {
    /// An hour after the start of the host, in the year 2026.
    fn default() -> Self {
        Self::new(
            Instant::from_nanos(3_600_000_000_000),
            Timestamp::from_micros(1_790_000_000_000_000),
        )
    }
}

impl ManualClock {
    /// Both clocks as given.
    pub fn new(now: Instant, wall: Timestamp) -> Self {
        Self(Mutex::new((now, wall)))
    }

    /// Time goes by, for both clocks.
    pub fn advance(&self, span: Span) {
        let mut both = self.both();
        *both = (both.0.after(span), both.1.after(span));
    }

    /// Sets the boot-time clock alone.
    pub fn set_now(&self, now: Instant) {
        self.both().0 = now;
    }

    /// Somebody sets the wall clock; the boot-time clock does not notice.
    pub fn set_wall(&self, wall: Timestamp) {
        self.both().1 = wall;
    }

    fn both(&self) -> std::sync::MutexGuard<'_, (Instant, Timestamp)> {
        self.0.lock().expect("nothing panics while the clock is set")
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.both().0
    }

    fn wall(&self) -> Timestamp {
        self.both().1
    }
}

/// The same numbers for the same seed (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Any seed is as good as any other.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which must not be zero.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// Whether one of `n` equally likely things happens.
    pub const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.below(items.len() as u64)).expect("an index fits")]
    }
}

/// Another seed each time. Print it, so that a failure can be repeated.
pub fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// Random bytes that can be had again, from one seed.
#[derive(Debug)]
pub struct TestEntropy(Mutex<Rng>);

impl TestEntropy {
    /// The same bytes for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::new(seed)))
    }
}

impl Entropy for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut rng = self.0.lock().expect("nothing panics while bytes are made");
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&rng.bits().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_move_together_or_apart() {
        let clock = ManualClock::default();
        let (now, wall) = (clock.now(), clock.wall());
        clock.advance(Span::from_secs(5));
        assert_eq!(
            (clock.now().since(now), wall.until(clock.wall())),
            (Span::from_secs(5), Span::from_secs(5))
        );
        clock.set_wall(Timestamp::from_micros(0));
        assert_eq!(clock.now().since(now), Span::from_secs(5));
        clock.set_now(now);
        assert_eq!((clock.now(), clock.wall()), (now, Timestamp::from_micros(0)));
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let bytes = |seed| {
            let mut bytes = [0; 21];
            TestEntropy::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }
}
