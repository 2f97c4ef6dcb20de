//! The algorithm against its alternatives, on traces like those that payloads see.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Look, Victims};

/// A cache of so many objects of one size: it is asked for one after the other, and fetches what it has not.
trait Cache {
    /// Whether it has the object; fetched if not.
    fn ask(&mut self, key: u32) -> bool;
}

struct S3Fifo {
    max: usize,
    uses: HashMap<u32, u8>,
    victims: Victims<u32>,
}

impl Cache for S3Fifo {
    fn ask(&mut self, key: u32) -> bool {
        if let Some(uses) = self.uses.get_mut(&key) {
            *uses = uses.saturating_add(1);
            return true;
        }
        if self.uses.len() == self.max {
            let uses = &mut self.uses;
            let victim = self.victims.pick(|key| Look::Free {
                uses: std::mem::take(uses.get_mut(key).expect("what is in the index is in the cache")),
            });
            let (victim, _) = victim.expect("a full cache has a victim");
            self.uses.remove(&victim);
        }
        self.uses.insert(key, 0);
        self.victims.insert(key, 1);
        false
    }
}

struct Lru {
    max: usize,
    last: HashMap<u32, u64>,
    order: VecDeque<(u32, u64)>,
    now: u64,
}

impl Cache for Lru {
    fn ask(&mut self, key: u32) -> bool {
        self.now += 1;
        let hit = self.last.contains_key(&key);
        while !hit && self.last.len() == self.max {
            let (oldest, at) = self.order.pop_front().expect("a full cache has an order");
            if self.last.get(&oldest) == Some(&at) {
                self.last.remove(&oldest);
            }
        }
        self.last.insert(key, self.now);
        self.order.push_back((key, self.now));
        hit
    }
}

struct Fifo {
    max: usize,
    here: HashSet<u32>,
    order: VecDeque<u32>,
}

impl Cache for Fifo {
    fn ask(&mut self, key: u32) -> bool {
        if !self.here.insert(key) {
            return true;
        }
        self.order.push_back(key);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.here.remove(&oldest);
        }
        false
    }
}

/// Hits in a thousand, the first tenth of the trace not counted.
fn hits(cache: &mut dyn Cache, trace: &[u32]) -> usize {
    let warm = trace.len() / 10;
    let hits = trace
        .iter()
        .enumerate()
        .filter(|(at, key)| cache.ask(**key) && *at >= warm);
    hits.count() * 1_000 / (trace.len() - warm)
}

/// S3-FIFO, LRU, FIFO.
fn compare(max: usize, trace: &[u32]) -> [usize; 3] {
    let mut s3 = S3Fifo {
        max,
        uses: HashMap::new(),
        victims: Victims::default(),
    };
    let mut lru = Lru {
        max,
        last: HashMap::new(),
        order: VecDeque::new(),
        now: 0,
    };
    let mut fifo = Fifo {
        max,
        here: HashSet::new(),
        order: VecDeque::new(),
    };
    [hits(&mut s3, trace), hits(&mut lru, trace), hits(&mut fifo, trace)]
}

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Some objects are asked for much more often than others: the k-th in proportion to 1/k.
fn zipf(random: &mut Random, count: u32) -> impl FnMut() -> u32 {
    let mut sums: Vec<f64> = Vec::new();
    for k in 1..=count {
        sums.push(sums.last().unwrap_or(&0.0) + 1.0 / f64::from(k));
    }
    let mut random = Random(random.next() | 1);
    move || {
        let at = random.part() * sums[sums.len() - 1];
        // Spread, so that neighbours in rank are not neighbours in age.
        (sums.partition_point(|sum| *sum < at) as u32).wrapping_mul(7_919) % count
    }
}

#[test]
fn hot_payloads_are_kept_at_least_as_well_as_by_the_alternatives() {
    let mut random = Random(1);
    let mut popular = zipf(&mut random, 10_000);
    let trace: Vec<u32> = (0..300_000).map(|_| popular()).collect();
    for max in [500, 1_000, 3_000] {
        let [s3, lru, fifo] = compare(max, &trace);
        assert!(s3 > lru && s3 > fifo, "{max}: s3-fifo {s3}, lru {lru}, fifo {fifo}");
    }
}

#[test]
fn payloads_that_pass_through_once_do_not_push_out_what_is_read_all_the_time() {
    let mut random = Random(2);
    let mut popular = zipf(&mut random, 10_000);
    // Each is written, and read once a little later; half of all accesses are like that.
    let mut trace = Vec::new();
    for passing in 1_000_000..1_100_000 {
        trace.extend([passing, popular(), popular(), passing - 8]);
    }
    let [s3, lru, fifo] = compare(1_000, &trace);
    assert!(
        s3 >= lru + 50 && s3 >= fifo + 50,
        "s3-fifo {s3}, lru {lru}, fifo {fifo}"
    );
}

#[test]
fn fault_46_a_working_set_a_little_too_big_is_served_from_memory_most_of_the_time() {
    let mut random = Random(3);
    let mut popular = zipf(&mut random, 1_200);
    let trace: Vec<u32> = (0..200_000).map(|_| popular()).collect();
    let [s3, lru, fifo] = compare(1_000, &trace);
    assert!(s3 >= lru && s3 >= fifo, "s3-fifo {s3}, lru {lru}, fifo {fifo}");
    // Round and round is the worst for who forgets what was used longest ago: everything, just before it is needed.
    let round: Vec<u32> = (0..200_000).map(|at| at % 1_200).collect();
    let [s3, lru, _] = compare(1_000, &round);
    assert!(s3 >= lru, "round and round: s3-fifo {s3}, lru {lru}");
}
