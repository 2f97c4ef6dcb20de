//! Who of those that wait for room gets it next.

use std::collections::{BTreeMap, VecDeque};

/// A queue that is fair between its members, by bytes.
///
/// Each member (a namespace) has a line of its own, first come first served. Between the lines the one is next whose first
/// request *finishes* earliest, on a clock that counts bytes: a request begins when the one before it in its line finishes,
/// and takes as long as it has bytes (self-clocked fair queueing). So:
///
/// - a small request does not wait for the big ones of others, because it finishes before they do;
/// - a big one does not wait for ever for small ones: the clock goes on with each that is served, whoever comes later
///   begins later, and nobody gets more than the big one's own bytes ahead of it;
/// - the room is kept for the one whose turn it is; whoever comes after it in that order does not take it away.
///
/// A deficit round robin gives the same bounds but hands out turns in rounds of a fixed quantum, and no quantum suits both
/// a kilobyte and a terabyte.
#[derive(Debug)]
pub struct Turns<M> {
    /// Where the last that was served finished.
    clock: u128,
    lines: BTreeMap<M, VecDeque<Waiting>>,
    /// The sum of what they wait for; a sum of `u64`s that cannot overflow.
    bytes: u128,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticket: u64,
    bytes: u64,
    finish: u128,
}

impl<M> Default for Turns<M> {
    fn default() -> Self {
        Self {
            clock: 0,
            lines: BTreeMap::new(),
            bytes: 0,
            len: 0,
        }
    }
}

impl<M: Ord + Clone> Turns<M> {
    /// Stands in line. Tickets are the caller's, and greater for whoever comes later.
    pub fn join(&mut self, member: &M, ticket: u64, bytes: u64) {
        let line = self.lines.entry(member.clone()).or_default();
        let begin = line.back().map_or(self.clock, |last| last.finish.max(self.clock));
        line.push_back(Waiting {
            ticket,
            bytes,
            finish: begin + u128::from(bytes.max(1)),
        });
        self.bytes += u128::from(bytes);
        self.len += 1;
    }

    /// Whose turn it is.
    pub fn next(&self) -> Option<u64> {
        let firsts = self.lines.values().filter_map(|line| line.front());
        firsts
            .min_by_key(|first| (first.finish, first.ticket))
            .map(|first| first.ticket)
    }

    /// Takes somebody who was served out of the line.
    pub fn served(&mut self, member: &M, ticket: u64) {
        if let Some(waiting) = self.leave(member, ticket) {
            self.clock = self.clock.max(waiting.finish);
        }
    }

    /// Takes somebody who gave up out of the line.
    pub fn gave_up(&mut self, member: &M, ticket: u64) {
        self.leave(member, ticket);
    }

    /// What they wait for, together.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.bytes).unwrap_or(u64::MAX)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn leave(&mut self, member: &M, ticket: u64) -> Option<Waiting> {
        let line = self.lines.get_mut(member)?;
        let at = line.iter().position(|waiting| waiting.ticket == ticket)?;
        let waiting = line.remove(at)?;
        if line.is_empty() {
            self.lines.remove(member);
        }
        self.len -= 1;
        self.bytes -= u128::from(waiting.bytes);
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves everybody, and says in which order.
    fn serve_all(turns: &mut Turns<&'static str>, members: &BTreeMap<u64, &'static str>) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some(ticket) = turns.next() {
            turns.served(&members[&ticket], ticket);
            order.push(ticket);
        }
        assert!(turns.is_empty() && turns.bytes() == 0);
        order
    }

    #[test]
    fn namespaces_get_the_same_bytes_whoever_asks_more_often() {
        let mut turns = Turns::default();
        let mut members = BTreeMap::new();
        let wishes = [
            ("a", 100),
            ("a", 100),
            ("a", 100),
            ("b", 50),
            ("b", 50),
            ("b", 50),
            ("b", 50),
        ];
        for (ticket, (member, bytes)) in wishes.into_iter().enumerate() {
            turns.join(&member, ticket as u64, bytes);
            members.insert(ticket as u64, member);
        }
        assert_eq!((turns.len(), turns.bytes()), (7, 500));
        assert_eq!(serve_all(&mut turns, &members), [3, 0, 4, 5, 1, 6, 2]);
    }

    #[test]
    fn a_small_request_passes_the_big_ones_of_others_but_not_its_own() {
        let mut turns = Turns::default();
        let members = BTreeMap::from([(0, "big"), (1, "big"), (2, "small")]);
        turns.join(&"big", 0, 1 << 40);
        turns.join(&"big", 1, 1);
        turns.join(&"small", 2, 1);
        assert_eq!(serve_all(&mut turns, &members), [2, 0, 1]);
    }

    #[test]
    fn a_big_request_waits_for_no_more_than_its_own_bytes_of_each_other() {
        let mut turns = Turns::default();
        turns.join(&"big", 0, 1_000);
        let (mut ticket, mut passed) = (1, 0);
        turns.join(&"small", ticket, 10);
        // A new small one comes with every one that is served, for ever.
        while let Some(next) = turns.next().filter(|next| *next != 0) {
            turns.served(&"small", next);
            passed += 10;
            ticket += 1;
            turns.join(&"small", ticket, 10);
            assert!(passed <= 1_000, "the big one starves");
        }
        assert_eq!(turns.next(), Some(0));
        assert!(passed >= 900, "the small ones had their share");
    }

    #[test]
    fn who_gives_up_is_not_served_and_holds_nobody_up() {
        let mut turns = Turns::default();
        turns.join(&"a", 0, 10);
        turns.join(&"a", 1, 20);
        turns.gave_up(&"a", 0);
        turns.gave_up(&"a", 0);
        turns.gave_up(&"b", 7);
        assert_eq!((turns.next(), turns.len(), turns.bytes()), (Some(1), 1, 20));
        turns.served(&"a", 1);
        assert_eq!(turns.next(), None);
    }
}
