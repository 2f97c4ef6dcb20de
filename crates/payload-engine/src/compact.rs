//! Compact: give back the room of payloads that have gone from slabs and packs in which others are left.
//!
//! A shared container is never written again, so its room comes back only as a whole. When too little of it is used, what is
//! left is copied into a new one: the copies first, complete and synced; then each row names its new place instead of the old, so
//! that no crash can bring the old one back; then the old bytes are given up, and the sweep drops the container. A server that
//! dies in between leaves bytes that no row names.
//!
//! A container in which somebody holds a lease is left alone. A lease that comes while the rows are being written stays where
//! it was granted: the old bytes are given up when it ends.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use payload_core::port::{Placed, TierStore};
use payload_core::{
    Container, Digest, ErrorKind, EventKind, Instant, Payload, PayloadId, Replica, ReplicaState, Result, Span,
    StateKind, Tier,
};

use crate::engine::Engine;
use crate::entry::{Entry, Live};
use crate::paths::time_for;
use crate::transition::Cause;

/// How many payloads of a container are copied in one go.
const BATCH: u32 = 256;
/// A container that could not be emptied is looked at again after so long: that reads a row for each payload in it.
const PUT_OFF: Span = Span::from_secs(60);
/// How often one looks for containers that have become worth it.
const ROUND: Span = Span::from_secs(1);

/// When a shared container is compacted, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Compaction {
    /// When less than this share of it is used, in per cent; zero: never.
    pub below: u8,
    /// How many bytes are copied in a second.
    pub rate: u64,
}

/// Containers that could not be emptied, and until when they are left alone.
#[derive(Debug, Default)]
pub(crate) struct PutOff(Mutex<HashMap<Container, Instant>>);

/// One payload that is to leave a container. Nobody else copies it meanwhile.
struct Tenant<'a> {
    entry: &'a Arc<Entry>,
    row: Arc<Payload>,
    replica: Replica,
    bytes: Vec<u8>,
    digest: Digest,
    _mover: MutexGuard<'a, ()>,
}

/// What became of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emptied {
    /// Nobody is left in it; so many bytes were copied.
    Yes(u64),
    /// Somebody holds a lease there, or is at work on a payload, or there is no room.
    Later,
}

impl PutOff {
    fn add(&self, container: Container, now: Instant) {
        self.0.lock().insert(container, now.after(PUT_OFF));
    }

    /// Whether it is too early. What is over is forgotten.
    fn holds(&self, container: Container, now: Instant) -> bool {
        let mut put_off = self.0.lock();
        put_off.retain(|_, until| now < *until);
        put_off.contains_key(&container)
    }
}

impl Engine {
    /// Compacts one container, if there is one that is worth it; returns when to look again, if ever.
    pub fn compact(&self) -> Result<Option<Span>> {
        let Compaction { below, rate } = self.settings.compaction;
        if below == 0 {
            return Ok(None);
        }
        for store in &self.ports.tiers {
            for container in store.hollow(below, &|container| self.room_used_in(container))? {
                if self.put_off.holds(container, self.now()) {
                    continue;
                }
                match self.empty(&**store, container) {
                    Ok(Emptied::Yes(bytes)) if bytes > 0 => {
                        self.metrics.compacted(store.tier(), bytes);
                        self.sweep()?;
                        return Ok(Some(time_for(bytes, rate)));
                    }
                    // Of one in which nobody is left, a lease still has a part.
                    Ok(Emptied::Yes(_) | Emptied::Later) => self.put_off.add(container, self.now()),
                    Err(error) => {
                        // The others have their turn first.
                        self.put_off.add(container, self.now());
                        return Err(error);
                    }
                }
            }
        }
        Ok(Some(ROUND))
    }

    /// What the rows charge for a container that an earlier server filled.
    fn room_used_in(&self, container: Container) -> Result<u64> {
        let (mut after, mut sum) = (None, 0);
        loop {
            let page = self.repository().payloads_in(container, after, BATCH)?;
            let Some((last, _)) = page.last() else { return Ok(sum) };
            after = Some(*last);
            sum += page.iter().map(|(_, charged)| charged).sum::<u64>();
        }
    }

    /// Copies everything out of a container.
    fn empty(&self, store: &dyn TierStore, container: Container) -> Result<Emptied> {
        if !self.is_unheld(container)? {
            return Ok(Emptied::Later);
        }
        let (mut after, mut copied) = (None, 0);
        loop {
            let page = self.repository().payloads_in(container, after, BATCH)?;
            let Some((last, _)) = page.last() else {
                return Ok(Emptied::Yes(copied));
            };
            after = Some(*last);
            let entries = self.entries_of(&page)?;
            let Some(tenants) = self.tenants(store, container, &entries)? else {
                return Ok(Emptied::Later);
            };
            copied += tenants.iter().map(|one| one.row.size).sum::<u64>();
            if !self.rehouse(store, &tenants)? {
                return Ok(Emptied::Later);
            }
        }
    }

    /// Whether nothing holds up any of a container's payloads, so that the copies would not be in vain.
    fn is_unheld(&self, container: Container) -> Result<bool> {
        let mut after = None;
        loop {
            let page = self.repository().payloads_in(container, after, BATCH)?;
            let Some((last, _)) = page.last() else { return Ok(true) };
            after = Some(*last);
            let held = |entry: &Arc<Entry>| self.may_leave(entry, &entry.live(), container).is_none();
            if self.entries_of(&page)?.iter().any(held) {
                return Ok(false);
            }
        }
    }

