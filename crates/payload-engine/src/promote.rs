//! Promote: bring a payload into a faster tier, because somebody asks for it or because it is read.
//!
//! One copy is made however many ask: whoever comes while it is under way waits for it at the payload's mover, and finds it
//! done. A failure is everybody's own: the next in line tries again.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::policy::RANKS;
use payload_core::tiering::Heat;
use payload_core::{Error, Namespace, Payload, PayloadId, Policy, Reason, ReplicaId, Result, Span, Tier};

use crate::engine::Engine;
use crate::entry::{Entry, Live};
use crate::fuse::rides;
use crate::mover::only;
use crate::replicate::Patience;
use crate::room::is_shortage;
use crate::timers::Due;

/// A payload that is leased so often within a while is fetched without being asked for. Once is not enough: most reads are
/// the only one.
const HOT: u32 = 2;
/// How many that could go for it are compared with a payload that is to be fetched because it is hot.
const COMPARED: usize = 32;
/// What was fetched counts as used for so long. Else two payloads that are read in turn could push each other out all the
/// time, and be copied more often than read.
const RESIDENCE_MIN: Span = Span::from_secs(5);
/// What is in the bucket alone is fetched into RAM to be leased, unless it is bigger than this part of it.
const HERE_SHARE: u64 = 4;
/// How many payloads may wait to be fetched without anybody waiting for them; those that come on top have to be read again
/// or asked for again.
const WISHES_MAX: usize = 4_096;

/// Payloads that are to be fetched when there is time.
#[derive(Debug, Default)]
pub(crate) struct Wishes(Mutex<VecDeque<Arc<Entry>>>);

/// What is used clearly less than what is to come.
struct Cooler {
    /// Its rank, and how hot it is.
    turn: (Option<usize>, u32),
    charged: u64,
    entry: Arc<Entry>,
}

/// Why a payload is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Somebody asked for it.
    Asked,
    /// It is read a lot; it must be read clearly more than what would have to go for it.
    Hot,
}

impl Wishes {
    /// The first few, and how many there are.
    pub(crate) fn first(&self, count: usize) -> (Vec<Arc<Entry>>, usize) {
        let wishes = self.0.lock();
        (wishes.iter().take(count).cloned().collect(), wishes.len())
    }
}

impl Engine {
    /// Brings a payload into a tier or keeps it above, and returns when it is there. Waits for room if there is none.
    pub fn promote(&self, namespace: &Namespace, id: PayloadId, to: Tier) -> Result<Arc<Payload>> {
        only(self.promote_all(namespace, &[id], to))
    }

    /// The same for many, several at a time; each has its own result.
    pub fn promote_all(&self, namespace: &Namespace, ids: &[PayloadId], to: Tier) -> Vec<Result<Arc<Payload>>> {
        let found = ids.iter().map(|id| self.promotable(namespace, *id, to)).collect();
        self.move_found(found, |entries| {
            // What comes to disk goes one by one: some of it may be above already, and each waits for room by itself.
            let rides = match to {
                Tier::Ram => rides(entries, to),
                Tier::Disk | Tier::Object => (0..entries.len()).map(|at| vec![at]).collect(),
            };
            let moved = self.in_crew(&rides, |ride| match &ride[..] {
                [at] => vec![(*at, self.promote_entry(&entries[*at], to))],
                ride => {
                    let added = self.add_replicas(entries, ride, to, Patience::InLine, "promotion");
                    let each = ride.iter().zip(added);
                    each.map(|(at, added)| (*at, added.map(|added| self.fetched(&entries[*at], to, added))))
                        .collect()
                }
            });
            let mut moved: Vec<_> = moved.into_iter().flatten().collect();
            moved.sort_unstable_by_key(|(at, _)| *at);
            moved.into_iter().map(|(_, result)| result).collect()
        })
    }

    fn promote_entry(&self, entry: &Arc<Entry>, to: Tier) -> Result<()> {
        let is_above = entry.live().readable().any(|replica| replica.tier() < to);
        match is_above {
            true => Ok(()),
            false => self.fetch(entry, to, Patience::InLine, "promotion"),
        }
    }

    /// Has payloads brought into RAM when there is time and room, and does not wait for it.
    pub fn prefetch_all(&self, namespace: &Namespace, ids: &[PayloadId], to: Tier) -> Vec<Result<Arc<Payload>>> {
        ids.iter().map(|id| self.prefetch(namespace, *id, to)).collect()
    }

