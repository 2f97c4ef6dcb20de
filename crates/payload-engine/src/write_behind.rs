//! Write behind: the copies that payloads owe, because they are to survive more than their commits have promised.
//!
//! The commit is acknowledged before. A worker makes the copies, the oldest first and small ones many at a time, and the change of
//! the row that names one also promises what was to be reached. Until then nothing of the payload is given up. What is owed is said by
//! the row itself, so a server that starts again goes on with it. How much may be owed is bounded: what comes on top is written
//! through, and its commit waits for that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::{Durability, NodeId, Payload, PayloadId, Policy, Result, Span, Tier};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::fuse::rides;
use crate::replicate::Patience;

/// How many payloads are taken up at a time.
const BATCH: usize = 256;
/// How many payloads may owe something; what they take up has a bound of its own.
const OWED_MAX: usize = 100_000;
/// After a round in which nothing could be copied the worker waits this long, and longer each time it happens again.
const PAUSE_MIN: Span = Span::from_millis(100);
const PAUSE_MAX: Span = Span::from_secs(10);

/// Which payloads of this node owe something, in the order in which it is their turn.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    book: Mutex<Book>,
    /// Doubled by each round that fails.
    pause: Mutex<Option<Span>>,
}

#[derive(Debug, Default)]
struct Book {
    debts: HashMap<PayloadId, Debt>,
    line: BTreeMap<u64, PayloadId>,
    last: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Debt {
    place: u64,
    size: u64,
}

impl Owed {
    /// Takes note of what a row owes, and returns whether that is new.
    fn follow(&self, row: &Payload, node: NodeId) -> bool {
        let mut book = self.book.lock();
        match row.owes().is_some() && row.is_on(node) {
            true => book.add(row.id, row.size),
            false => {
                book.remove(row.id);
                false
            }
        }
    }

    /// How many owe something, and how many bytes.
    pub(crate) fn totals(&self) -> (usize, u64) {
        let book = self.book.lock();
        (book.debts.len(), book.bytes)
    }

    /// Those whose turn it is.
    pub(crate) fn first(&self, count: usize) -> Vec<PayloadId> {
        self.book.lock().line.values().take(count).copied().collect()
    }

    /// Lets all others go first.
    fn postpone(&self, id: PayloadId) {
        let mut book = self.book.lock();
        if let Some(debt) = book.remove(id) {
            book.add(id, debt.size);
        }
    }

    fn forget(&self, id: PayloadId) {
        self.book.lock().remove(id);
    }

    fn next_pause(&self) -> Span {
        let mut pause = self.pause.lock();
        let next = pause.map_or(PAUSE_MIN, |last| (last * 2).min(PAUSE_MAX));
        *pause = Some(next);
        next
    }
}

impl Book {
    fn add(&mut self, id: PayloadId, size: u64) -> bool {
        if self.debts.contains_key(&id) {
            return false;
        }
        self.last += 1;
        let place = self.last;
        self.line.insert(place, id);
        self.debts.insert(id, Debt { place, size });
        self.bytes += size;
        true
    }

    fn remove(&mut self, id: PayloadId) -> Option<Debt> {
        let debt = self.debts.remove(&id)?;
        self.line.remove(&debt.place);
        self.bytes -= debt.size;
        Some(debt)
    }
}

impl Engine {
    /// Takes note of a row that is true now. Most owe nothing, and never did.
    pub(crate) fn note_owed(&self, row: &Payload) {
        if row.policy.write_behind.is_some() && self.owed.follow(row, self.settings.node) {
            self.write_behind_signal.raise();
        }
    }

    /// What a commit promises that was to promise `promised`: all that was to come after it, if too much is owed already. Those that
    /// commit at the same moment may all find that there is room for one more.
    pub(crate) fn promise_now(&self, policy: Policy, promised: Durability, size: u64) -> Durability {
        let Some(soon) = policy.write_behind.filter(|soon| *soon > promised) else {
            return promised;
        };
        let (count, bytes) = self.owed.totals();
        match count < OWED_MAX && bytes.saturating_add(size) <= self.owed_most() {
            true => promised,
            false => {
                self.metrics.written_through();
                soon
            }
        }
    }

    /// How many bytes may be owed: what is owed is not given up, so this is what it may keep from others.
    fn owed_most(&self) -> u64 {
        let capacity = self.tier(Tier::Ram).map_or(0, |store| store.usage().capacity);
        let most = u128::from(capacity) * u128::from(self.settings.write_behind_max) / 100;
        u64::try_from(most).unwrap_or(u64::MAX)
    }

    /// Makes the copies that are owed. Returns when to try again what could not be made; what comes next wakes the worker.
    pub fn write_behind(&self) -> Result<Option<Span>> {
        loop {
            let ids = self.owed.first(BATCH);
            if ids.is_empty() {
                return Ok(None);
            }
            match self.pay(&ids)? {
                0 => return Ok(Some(self.owed.next_pause())),
                _ => *self.owed.pause.lock() = None,
            }
        }
    }

    /// Copies some of what is owed, and returns how many do not owe anything any more.
    fn pay(&self, ids: &[PayloadId]) -> Result<usize> {
        let mut debtors: Vec<(Arc<Entry>, Tier)> = Vec::with_capacity(ids.len());
        let mut paid = 0;
        for id in ids {
            let entry = self.table.get_or_load(*id, self.repository())?;
            let owes = entry.as_ref().and_then(|entry| entry.row().owes());
            match (entry, owes) {
                (Some(entry), Some(_)) if self.is_set_aside(&entry.live()) => self.owed.postpone(*id),
                (Some(entry), Some(soon)) => debtors.push((entry, soon.tier())),
                _ => {
                    self.owed.forget(*id);
                    paid += 1;
                }
            }
        }
        for to in Tier::ALL {
            let there = debtors.iter().filter(|(_, tier)| *tier == to);
            let part: Vec<Arc<Entry>> = there.map(|(entry, _)| Arc::clone(entry)).collect();
            paid += self.copy_owed(&part, to);
        }
        Ok(paid)
    }

    fn copy_owed(&self, debtors: &[Arc<Entry>], to: Tier) -> usize {
        let rides = rides(debtors, to);
        let made = self.in_crew(&rides, |ride| {
            let copied = self.add_replicas(debtors, ride, to, Patience::None, "write-behind");
            let each = copied.into_iter().zip(ride);
            each.filter(|(copied, at)| self.is_paid(&debtors[**at], copied)).count()
        });
        made.into_iter().sum()
    }

    fn is_paid(&self, entry: &Arc<Entry>, copied: &Result<bool>) -> bool {
        if let Err(error) = copied {
            tracing::debug!(payload = %entry.id, %error, "could not write a payload behind");
        }
        if entry.row().owes().is_some() {
            self.owed.postpone(entry.id);
            return false;
        }
        // It was kept for that alone.
        self.consider(entry);
        true
    }
}
