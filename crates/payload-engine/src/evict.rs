//! Evict: keep RAM below its watermark, by giving up replicas that nobody holds.
//!
//! A replica with a copy below is simply dropped; one without is *spilled*: copied to disk first. The index of candidates is
//! filled by whoever makes a replica evictable (a commit, the last release) and emptied by the evictor alone, so granting a
//! lease costs nothing but a counter; a replica that turns out to be held when its turn comes leaves the index, and its last
//! release puts it back.

use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::policy::RANKS;
use payload_core::port::TierStore;
use payload_core::tiering::{Facts, Look, Victims, Watermarks};
use payload_core::{Error, LifecycleEvent, PayloadId, Reason, Replica, Result, Span, SpillTarget, StateKind, Tier};

use crate::delete::Guards;
use crate::engine::Engine;
use crate::entry::{Entry, Live};
use crate::fuse::rides;
use crate::metrics::Eviction;
use crate::replicate::{Dropped, Patience};
use crate::transition::Cause;

/// How many bytes are chosen at a time: enough to keep the disk busy, little enough that readers who come meanwhile are
/// noticed.
const BATCH_BYTES: u64 = 256 << 20;
/// How many replicas are chosen at a time.
const BATCH_LEN: usize = 256;
/// After a round in which nothing could be given up, the evictor waits this long, and longer each time it happens again.
const PAUSE_MIN: Span = Span::from_millis(100);
const PAUSE_MAX: Span = Span::from_secs(10);

/// What may be evicted from RAM, and how the last attempts went.
#[derive(Debug, Default)]
pub(crate) struct Evictor {
    /// By rank: the first are emptied before the next are looked at.
    index: Mutex<[Victims<PayloadId>; RANKS]>,
    /// Doubled by each round that fails.
    pause: Mutex<Option<Span>>,
    /// Those that are to go in this round.
    chosen: Mutex<Vec<PayloadId>>,
}

/// What became of one victim.
enum Fate {
    Gone,
    /// Somebody took it while it was being copied; what was copied makes the next attempt cheap.
    Taken,
    Failed(Error),
}

impl Engine {
    /// Gives up replicas in RAM until it is below the low watermark, if it was above the high one, and until those that wait
    /// for room have some. Returns when to look again if that did not work; else the next need wakes the worker.
    pub fn make_room(&self) -> Result<Option<Span>> {
        let store = self.tier(Tier::Ram)?;
        let mut need = self.missing_room(store);
        while need > 0 {
            let batch = self.pick_victims(need.min(BATCH_BYTES));
            if batch.is_empty() {
                return Ok(None);
            }
            let shared = batch.iter().any(|entry| is_in_shared(entry));
            *self.evictor.chosen.lock() = batch.iter().map(|entry| entry.id).collect();
            let gone = self.evict_batch(&batch);
            self.evictor.chosen.lock().clear();
            batch.iter().for_each(|entry| self.consider(entry));
            if shared {
                self.sweep()?;
            }
            match gone {
                // Readers were quicker, everywhere.
                Ok(0) => return Ok(Some(PAUSE_MIN)),
                Ok(_) => *self.evictor.pause.lock() = None,
                Err(error) => return Ok(Some(self.evictor.next_pause(&error))),
            }
            need = self.room_short_of(store, Watermarks::above_low);
        }
        Ok(None)
    }

    /// How much has to go, if anything has to.
    pub(crate) fn missing_room(&self, store: &dyn TierStore) -> u64 {
        self.room_short_of(store, Watermarks::excess)
    }

    /// What is only ready for payloads to come makes way by itself, and does not count. Nor does what was freed and somebody
    /// still has: the next victim's readers would keep that just as long, and one eviction would lead to all the others.
    fn room_short_of(&self, store: &dyn TierStore, excess: impl Fn(&Watermarks, u64, u64, u64) -> u64) -> u64 {
        let usage = store.usage();
        let used = usage.used.saturating_sub(usage.pool + usage.zombie);
        let (waiting, stuck) = self.room.waiting();
        let excess = excess(
            &self.settings.ram_watermarks,
            self.ceiling(store, &usage),
            used,
            waiting,
        );
        // Memory or descriptors may be short although the tier has room.
        excess.max(stuck.min(used))
    }