    /// The same for one.
    pub fn prefetch(&self, namespace: &Namespace, id: PayloadId, to: Tier) -> Result<Arc<Payload>> {
        if to != Tier::Ram {
            return Err(Error::invalid(Reason::BadRequest, "what is fetched ahead is fetched into RAM").field("to"));
        }
        let entry = self.promotable(namespace, id, to)?;
        let mut live = entry.live();
        if live.replica_in(to).is_none() && !self.wish_for(&entry, &mut live, Wish::Asked) {
            return Err(Error::new(
                Reason::Overloaded,
                format!("{WISHES_MAX} payloads wait to be fetched already"),
            )
            .retry_after(Span::from_secs(1)));
        }
        Ok(Arc::clone(&live.row))
    }

    fn promotable(&self, namespace: &Namespace, id: PayloadId, to: Tier) -> Result<Arc<Entry>> {
        if self.below(to, Policy::default()).is_none() {
            return Err(Error::invalid(
                Reason::BadRequest,
                format!("a promotion goes up, and nothing is below {to}"),
            )
            .field("to"));
        }
        let entry = self.entry(namespace, id)?;
        let moment = self.leasing_moment(&entry)?;
        entry.live().leasable(moment)?;
        Ok(entry)
    }

    /// Makes sure that there is a replica in a tier.
    pub(crate) fn fetch(&self, entry: &Arc<Entry>, to: Tier, patience: Patience, why: &'static str) -> Result<()> {
        let added = self.add_replica(entry, to, patience, why)?;
        self.fetched(entry, to, added);
        Ok(())
    }

    /// What follows from there being a replica that somebody asked for.
    fn fetched(&self, entry: &Arc<Entry>, to: Tier, added: bool) {
        match added {
            true if to == Tier::Ram => entry.live().promoted_at = Some(self.now()),
            true => {}
            // One that was to go when its leases end stays. The gate is there so that it is not going at this moment.
            false => {
                let _gate = entry.gate();
                let mut live = entry.live();
                let live = &mut *live;
                live.leaving
                    .retain(|leaving| live.row.replica(*leaving).is_none_or(|replica| replica.tier() != to));
            }
        }
        self.consider(entry);
    }

    /// Makes sure that there is a replica that a descriptor can be had of: in RAM, or on disk if RAM has no room for it. A
    /// payload that would take up much of RAM comes to disk at once.
    pub(crate) fn fetch_here(&self, entry: &Arc<Entry>, why: &'static str) -> Result<()> {
        let capacity = self.tier(Tier::Ram)?.usage().capacity;
        if entry.row().size > capacity / HERE_SHARE {
            return self.fetch(entry, Tier::Disk, Patience::InLine, why);
        }
        match self.fetch(entry, Tier::Ram, Patience::InLine, why) {
            Err(error) if is_shortage(&error) => self.fetch(entry, Tier::Disk, Patience::InLine, why),
            done => done,
        }
    }

    /// Counts a use of a replica, and has the payload fetched if it is hot and that replica is not in RAM.
    pub(crate) fn count_use(&self, entry: &Arc<Entry>, live: &mut Live, replica: ReplicaId) {
        let now = self.now();
        let tier = live.row.replica(replica).map_or(Tier::Ram, payload_core::Replica::tier);
        if let Some(uses) = live.uses.get_mut(tier) {
            *uses = uses.saturating_add(1);
        }
        live.heat.warm(now);
        let below = tier > Tier::Ram;
        if below && live.heat.reaches(HOT, now) && !live.has_ready(Tier::Ram) {
            self.wish_for(entry, live, Wish::Hot);
        }
    }

    /// Whether what was fetched has not been there for long enough to be given up again.
    pub(crate) fn is_settling_in(&self, live: &Live) -> bool {
        live.promoted_at.is_some_and(|at| self.now().since(at) < RESIDENCE_MIN)
    }

