//! What an ideal cache of the same size would have had at hand: it takes in everything that it misses, at no cost.

use std::collections::{BTreeMap, HashMap};

use payload_core::tiering::{Look, Victims};

/// A cache of so many objects of one size.
pub(super) trait Cache {
    /// Whether it has the object; it has it then.
    fn ask(&mut self, key: usize) -> bool;
}

/// Forgets what was asked for the longest ago.
pub(super) struct Lru {
    max: usize,
    last: HashMap<usize, u64>,
    order: BTreeMap<u64, usize>,
    now: u64,
}

impl Lru {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            last: HashMap::new(),
            order: BTreeMap::new(),
            now: 0,
        }
    }
}

impl Cache for Lru {
    fn ask(&mut self, key: usize) -> bool {
        self.now += 1;
        let before = self.last.insert(key, self.now);
        if let Some(before) = before {
            self.order.remove(&before);
        }
        self.order.insert(self.now, key);
        if self.last.len() > self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.last.remove(&oldest);
        }
        before.is_some()
    }
}

/// The index of the server, without the server.
pub(super) struct S3Fifo {
    max: usize,
    uses: HashMap<usize, u8>,
    victims: Victims<usize>,
}

impl S3Fifo {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            uses: HashMap::new(),
            victims: Victims::default(),
        }
    }
}

impl Cache for S3Fifo {
    fn ask(&mut self, key: usize) -> bool {
        if let Some(uses) = self.uses.get_mut(&key) {
            *uses = uses.saturating_add(1);
            return true;
        }
        if self.uses.len() == self.max {
            let uses = &mut self.uses;
            let picked = self.victims.pick(|key| Look::Free {
                uses: uses.get_mut(key).map_or(0, std::mem::take),
            });
            if let Some((victim, _)) = picked {
                self.uses.remove(&victim);
            }
        }
        self.uses.insert(key, 0);
        self.victims.insert(key, 1);
        false
    }
}

/// The share of hits, without the first tenth of the trace.
pub(super) fn hits(mut cache: impl Cache, trace: &[usize]) -> f64 {
    let warm = trace.len() / 10;
    let hits = trace
        .iter()
        .enumerate()
        .filter(|(at, key)| cache.ask(**key) && *at >= warm);
    hits.count() as f64 / (trace.len() - warm) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_last_is_there_and_what_is_too_much_is_not() {
        let trace: Vec<usize> = (0..10).flat_map(|key| [key, key]).collect();
        assert_eq!(hits(Lru::new(2), &trace), 0.5);
        assert_eq!(hits(S3Fifo::new(2), &trace), 0.5);
        let round: Vec<usize> = (0..30).map(|at| at % 3).collect();
        assert_eq!(hits(Lru::new(2), &round), 0.0);
        assert_eq!(hits(Lru::new(3), &round), 1.0);
    }
}