    fn entries_of(&self, page: &[(PayloadId, u64)]) -> Result<Vec<Arc<Entry>>> {
        let mut entries = Vec::with_capacity(page.len());
        for (id, _) in page {
            entries.extend(self.table.get_or_load(*id, self.repository())?);
        }
        Ok(entries)
    }

    /// The replica in a container, unless something keeps it there.
    fn may_leave(&self, entry: &Entry, live: &Live, container: Container) -> Option<Replica> {
        let replica = live.ready().find(|replica| replica.location.container() == container)?;
        let settled = live.row.state.kind() == StateKind::Active && !live.closing && !live.in_doubt;
        let held = live.is_leased(replica.id) || live.leaving.contains(&replica.id) || self.may_be_held_unknown(entry);
        (settled && !held).then(|| replica.clone())
    }

    /// Reads a part of a container; nothing if something there keeps it as it is.
    fn tenants<'a>(
        &self,
        store: &dyn TierStore,
        container: Container,
        entries: &'a [Arc<Entry>],
    ) -> Result<Option<Vec<Tenant<'a>>>> {
        let mut tenants = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(mover) = entry.try_mover() else {
                return Ok(None);
            };
            let live = entry.live();
            let Some(replica) = self.may_leave(entry, &live, container) else {
                return Ok(None);
            };
            let row = Arc::clone(&live.row);
            drop(live);
            let mut bytes = Vec::new();
            let read = store.read(&replica.location, row.size, &mut bytes);
            let digest = Digest::of(&bytes);
            if read.is_err() || row.digest.is_some_and(|committed| committed != digest) {
                drop(mover);
                // Damaged bytes are not worth a new place.
                self.verify_replicas(entry)?;
                return Ok(None);
            }
            tenants.push(Tenant {
                entry,
                row,
                replica,
                bytes,
                digest,
                _mover: mover,
            });
        }
        Ok(Some(tenants))
    }

    /// Copies them, and has their rows name the copies; false if it did not work for all.
    fn rehouse(&self, store: &dyn TierStore, tenants: &[Tenant<'_>]) -> Result<bool> {
        let Some(first) = tenants.first() else { return Ok(true) };
        let payloads: Vec<&[u8]> = tenants.iter().map(|one| &one.bytes[..]).collect();
        let mut jobs = Vec::with_capacity(tenants.len());
        let (mut complete, mut failed) = (true, None);
        for (one, placed) in tenants.iter().zip(store.store_all(&first.row.namespace, &payloads)) {
            match placed {
                Ok(placed) => jobs.push((one, Mutex::new(Some(placed)))),
                Err(error) if error.kind() == ErrorKind::ResourceExhausted => complete = false,
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            for placed in jobs.into_iter().filter_map(|(_, placed)| placed.into_inner()) {
                self.discard(placed);
            }
            return Err(error);
        }
        // Each waits for its own commit, and those that wait together share the sync.
        let moved = self.in_crew(&jobs, |(one, placed)| {
            let placed = placed.lock().take().expect("each job is done once");
            self.write_moved(store.tier(), one, placed)
        });
        for moved in moved {
            complete &= moved?;
        }
        Ok(complete)
    }

    /// Names the new place in the row, if everything still is as it was when the bytes were read.
    fn write_moved(&self, tier: Tier, one: &Tenant<'_>, placed: Placed) -> Result<bool> {
        let entry = one.entry;
        let gate = entry.gate();
        let row = entry.row();
        let stays = self.may_leave(entry, &entry.live(), one.replica.location.container());
        let Some(stays) = stays.filter(|replica| replica.location == one.replica.location) else {
            self.discard(placed);
            return Ok(false);
        };
        let mut after = Payload::clone(&row);
        after.digest = Some(one.digest);
        after.replicas.retain(|replica| replica.id != one.replica.id);
        let moved = Replica {
            pin: stays.pin,
            ..self.replica(&placed, ReplicaState::Ready)
        };
        let moved_to = moved.id;
        after.replicas.push(moved);
        let cause = Cause::server("compaction");
        let change = self.change(&row, after, EventKind::ReplicaMoved, &cause);
        match self.apply(&gate, vec![change], self.outlived_by(tier), &row.owner, None) {
            Ok(_) => {
                let mut live = entry.live();
                if let Some(leaving) = live.leaving.iter_mut().find(|leaving| **leaving == one.replica.id) {
                    // Who wants the payload out of the tier means the copy from now on.
                    *leaving = moved_to;
                }
                drop(live);
                self.vacate(entry, one.replica.clone());
                Ok(true)
            }
            Err(error) => {
                self.discard_unless_unknown(placed, &error);
                Err(error)
            }
        }
    }

    /// Frees a replica that the row does not name any more: now, or when the last lease on it ends.
    pub(crate) fn vacate(&self, entry: &Arc<Entry>, replica: Replica) {
        let mut live = entry.live();
        if live.is_leased(replica.id) {
            live.displaced.push(replica);
            return;
        }
        drop(live);
        self.remove_bytes(&replica.location, replica.charged);
    }
}
