//! How replicas leave a tier: dropped, given up with their payload, or copied down first.

use std::sync::Arc;

use payload_core::{Error, LifecycleEvent, PayloadId, Reason, Result, SpillTarget, Tier};

use super::{Evictor, PAUSE_MAX, PAUSE_MIN};
use crate::delete::Guards;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::fuse::rides;
use crate::metrics::Eviction;
use crate::replicate::{Dropped, Patience};
use crate::transition::Cause;

/// What became of one victim.
enum Fate {
    Gone,
    /// Somebody took it while it was being copied; what was copied makes the next attempt cheap.
    Taken,
    Failed(Error),
}

impl Engine {
    /// Cheapest first: what has a copy goes at once, then what may be given up altogether; the rest is copied, several at a
    /// time so that the tier below is busy and syncs are shared. Returns how many went; fails if none did and something went
    /// wrong.
    pub(super) fn evict_batch(&self, tier: Tier, batch: &[Arc<Entry>]) -> Result<usize> {
        let (clean, dirty): (Vec<_>, Vec<_>) = batch.iter().partition(|entry| is_clean(entry, tier));
        let (void, dirty): (Vec<_>, Vec<_>) = dirty.into_iter().partition(|entry| goes_to_void(entry));
        let mut gone = 0;
        let mut failure = None;
        let mut note = |fate: Fate| match fate {
            Fate::Gone => gone += 1,
            Fate::Taken => {}
            Fate::Failed(error) => failure = Some(error),
        };
        clean.into_iter().for_each(|entry| note(self.evict(tier, entry)));
        void.into_iter().for_each(|entry| note(self.give_up(tier, entry)));
        for to in Tier::ALL {
            let goes_there = |entry: &&&Arc<Entry>| self.below(tier, entry.row().policy) == Some(to);
            let part: Vec<Arc<Entry>> = dirty.iter().filter(goes_there).copied().cloned().collect();
            let rides = rides(&part, to);
            let fates = self.in_crew(&rides, |ride| {
                let copied = self.add_replicas(&part, ride, to, Patience::None, "spill");
                let each = copied.into_iter().zip(ride);
                each.map(|(copied, at)| self.evict_copied(tier, &part[*at], copied))
                    .collect::<Vec<_>>()
            });
            fates.into_iter().flatten().for_each(&mut note);
        }
        match failure {
            Some(error) if gone == 0 => Err(error),
            _ => Ok(gone),
        }
    }

    /// Ends a payload whose policy is to go altogether.
    fn give_up(&self, tier: Tier, entry: &Arc<Entry>) -> Fate {
        let gate = entry.gate();
        let mut live = entry.live();
        if !self.may_go(entry, &live, tier) {
            return Fate::Taken;
        }
        // From here on nobody gets a lease.
        live.closing = true;
        let row = Arc::clone(&live.row);
        drop(live);
        let charged = row.replicas.iter().map(|replica| replica.charged).sum();
        let cause = Cause::server("mover").because(shortage(tier).into());
        let guards = Guards::BY_ITSELF;
        match self.end(&gate, LifecycleEvent::Discard, guards, &cause, &row.owner, None) {
            Ok(_) => {
                self.metrics.evicted(tier, Eviction::Discarded, charged);
                Fate::Gone
            }
            // A stream still needs it: it makes room like any other.
            Err(error) if error.reason() == Reason::PayloadHeld => {
                drop(gate);
                self.evict(tier, entry)
            }
            Err(error) => Fate::Failed(error),
        }
    }

    /// Gives up the replica in a tier, if it may still go; the payload is copied down first if need be. Returns whether it went.
    pub(crate) fn replace(&self, tier: Tier, entry: &Arc<Entry>) -> Result<bool> {
        if !self.may_go(entry, &entry.live(), tier) || goes_to_void(entry) {
            return Ok(false);
        }
        match self.evict(tier, entry) {
            Fate::Gone => Ok(true),
            Fate::Taken => Ok(false),
            Fate::Failed(error) => Err(error),
        }
    }

    fn evict(&self, tier: Tier, entry: &Arc<Entry>) -> Fate {
        let copied = match self.below(tier, entry.row().policy) {
            Some(below) if !is_clean(entry, tier) => self.add_replica(entry, below, Patience::None, "spill"),
            _ => Ok(false),
        };
        self.evict_copied(tier, entry, copied)
    }

    /// What comes after the copy, which may have been there already.
    fn evict_copied(&self, tier: Tier, entry: &Arc<Entry>, copied: Result<bool>) -> Fate {
        let how = match copied {
            Ok(true) => Eviction::Spilled,
            Ok(false) => Eviction::Clean,
            // Deleted meanwhile: that made room too.
            Err(error) if error.reason() == Reason::Conflict => return Fate::Taken,
            Err(error) => return Fate::Failed(error),
        };
        match self.drop_replica(entry, tier, shortage(tier)) {
            Ok(Dropped::Gone(bytes)) => {
                self.metrics.evicted(tier, how, bytes);
                Fate::Gone
            }
            Ok(Dropped::Stays) => Fate::Taken,
            Err(error) => Fate::Failed(error),
        }
    }
}

impl Evictor {
    /// Those that are to go in the round that is under way, if one is.
    pub(crate) fn chosen(&self) -> Vec<PayloadId> {
        self.chosen.lock().clone()
    }

    /// How many replicas may go when their turn comes, and how many bytes they take up. One that is held since it was put
    /// there still counts, until it is met.
    pub(crate) fn candidates(&self) -> (usize, u64) {
        let index = self.index.lock();
        index.iter().fold((0, 0), |(count, bytes), rank| {
            (count + rank.len(), bytes + rank.bytes())
        })
    }

    pub(super) fn next_pause(&self, tier: Tier, error: &Error) -> payload_core::Span {
        let mut pause = self.pause.lock();
        let next = pause.map_or(PAUSE_MIN, |last| (last * 2).min(PAUSE_MAX));
        // Whoever commits or waits for room wakes the evictor before its time. That it is as bad as it was need not be said again.
        match pause.replace(next) == Some(next) {
            true => tracing::debug!(%tier, %error, again_in = ?next, "could not make room"),
            false => tracing::warn!(%tier, %error, again_in = ?next, "could not make room"),
        }
        next
    }
}

/// Whether the replica in a tier has a copy below.
fn is_clean(entry: &Entry, tier: Tier) -> bool {
    entry.live().has_copy_below(tier)
}

fn goes_to_void(entry: &Entry) -> bool {
    entry.row().policy.spill_to == SpillTarget::Void
}

pub(super) fn is_in_shared(entry: &Entry, tier: Tier) -> bool {
    let live = entry.live();
    let replica = live.replica_in(tier);
    replica.is_some_and(|replica| replica.location.is_shared())
}

const fn shortage(tier: Tier) -> &'static str {
    match tier {
        Tier::Ram => "memory is short",
        Tier::Disk | Tier::Object => "the disk tier is full",
    }
}
