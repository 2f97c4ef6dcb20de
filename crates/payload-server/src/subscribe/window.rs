//! What is under way to a subscriber: sent, and not acknowledged yet.

use std::collections::VecDeque;

use payload_core::stream::Offset;

/// Entries under way, bounded, and the place that comes after them.
pub(super) struct Window {
    max: usize,
    in_flight: VecDeque<Offset>,
    next: Offset,
}

impl Window {
    /// Nothing is under way, and `next` is the first that will be.
    pub(super) fn new(max: usize, next: Offset) -> Self {
        Self {
            max,
            in_flight: VecDeque::new(),
            next,
        }
    }

    /// How many more entries may be sent.
    pub(super) fn room(&self) -> usize {
        self.max - self.in_flight.len()
    }

    /// The first place that was not looked at yet.
    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// From where to go on for whoever has dealt only with what it acknowledged.
    pub(super) fn resume(&self) -> Offset {
        self.in_flight.front().copied().unwrap_or(self.next)
    }

    /// Notes what was sent; everything before `next` was looked at.
    pub(super) fn sent(&mut self, offsets: impl Iterator<Item = Offset>, next: Offset) {
        self.in_flight.extend(offsets);
        self.next = next;
    }

    /// Everything before `until` is dealt with; false if that was not even sent.
    pub(super) fn acknowledge(&mut self, until: Offset) -> bool {
        if until > self.next {
            return false;
        }
        while self.in_flight.front().is_some_and(|first| *first < until) {
            self.in_flight.pop_front();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(value: u64) -> Offset {
        Offset::from_u64(value)
    }

    #[test]
    fn room_comes_back_with_acknowledgements_and_the_place_to_go_on_is_the_first_without_one() {
        let mut window = Window::new(4, offset(10));
        assert_eq!((window.room(), window.resume()), (4, offset(10)));
        // A filter left 11 and 13 out.
        window.sent([10, 12, 14].map(offset).into_iter(), offset(15));
        assert_eq!(
            (window.room(), window.resume(), window.next()),
            (1, offset(10), offset(15))
        );
        for (until, room, resume) in [
            (10, 1, 10),
            (11, 2, 12),
            (12, 2, 12),
            (11, 2, 12),
            (13, 3, 14),
            (15, 4, 15),
        ] {
            assert!(window.acknowledge(offset(until)));
            assert_eq!(
                (window.room(), window.resume()),
                (room, offset(resume)),
                "until {until}"
            );
        }
        assert!(!window.acknowledge(offset(16)), "it was not sent");
    }
}