    fn pick_victims(&self, bytes: u64) -> Vec<Arc<Entry>> {
        let mut batch = Vec::new();
        let mut index = self.evictor.index.lock();
        let mut chosen = 0;
        while chosen < bytes && batch.len() < BATCH_LEN {
            let mut ranks = index.iter_mut();
            let Some((id, charged)) = ranks.find_map(|rank| rank.pick(|id| self.look(*id))) else {
                break;
            };
            chosen += charged;
            batch.extend(self.table.get(id));
        }
        drop(index);
        for entry in &batch {
            entry.live().evictable = false;
        }
        batch
    }

    fn look(&self, id: PayloadId) -> Look {
        let Some(entry) = self.table.get(id) else {
            return Look::Held;
        };
        let Some(mut live) = entry.try_live() else {
            return Look::Free { uses: 1 };
        };
        if !self.may_go(&entry, &live) {
            live.evictable = false;
            return Look::Held;
        }
        let uses = std::mem::take(&mut live.uses);
        Look::Free {
            uses: if self.is_settling_in(&live) { u8::MAX } else { uses },
        }
    }

    /// Whether the replica in RAM may be given up now.
    fn may_go(&self, entry: &Entry, live: &Live) -> bool {
        let replica = live.replica_in(Tier::Ram);
        replica.is_some_and(|replica| self.facts(entry, live, replica).may_go())
    }

    /// All that decides whether a replica may be given up.
    pub(crate) fn facts(&self, entry: &Entry, live: &Live, replica: &Replica) -> Facts {
        let tier = replica.tier();
        Facts {
            tier,
            policy: live.row.policy,
            settled: live.row.state.kind() == StateKind::Active && !live.closing,
            in_doubt: live.in_doubt,
            here: replica.node == self.settings.node,
            leased: live.is_leased(replica.id),
            moving: entry.is_moving(),
            may_return: self.may_be_held_unknown(entry),
            set_aside: self.is_set_aside(live),
            copy_below: live.readable().any(|other| other.tier() > tier),
        }
    }

    /// Puts a replica into the index, if it may be evicted and is not there. To be called whenever that may have begun.
    pub(crate) fn consider(&self, entry: &Arc<Entry>) {
        let mut live = entry.live();
        if live.evictable || !self.may_go(entry, &live) {
            return;
        }
        let (Some(replica), Some(rank)) = (live.replica_in(Tier::Ram), live.row.policy.rank()) else {
            return;
        };
        let charged = replica.charged;
        live.evictable = true;
        // Under the payload's lock, so that whoever ends the payload next finds it in the index.
        self.evictor.index.lock()[rank].insert(entry.id, charged);
        drop(live);
        self.evict_if_short();
    }

    /// Takes a payload out of the index that has no replica in RAM any more.
    pub(crate) fn forget_victim(&self, entry: &Entry) {
        let mut live = entry.live();
        if std::mem::take(&mut live.evictable) {
            let mut index = self.evictor.index.lock();
            index.iter_mut().for_each(|rank| rank.remove(&entry.id));
        }
    }

    /// Considers everything that was held only because earlier sessions could still have come back. What was to be spilled
    /// meanwhile goes.
    pub(crate) fn consider_all(&self) {
        for entry in self.table.all() {
            let is_draining = entry.live().draining().is_some();
            match is_draining {
                true => self.drain_later(entry),
                false => self.consider(&entry),
            }
        }
    }

    /// Some of those that go soon, if nobody uses them.
    pub(crate) fn next_victims(&self, count: usize) -> Vec<Arc<Entry>> {
        let index = self.evictor.index.lock();
        let few = index.iter().flat_map(|rank| rank.next_few(count));
        let ids: Vec<PayloadId> = few.take(count).collect();
        drop(index);
        ids.into_iter().filter_map(|id| self.table.get(id)).collect()
    }

    /// Wakes the evictor if it has something to do.
    pub(crate) fn evict_if_short(&self) {
        if self.tier(Tier::Ram).is_ok_and(|store| self.missing_room(store) > 0) {
            self.evict_signal.raise();
        }
    }

