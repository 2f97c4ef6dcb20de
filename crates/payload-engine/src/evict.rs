//! Evict: keep RAM and disk below their watermarks, by giving up replicas that nobody holds.
//!
//! A replica with a copy below is simply dropped; one without is *spilled*: copied down first, from RAM to disk and from disk
//! to the bucket. The index of candidates is filled by whoever makes a replica evictable (a commit, the last release) and
//! emptied by the evictor alone, so granting a lease costs nothing but a counter; a replica that turns out to be held when its
//! turn comes leaves the index, and its last release puts it back. What is on disk and in no memory is looked for in the
//! catalog (`cold.rs`).

mod candidates;
mod cold;
mod leave;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use payload_core::policy::RANKS;
use payload_core::tiering::{Victims, Watermarks};
use payload_core::{PayloadId, Result, Span, Tier};

use self::cold::{Cold, Search};
use self::leave::is_in_shared;
use crate::PerTier;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::room::is_shortage;

/// How many bytes are chosen at a time: enough to keep the tier below busy, little enough that readers who come meanwhile are
/// noticed.
const BATCH_BYTES: u64 = 256 << 20;
/// How many replicas are chosen at a time.
const BATCH_LEN: usize = 256;
/// After a round in which nothing could be given up, the evictor waits this long, and longer each time it happens again.
const PAUSE_MIN: Span = Span::from_millis(100);
const PAUSE_MAX: Span = Span::from_secs(10);

/// What may be evicted from a tier, and how the last attempts went.
#[derive(Debug, Default)]
pub(crate) struct Evictor {
    /// By rank: the first are emptied before the next are looked at.
    index: Mutex<[Victims<PayloadId>; RANKS]>,
    /// Doubled by each round that fails.
    pause: Mutex<Option<Span>>,
    /// Those that are to go in this round.
    chosen: Mutex<Vec<PayloadId>>,
    /// How far the catalog has been looked through for candidates.
    cold: Mutex<Cold>,
    /// How far the candidates were compared with what would like to come.
    compared: AtomicUsize,
    /// How much the evictor above found no room for: it goes although the watermarks would let it stay.
    wanted: AtomicU64,
}

impl Engine {
    /// Gives up replicas in a tier until it is below the low watermark, if it was above the high one, and until those that
    /// wait for room have some. Returns when to look again if that did not work; else the next need wakes the worker.
    pub fn make_room(&self, tier: Tier) -> Result<Option<Span>> {
        let (store, evictor) = (self.tier(tier)?, self.evictor(tier));
        let wanted = evictor.wanted.swap(0, Ordering::Relaxed);
        let mut need = self.missing_room(store).max(wanted);
        while need > 0 {
            let batch = self.pick_victims(tier, need.min(BATCH_BYTES));
            if batch.is_empty() {
                match self.find_candidates(tier)? {
                    Search::Found => continue,
                    Search::Nothing => return Ok(None),
                    Search::NotBefore(pause) => return Ok(Some(pause)),
                }
            }
            let shared = batch.iter().any(|entry| is_in_shared(entry, tier));
            *evictor.chosen.lock() = batch.iter().map(|entry| entry.id).collect();
            let gone = self.evict_batch(tier, &batch);
            evictor.chosen.lock().clear();
            batch.iter().for_each(|entry| self.put_back(tier, entry));
            if shared {
                self.sweep()?;
            }
            match gone {
                // Readers were quicker, everywhere.
                Ok(0) => return Ok(Some(PAUSE_MIN)),
                Ok(_) => {
                    *evictor.pause.lock() = None;
                    self.evict_into(tier);
                }
                Err(error) => {
                    if is_shortage(&error) {
                        self.want_below(tier, &batch);
                    }
                    return Ok(Some(evictor.next_pause(tier, &error)));
                }
            }
            need = self.room_short_of(store, Watermarks::above_low);
        }
        Ok(None)
    }

    /// Has room made in the tiers below for the largest of those that could not go there.
    fn want_below(&self, tier: Tier, batch: &[Arc<Entry>]) {
        for below in PerTier::<()>::TIERS.into_iter().filter(|below| *below > tier) {
            let there = |entry: &&Arc<Entry>| self.below(tier, entry.row().policy) == Some(below);
            let sizes = batch.iter().filter(there).map(|entry| entry.row().size);
            let (Some(size), Some(signal)) = (sizes.max(), self.evict_signals.get(below)) else {
                continue;
            };
            self.evictor(below).wanted.fetch_max(size, Ordering::Relaxed);
            signal.raise();
        }
    }

    /// There is more room in a tier than before: the evictors above that wait because there was none try again. Not to be
    /// called for what was given up because it did not work out: they would wake themselves with it.
    pub(crate) fn evict_into(&self, tier: Tier) {
        for above in PerTier::<()>::TIERS.into_iter().filter(|above| *above < tier) {
            if self.evictor(above).pause.lock().is_some() {
                self.evict_if_short(above);
            }
        }
    }
}