    /// How much longer the replica in RAM stays at least, because its policy says so.
    ///
    /// The time since the commit is by the wall clock: that is known after a restart too. A commit in the future has been
    /// there for long enough, or a clock that is set back would keep payloads for as much.
    pub(crate) fn stays_for(&self, live: &Live) -> Option<Span> {
        let span = live.row.policy.min_residency?;
        let wall = self.wall();
        let committed = live.row.committed_at.filter(|at| *at <= wall).map(|at| at.until(wall));
        let fetched = live.promoted_at.map(|at| self.now().since(at));
        let left = span.saturating_sub(committed.into_iter().chain(fetched).min()?);
        (left > Span::ZERO).then_some(left)
    }

    /// Considers the payload for eviction again when it has stayed for as long as its policy says.
    pub(crate) fn consider_after_stay(&self, entry: &Arc<Entry>, live: &mut Live) {
        if let Some(left) = self.stays_for(live).filter(|_| live.stay.is_none()) {
            let over = self.now().after(left);
            live.stay = Some(self.timers.set(over, Due::StayOver(Arc::downgrade(entry))));
        }
    }

    /// Has a payload fetched when there is time; false if too many wait already.
    pub(crate) fn wish_for(&self, entry: &Arc<Entry>, live: &mut Live, wish: Wish) -> bool {
        if live.wished.is_some() {
            return true;
        }
        let mut wishes = self.wishes.0.lock();
        if wishes.len() >= WISHES_MAX {
            return false;
        }
        live.wished = Some(wish);
        wishes.push_back(Arc::clone(entry));
        self.fetch_signal.raise();
        true
    }

    /// Fetches what was wished for, as long as there is room. That may bring RAM above its high watermark: then something
    /// goes that is used less.
    pub fn fetch_wishes(&self) {
        loop {
            let Some(entry) = self.wishes.0.lock().pop_front() else {
                return;
            };
            let mut live = entry.live();
            let wish = live.wished.take();
            let (row, heat, aside) = (Arc::clone(&live.row), live.heat, self.is_set_aside(&live));
            drop(live);
            let may_come = |wish| self.makes_way(&row, heat, wish);
            if aside || !wish.is_some_and(may_come) {
                continue;
            }
            if let Err(error) = self.fetch(&entry, Tier::Ram, Patience::None, "prefetch") {
                tracing::debug!(payload = %entry.id, %error, "could not fetch a payload ahead");
            }
        }
    }

    /// Whether there is room for what is wished for. For what is merely hot as much is given up as it needs and no more, of
    /// what is used clearly less and of no higher priority: if the evictor made room for it, down to its low watermark, what goes would be wanted again at
    /// once, and so on.
    fn makes_way(&self, row: &Payload, heat: Heat, wish: Wish) -> bool {
        let Ok(store) = self.tier(Tier::Ram) else { return false };
        let usage = store.usage();
        let capacity = self.ceiling(store, &usage);
        let used = usage.used.saturating_sub(usage.pool).saturating_add(row.size);
        let missing = self.settings.watermarks.ram.above_high(capacity, used);
        match wish {
            Wish::Asked => used <= capacity,
            Wish::Hot => missing == 0 || self.replace_cooler(missing, row.policy, heat),
        }
    }

    /// Gives up the coolest of some that may go, those of low priority first, until there is so much room; false, and none goes,
    /// if there are not enough that are used clearly less.
    fn replace_cooler(&self, missing: u64, policy: Policy, heat: Heat) -> bool {
        let now = self.now();
        let rank = policy.rank().unwrap_or(RANKS);
        let mut cooler: Vec<Cooler> = Vec::new();
        for entry in self.some_candidates(Tier::Ram, rank, COMPARED) {
            let live = entry.live();
            let charged = live.replica_in(Tier::Ram).map_or(0, |replica| replica.charged);
            if heat.is_worth_replacing(&live.heat, now) && !self.is_settling_in(&live) {
                let turn = (live.row.policy.rank(), live.heat.count(now));
                let entry = Arc::clone(&entry);
                cooler.push(Cooler { turn, charged, entry });
            }
        }
        if cooler.iter().map(|one| one.charged).sum::<u64>() < missing {
            return false;
        }
        cooler.sort_unstable_by_key(|one| one.turn);
        let mut freed = 0;
        for Cooler { charged, entry, .. } in cooler {
            if freed >= missing {
                break;
            }
            match self.replace(Tier::Ram, &entry) {
                Ok(true) => freed += charged,
                Ok(false) => {}
                // The evictor says so when it meets the same.
                Err(_) => return false,
            }
        }
        freed >= missing
    }
}