    /// Cheapest first: what has a copy goes at once, then what may be given up altogether; the rest is copied, several at a
    /// time so that the disk is busy and syncs are shared. Returns how many went; fails if none did and something went wrong.
    fn evict_batch(&self, batch: &[Arc<Entry>]) -> Result<usize> {
        let (clean, dirty): (Vec<_>, Vec<_>) = batch.iter().partition(|entry| is_clean(entry));
        let (void, dirty): (Vec<_>, Vec<_>) = dirty.into_iter().partition(|entry| goes_to_void(entry));
        let mut gone = 0;
        let mut failure = None;
        let mut note = |fate: Fate| match fate {
            Fate::Gone => gone += 1,
            Fate::Taken => {}
            Fate::Failed(error) => failure = Some(error),
        };
        clean.into_iter().for_each(|entry| note(self.evict(entry)));
        void.into_iter().for_each(|entry| note(self.give_up(entry)));
        let dirty: Vec<Arc<Entry>> = dirty.into_iter().cloned().collect();
        let rides = rides(&dirty, Tier::Disk);
        let fates = self.in_crew(&rides, |ride| {
            let copied = self.add_replicas(&dirty, ride, Tier::Disk, Patience::None, "spill");
            let each = copied.into_iter().zip(ride);
            each.map(|(copied, at)| self.evict_copied(&dirty[*at], copied))
                .collect::<Vec<_>>()
        });
        fates.into_iter().flatten().for_each(note);
        match failure {
            Some(error) if gone == 0 => Err(error),
            _ => Ok(gone),
        }
    }

    /// Ends a payload whose policy is to go altogether.
    fn give_up(&self, entry: &Arc<Entry>) -> Fate {
        let gate = entry.gate();
        let mut live = entry.live();
        if !self.may_go(entry, &live) {
            return Fate::Taken;
        }
        // From here on nobody gets a lease.
        live.closing = true;
        let row = Arc::clone(&live.row);
        drop(live);
        let charged = row.replicas.iter().map(|replica| replica.charged).sum();
        let cause = Cause::server("mover").because("memory is short".into());
        let guards = Guards::BY_ITSELF;
        match self.end(&gate, LifecycleEvent::Discard, guards, &cause, &row.owner, None) {
            Ok(_) => {
                self.metrics.evicted(Eviction::Discarded, charged);
                Fate::Gone
            }
            // A stream still needs it: it makes room like any other.
            Err(error) if error.reason() == Reason::PayloadHeld => {
                drop(gate);
                self.evict(entry)
            }
            Err(error) => Fate::Failed(error),
        }
    }

    fn evict(&self, entry: &Arc<Entry>) -> Fate {
        let copied = match is_clean(entry) {
            true => Ok(false),
            false => self.add_replica(entry, Tier::Disk, Patience::None, "spill"),
        };
        self.evict_copied(entry, copied)
    }

    /// What comes after the copy, which may have been there already.
    fn evict_copied(&self, entry: &Arc<Entry>, copied: Result<bool>) -> Fate {
        let how = match copied {
            Ok(true) => Eviction::Spilled,
            Ok(false) => Eviction::Clean,
            // Deleted meanwhile: that made room too.
            Err(error) if error.reason() == Reason::Conflict => return Fate::Taken,
            Err(error) => return Fate::Failed(error),
        };
        match self.drop_replica(entry, Tier::Ram, "memory is short") {
            Ok(Dropped::Gone(bytes)) => {
                self.metrics.evicted(how, bytes);
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

    fn next_pause(&self, error: &Error) -> Span {
        let mut pause = self.pause.lock();
        let next = pause.map_or(PAUSE_MIN, |last| (last * 2).min(PAUSE_MAX));
        *pause = Some(next);
        tracing::warn!(%error, again_in = ?next, "could not make room in RAM");
        next
    }
}

/// Whether the replica in RAM has a copy below.
fn is_clean(entry: &Entry) -> bool {
    entry.live().readable().any(|replica| replica.tier() > Tier::Ram)
}

fn goes_to_void(entry: &Entry) -> bool {
    entry.row().policy.spill_to == SpillTarget::Void
}

fn is_in_shared(entry: &Entry) -> bool {
    let live = entry.live();
    let replica = live.replica_in(Tier::Ram);
    replica.is_some_and(|replica| replica.location.is_shared())
}
