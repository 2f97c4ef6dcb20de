//! Which replicas may be evicted: the index of candidates, and what is asked of each when its turn comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use payload_core::port::TierStore;
use payload_core::tiering::{Facts, Look, Watermarks};
use payload_core::{Policy, Replica, SpillTarget, StateKind, Tier};

use super::{BATCH_LEN, Evictor};
use crate::PerTier;
use crate::engine::Engine;
use crate::entry::{Entry, Live};

impl Engine {
    /// What may be evicted from a tier. There is nothing to know about one in which no room is made.
    pub(crate) fn evictor(&self, tier: Tier) -> &Evictor {
        self.evictors.get(tier).unwrap_or(&self.evictors.disk)
    }

    /// How much has to go, if anything has to.
    pub(crate) fn missing_room(&self, store: &dyn TierStore) -> u64 {
        self.room_short_of(store, Watermarks::excess)
    }

    /// What is only ready for payloads to come makes way by itself, and does not count. Nor does what was freed and somebody
    /// still has: the next victim's readers would keep that just as long, and one eviction would lead to all the others.
    pub(super) fn room_short_of(
        &self,
        store: &dyn TierStore,
        excess: impl Fn(&Watermarks, u64, u64, u64) -> u64,
    ) -> u64 {
        let tier = store.tier();
        let (Some(room), Some(watermarks)) = (self.rooms.get(tier), self.settings.watermarks.get(tier)) else {
            return 0;
        };
        let usage = store.usage();
        let used = usage.used.saturating_sub(usage.pool + usage.zombie);
        let (waiting, stuck) = room.waiting();
        let excess = excess(watermarks, self.ceiling(store, &usage), used, waiting);
        // Memory or descriptors may be short although the tier has room.
        excess.max(stuck.min(used))
    }

    pub(super) fn pick_victims(&self, tier: Tier, bytes: u64) -> Vec<Arc<Entry>> {
        let mut batch = Vec::new();
        let mut index = self.evictor(tier).index.lock();
        let mut chosen = 0;
        while chosen < bytes && batch.len() < BATCH_LEN {
            let mut ranks = index.iter_mut();
            let Some((id, charged)) = ranks.find_map(|rank| rank.pick(|id| self.look(tier, *id))) else {
                break;
            };
            chosen += charged;
            batch.extend(self.table.get(id));
        }
        drop(index);
        for entry in &batch {
            entry.live().set_candidate(tier, false);
        }
        batch
    }

    fn look(&self, tier: Tier, id: payload_core::PayloadId) -> Look {
        let Some(entry) = self.table.get(id) else {
            return Look::Held;
        };
        let Some(mut live) = entry.try_live() else {
            return Look::Free { uses: 1 };
        };
        if !self.may_go(&entry, &live, tier) {
            live.set_candidate(tier, false);
            return Look::Held;
        }
        let uses = live.uses.get_mut(tier).map_or(0, std::mem::take);
        let stays = tier == Tier::Ram && self.is_settling_in(&live);
        Look::Free {
            uses: if stays { u8::MAX } else { uses },
        }
    }

