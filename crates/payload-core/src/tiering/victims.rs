//! What goes first when room is needed: S3-FIFO, counted in bytes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// The new line is as long as this part of the whole before the proven one is looked at.
const NEW_SHARE: u64 = 10;
/// More uses than this are not remembered: what was hot once must cool down within a few looks.
const CREDIT_MAX: u8 = 3;
/// When so many in a row were used, everything is about equally hot, and whatever comes next will do: looks cost time, and
/// somebody waits.
const LOOKS_MAX: u32 = 4_096;
/// A newcomer that was used so often is proven. Once is not enough: most payloads are written, read once, and never again.
const PROVEN: u8 = 2;

/// The replicas of one tier and one priority that may be given up, in the order in which they would be.
///
/// S3-FIFO (Yang et al., SOSP 2023): newcomers stand in a short line, and those that were used twice before they came to its
/// end go over to a long one; the others are victims, and are remembered for a while without their bytes, so that one which
/// comes back goes to the long line at once. There, a use buys another round.
///
/// Why this and not LRU: a read costs nothing here. It raises a counter in the payload's own entry, which is locked anyway;
/// LRU moves the entry to the front of a list that all readers share. And payloads that pass through once (a scan, a
/// pipeline of which nothing is ever read again) leave by the short line without pushing out what is read all the time. The
/// test `trace.rs` compares the two, and plain FIFO, on the same traces.
///
/// About 100 bytes for each replica; every operation is O(1), amortised.
#[derive(Debug)]
pub struct Victims<K> {
    places: HashMap<K, Place>,
    new: Line<K>,
    proven: Line<K>,
    ghosts: Ghosts<K>,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// Which of a key's places in the lines is the true one; others are left over.
    number: u64,
    bytes: u64,
    credit: u8,
    proven: bool,
}

/// What a look at a replica shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It may go; it was used so often since the last look.
    Free {
        /// Leases granted on it.
        uses: u8,
    },
    /// It may not go now. It leaves the index until it is inserted again.
    Held,
}

impl<K: Copy + Eq + Hash> Default for Victims<K> {
    fn default() -> Self {
        Self {
            places: HashMap::new(),
            new: Line::default(),
            proven: Line::default(),
            ghosts: Ghosts::default(),
            number: 0,
        }
    }
}

impl<K: Copy + Eq + Hash> Victims<K> {
    /// Adds a replica that may go. One that is here already stays where it is.
    pub fn insert(&mut self, key: K, bytes: u64) {
        if self.places.contains_key(&key) {
            return;
        }
        let proven = self.ghosts.take(&key);
        self.put(key, bytes, 0, proven);
    }

    /// Takes a replica out that is gone.
    pub fn remove(&mut self, key: &K) {
        self.take(key);
        self.ghosts.take(key);
    }

    /// The replica to give up now, and what it takes up; it is not here any more. `look` is asked about those that come before it, too.
    pub fn pick(&mut self, mut look: impl FnMut(&K) -> Look) -> Option<(K, u64)> {
        let mut looks = 0;
        while let Some(key) = self.next() {
            looks += 1;
            let place = self.take(&key).expect("the lines' next has a place");
            let Look::Free { uses } = look(&key) else {
                // It comes back to the line that it leaves: being held by its first reader proves nothing yet.
                if place.proven {
                    self.ghosts.add(key, self.places.len());
                }
                continue;
            };
            let credit = place.credit.saturating_add(uses).min(CREDIT_MAX);
            match place.proven {
                _ if looks > LOOKS_MAX => return Some((key, place.bytes)),
                false if credit >= PROVEN => self.put(key, place.bytes, 0, true),
                true if credit > 0 => self.put(key, place.bytes, credit - 1, true),
                _ => {
                    self.ghosts.add(key, self.places.len());
                    return Some((key, place.bytes));
                }
            }
        }
        None
    }

    /// Some of those that go soon, if nobody uses them.
    pub fn next_few(&self, count: usize) -> impl Iterator<Item = K> + '_ {
        let few = |line: &Line<K>| {
            let keys = line
                .keys
                .iter()
                .filter(|(key, number)| is_true(&self.places, key, *number));
            keys.map(|(key, _)| *key).take(count).collect::<Vec<_>>()
        };
        few(&self.new).into_iter().chain(few(&self.proven))
    }

    /// A few of those that may go, from a place in their lines on. Whoever comes again with a place that much further sees others,
    /// and after a while all of them.
    pub fn some_from(&self, place: usize, count: usize) -> Vec<K> {
        let (new, proven) = (&self.new.keys, &self.proven.keys);
        let from = place.checked_rem(new.len() + proven.len()).unwrap_or(0);
        let new_ones = new.iter().skip(from);
        let keys = new_ones.chain(proven.iter().skip(from.saturating_sub(new.len())));
        let here = keys.filter(|(key, number)| is_true(&self.places, key, *number));
        here.map(|(key, _)| *key).take(count).collect()
    }

    /// How many replicas may go.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none may.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What they take up.
    pub fn bytes(&self) -> u64 {
        self.new.bytes + self.proven.bytes
    }

    fn next(&mut self) -> Option<K> {
        let from_new = self.proven.bytes == 0 || self.new.bytes > self.bytes() / NEW_SHARE;
        let (first, second) = match from_new {
            true => (&mut self.new, &mut self.proven),
            false => (&mut self.proven, &mut self.new),
        };
        first.front(&self.places).or_else(|| second.front(&self.places))
    }

    fn put(&mut self, key: K, bytes: u64, credit: u8, proven: bool) {
        self.number += 1;
        let number = self.number;
        let place = Place {
            number,
            bytes,
            credit,
            proven,
        };
        self.places.insert(key, place);
        let line = self.line(proven);
        line.bytes += bytes;
        line.len += 1;
        line.keys.push_back((key, number));
    }

    fn take(&mut self, key: &K) -> Option<Place> {
        let place = self.places.remove(key)?;
        let line = match place.proven {
            true => &mut self.proven,
            false => &mut self.new,
        };
        line.bytes -= place.bytes;
        line.len -= 1;
        line.tidy(&self.places);
        Some(place)
    }

    fn line(&mut self, proven: bool) -> &mut Line<K> {
        match proven {
            true => &mut self.proven,
            false => &mut self.new,
        }
    }
}

