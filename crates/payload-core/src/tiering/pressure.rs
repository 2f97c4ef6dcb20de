//! How much a tier has to give up.

use crate::error::{Error, Reason};

/// The shares of a tier's capacity between which eviction works.
///
/// Above the high mark room is made until the low one is reached: the distance between the two is what one bout of work
/// frees, so that it does not begin again with the next allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    high: u8,
    low: u8,
}

impl Default for Watermarks {
    /// Room is made above 90 %, down to 80 %.
    fn default() -> Self {
        Self { high: 90, low: 80 }
    }
}

impl Watermarks {
    /// In per cent of the capacity, the low one below the high one.
    pub fn new(low: u8, high: u8) -> Result<Self, Error> {
        if low >= high || high > 100 {
            return Err(Error::invalid(
                Reason::PolicyContradiction,
                format!("the low watermark ({low} %) must be below the high one ({high} %), and that at most 100 %"),
            ));
        }
        Ok(Self { high, low })
    }

    /// The low one, in per cent.
    pub const fn low(&self) -> u8 {
        self.low
    }

    /// The high one, in per cent.
    pub const fn high(&self) -> u8 {
        self.high
    }

    /// How many bytes have to go from a tier of which `used` are taken up, while requests for `waiting` more stand in line.
    pub fn excess(&self, capacity: u64, used: u64, waiting: u64) -> u64 {
        match used.saturating_add(waiting) > share(capacity, self.high) {
            true => self.above_low(capacity, used, waiting),
            false => 0,
        }
    }

    /// By how much the tier is above the high mark.
    pub fn above_high(&self, capacity: u64, used: u64) -> u64 {
        used.saturating_sub(share(capacity, self.high))
    }

    /// How many of them are left to go, once it has begun.
    pub fn above_low(&self, capacity: u64, used: u64, waiting: u64) -> u64 {
        let wanted = used.saturating_add(waiting);
        wanted.saturating_sub(share(capacity, self.low)).min(used)
    }
}

fn share(capacity: u64, percent: u8) -> u64 {
    // In this order, because a capacity may be near the end of the numbers.
    capacity / 100 * u64::from(percent) + capacity % 100 * u64::from(percent) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_below_the_high_mark_and_then_as_much_as_reaches_the_low_one() {
        let marks = Watermarks::new(80, 90).unwrap();
        let table = [
            (0, 0, 0),
            (900, 0, 0),
            (901, 0, 101),
            (1_000, 0, 200),
            (850, 50, 0),
            (850, 51, 101),
            (850, 150, 200),
            (500, 600, 300),
            // More than there is cannot go, however much is waited for.
            (100, 5_000, 100),
            (u64::MAX, u64::MAX, u64::MAX - 800),
        ];
        for (used, waiting, excess) in table {
            assert_eq!(
                marks.excess(1_000, used, waiting),
                excess,
                "{used} used, {waiting} waiting"
            );
        }
        assert_eq!(marks.above_low(1_000, 850, 0), 50, "what has begun goes on");
        assert_eq!(marks.above_low(1_000, 800, 0), 0);
        assert_eq!(marks.excess(u64::MAX, u64::MAX, 0), u64::MAX - share(u64::MAX, 80));
    }

    #[test]
    fn marks_that_contradict_each_other_are_refused() {
        for (low, high) in [(90, 80), (80, 80), (0, 0), (50, 101)] {
            assert_eq!(
                Watermarks::new(low, high).unwrap_err().reason(),
                Reason::PolicyContradiction
            );
        }
        assert!(Watermarks::new(0, 100).is_ok());
    }
}