    /// Whether the replica in a tier may be given up now.
    pub(super) fn may_go(&self, entry: &Entry, live: &Live, tier: Tier) -> bool {
        let replica = live.replica_in(tier);
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
            here: replica.is_reachable_from(self.settings.node),
            leased: live.is_leased(replica.id),
            moving: entry.is_moving(),
            may_return: self.may_be_held_unknown(entry),
            set_aside: self.is_set_aside(live),
            pinned: live.is_pinned(replica),
            owing: live.row.owes().is_some(),
            settling: tier == Tier::Ram && self.stays_for(live).is_some(),
            copy_below: live.has_copy_below(tier),
            below: self.below(tier, live.row.policy),
        }
    }

    /// The tier that a payload is copied to when it has to leave one: where its policy says if that answers, else the next
    /// one down.
    pub(crate) fn below(&self, tier: Tier, policy: Policy) -> Option<Tier> {
        let is_there = |below: &Tier| *below > tier && policy.may_sink_to(*below) && self.tier(*below).is_ok();
        let answers = |below: &Tier| self.tier(*below).is_ok_and(|store| !store.usage().unavailable);
        let wished = (policy.spill_to == SpillTarget::Object).then_some(Tier::Object);
        let wished = wished.into_iter().filter(answers);
        wished.chain(Tier::ALL).find(is_there)
    }

    /// Puts a payload's replicas into the indexes, if they may be evicted and are not there. To be called whenever that may
    /// have begun.
    pub(crate) fn consider(&self, entry: &Arc<Entry>) {
        for tier in PerTier::<()>::TIERS {
            if self.enter_index(tier, entry) {
                self.evict_if_short(tier);
            }
        }
    }

    /// The same for one that a tier's evictor has had its turn with. It does not wake itself, or no pause of its would be one.
    pub(super) fn put_back(&self, evicted: Tier, entry: &Arc<Entry>) {
        for tier in PerTier::<()>::TIERS {
            if self.enter_index(tier, entry) && tier != evicted {
                self.evict_if_short(tier);
            }
        }
    }

    /// Returns whether it was not there, and is now.
    fn enter_index(&self, tier: Tier, entry: &Arc<Entry>) -> bool {
        let mut live = entry.live();
        if live.is_candidate(tier) {
            return false;
        }
        if !self.may_go(entry, &live, tier) {
            self.consider_after_stay(entry, &mut live);
            return false;
        }
        let (Some(replica), Some(rank)) = (live.replica_in(tier), live.row.policy.rank()) else {
            return false;
        };
        let charged = replica.charged;
        live.set_candidate(tier, true);
        // Under the payload's lock, so that whoever ends the payload next finds it in the index.
        self.evictor(tier).index.lock()[rank].insert(entry.id, charged);
        true
    }

    /// Takes a payload out of the index of a tier that it has no replica in any more.
    pub(crate) fn forget_victim(&self, tier: Tier, entry: &Entry) {
        let mut live = entry.live();
        if live.set_candidate(tier, false) {
            let mut index = self.evictor(tier).index.lock();
            index.iter_mut().for_each(|rank| rank.remove(&entry.id));
        }
    }

    /// Considers everything that was held only because earlier sessions could still have come back. What was to be spilled
    /// meanwhile goes.
    pub(crate) fn consider_all(&self) {
        for entry in self.table.all() {
            let is_draining = entry.live().draining().next().is_some();
            match is_draining {
                true => self.drain_later(entry),
                false => self.consider(&entry),
            }
        }
    }

    /// Some of those that go soon from a tier, if nobody uses them.
    pub(crate) fn next_victims(&self, tier: Tier, count: usize) -> Vec<Arc<Entry>> {
        let index = self.evictor(tier).index.lock();
        let few = index.iter().flat_map(|rank| rank.next_few(count));
        let ids: Vec<payload_core::PayloadId> = few.take(count).collect();
        drop(index);
        ids.into_iter().filter_map(|id| self.table.get(id)).collect()
    }

    /// Others each time of those up to a rank, so many of each rank, and after a while all.
    pub(crate) fn some_candidates(&self, tier: Tier, rank: usize, count: usize) -> Vec<Arc<Entry>> {
        let evictor = self.evictor(tier);
        let place = evictor.compared.fetch_add(count, Ordering::Relaxed);
        let index = evictor.index.lock();
        let some = index
            .iter()
            .take(rank + 1)
            .flat_map(|rank| rank.some_from(place, count));
        let ids: Vec<payload_core::PayloadId> = some.collect();
        drop(index);
        ids.into_iter().filter_map(|id| self.table.get(id)).collect()
    }

    /// Wakes a tier's evictor if it has something to do.
    pub(crate) fn evict_if_short(&self, tier: Tier) {
        let Some(signal) = self.evict_signals.get(tier) else {
            return;
        };
        if self.tier(tier).is_ok_and(|store| self.missing_room(store) > 0) {
            signal.raise();
        }
    }
}