/// Keys in order. What was taken out of the middle stays as a left-over until it is passed, or there are too many.
#[derive(Debug)]
struct Line<K> {
    keys: VecDeque<(K, u64)>,
    len: usize,
    bytes: u64,
}

impl<K> Default for Line<K> {
    fn default() -> Self {
        Self {
            keys: VecDeque::new(),
            len: 0,
            bytes: 0,
        }
    }
}

impl<K: Copy + Eq + Hash> Line<K> {
    fn front(&mut self, places: &HashMap<K, Place>) -> Option<K> {
        while let Some((key, number)) = self.keys.front() {
            if is_true(places, key, *number) {
                return Some(*key);
            }
            self.keys.pop_front();
        }
        None
    }

    fn tidy(&mut self, places: &HashMap<K, Place>) {
        if self.keys.len() > 2 * self.len + 64 {
            self.keys.retain(|(key, number)| is_true(places, key, *number));
        }
    }
}

fn is_true<K: Eq + Hash>(places: &HashMap<K, Place>, key: &K, number: u64) -> bool {
    places.get(key).is_some_and(|place| place.number == number)
}

/// Those that went not long ago: as many as there are replicas.
#[derive(Debug)]
struct Ghosts<K> {
    known: HashSet<K>,
    order: VecDeque<K>,
}

impl<K> Default for Ghosts<K> {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> Ghosts<K> {
    const LEAST: usize = 64;

    fn add(&mut self, key: K, max: usize) {
        if self.known.insert(key) {
            self.order.push_back(key);
        }
        while self.order.len() > max.max(Self::LEAST) {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Whether it was here. Its place in the order is left over, and can at most cut the memory of its next visit short.
    fn take(&mut self, key: &K) -> bool {
        self.known.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Look = Look::Free { uses: 0 };

    fn with(count: u32) -> Victims<u32> {
        let mut victims = Victims::default();
        (0..count).for_each(|key| victims.insert(key, 10));
        victims
    }

    fn next(victims: &mut Victims<u32>) -> Option<u32> {
        victims.pick(|_| IDLE).map(|(key, _)| key)
    }

    #[test]
    fn what_nobody_uses_goes_in_the_order_in_which_it_came() {
        let mut victims = with(5);
        let order: Vec<u32> = std::iter::from_fn(|| next(&mut victims)).collect();
        assert_eq!(order, [0, 1, 2, 3, 4]);
        assert_eq!(with(5).next_few(2).collect::<Vec<_>>(), [0, 1]);
        assert!(victims.is_empty() && victims.bytes() == 0);
    }

    #[test]
    fn what_is_used_twice_outlives_what_comes_once() {
        let mut victims = with(20);
        let mut uses = HashMap::from([(0, 2), (1, 1)]);
        let mut take = |victims: &mut Victims<u32>| {
            let picked = victims.pick(|key| Look::Free {
                uses: uses.remove(key).unwrap_or(0),
            });
            picked.map(|(key, _)| key)
        };
        assert_eq!(take(&mut victims), Some(1), "one use proves nothing");
        for newcomer in 2..18 {
            assert_eq!(take(&mut victims), Some(newcomer));
        }
        assert!(victims.places.contains_key(&0));
    }

    #[test]
    fn what_is_held_is_looked_at_once_and_comes_back_when_it_is_inserted_again() {
        let mut victims = with(3);
        let mut looks = Vec::new();
        let picked = victims.pick(|key| {
            looks.push(*key);
            if *key == 0 { Look::Held } else { IDLE }
        });
        assert_eq!((picked, &looks[..]), (Some((1, 10)), &[0, 1][..]));
        looks.clear();
        assert_eq!(
            victims.pick(|key| {
                looks.push(*key);
                IDLE
            }),
            Some((2, 10))
        );
        assert_eq!(looks, [2]);
        assert_eq!(next(&mut victims), None);
        victims.insert(0, 10);
        assert_eq!(next(&mut victims), Some(0));
    }

    #[test]
    fn what_is_taken_out_is_not_offered_and_leaves_nothing() {
        let mut victims = with(10_000);
        for key in (0..10_000).filter(|key| key % 10 != 0) {
            victims.remove(&key);
        }
        assert_eq!((victims.len(), victims.bytes()), (1_000, 10_000));
        assert!(victims.new.keys.len() <= 2 * 1_000 + 64, "left-overs are thrown away");
        for key in 0..1_000 {
            victims.insert(key * 10, 10);
            assert_eq!(next(&mut victims), Some(key * 10));
        }
        assert!(victims.is_empty());
    }

    #[test]
    fn however_hot_everything_is_there_is_a_victim() {
        let mut victims = with(100_000);
        let mut looks = 0;
        let victim = victims.pick(|_| {
            looks += 1;
            Look::Free { uses: 255 }
        });
        assert!(victim.is_some() && looks <= LOOKS_MAX + 1);
    }
}
