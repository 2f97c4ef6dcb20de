//! Pin: keep a payload in a tier however short the room there is, until a moment or until somebody unpins it.
//!
//! A pin is a part of the replica's row, so it is there after a restart, and goes with the replica when the payload ends.
//! It says where the bytes are and not for how long there are any: deletion and expiry do not ask for it. What is pinned in a
//! tier is bounded, because nothing of it can make room for anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::{
    Durability, Error, EventKind, Namespace, NodeId, Payload, PayloadId, PayloadRef, Pin, Principal, Reason, Replica,
    Result, Span, Tier, Timestamp, limits,
};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::replicate::Patience;
use crate::transition::Cause;

/// The wall clock may be set forward while the worker sleeps; it looks again after this long at the latest.
const NAP_MAX: Span = Span::from_secs(60);
/// A pin that could not be ended is tried again after this long.
const RETRY: Span = Span::from_secs(1);

/// What is to be pinned, and how.
#[derive(Clone, Debug)]
pub struct PinRequest {
    /// Of the payload.
    pub namespace: Namespace,
    /// Which.
    pub payload: PayloadRef,
    /// Where it is to stay.
    pub tier: Tier,
    /// How long; absent: until it is unpinned.
    pub term: Option<Span>,
}

/// What is pinned on this node: added up, and by the moments at which pins end.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    held: BTreeMap<PayloadId, Vec<Held>>,
    ends: BTreeSet<(Timestamp, PayloadId)>,
    bytes: [u64; Tier::ALL.len()],
}

#[derive(Debug)]
struct Held {
    tier: Tier,
    charged: u64,
    end: Option<Timestamp>,
}

impl Pins {
    /// Takes note of a row: what was noted of the payload before is over.
    pub(crate) fn follow(&self, row: &Payload, node: NodeId) {
        let mut book = self.0.lock();
        book.forget(row.id, |_| true);
        for replica in row.replicas_of(node).filter(|replica| replica.pin.is_some()) {
            book.add(row.id, replica);
        }
    }

    /// Takes note of a pin before it is written, if no more than `most` bytes are pinned in its tier then.
    fn claim(&self, payload: PayloadId, replica: &Replica, most: u64) -> Result<()> {
        let mut book = self.0.lock();
        book.check(payload, replica.tier(), replica.charged, most)?;
        book.forget(payload, |tier| tier == replica.tier());
        book.add(payload, replica);
        Ok(())
    }

    /// Fails if `size` bytes of the payload would be too many.
    fn check(&self, payload: PayloadId, tier: Tier, size: u64, most: u64) -> Result<()> {
        self.0.lock().check(payload, tier, size, most)
    }

    /// How much is pinned in a tier.
    pub(crate) fn bytes(&self, tier: Tier) -> u64 {
        self.0.lock().bytes[tier as usize]
    }

    /// Those of which a pin has ended, and when the next one ends.
    fn due(&self, now: Timestamp) -> (Vec<PayloadId>, Option<Timestamp>) {
        let book = self.0.lock();
        let due = book.ends.iter().take_while(|(at, _)| *at <= now);
        let next = book.ends.iter().map(|(at, _)| *at).find(|at| *at > now);
        (due.map(|(_, payload)| *payload).collect(), next)
    }
}

impl Book {
    fn add(&mut self, payload: PayloadId, replica: &Replica) {
        let held = Held {
            tier: replica.tier(),
            charged: replica.charged,
            end: replica.pin.and_then(Pin::deadline),
        };
        self.put(payload, held);
    }

    fn put(&mut self, payload: PayloadId, held: Held) {
        self.bytes[held.tier as usize] += held.charged;
        self.ends.extend(held.end.map(|at| (at, payload)));
        self.held.entry(payload).or_default().push(held);
    }

    fn forget(&mut self, payload: PayloadId, which: impl Fn(Tier) -> bool) {
        let Some(held) = self.held.remove(&payload) else { return };
        for one in &held {
            self.bytes[one.tier as usize] -= one.charged;
            if let Some(at) = one.end {
                self.ends.remove(&(at, payload));
            }
        }
        for one in held.into_iter().filter(|one| !which(one.tier)) {
            self.put(payload, one);
        }
    }

    fn check(&self, payload: PayloadId, tier: Tier, size: u64, most: u64) -> Result<()> {
        let own = self.held.get(&payload).into_iter().flatten();
        let own: u64 = own.filter(|one| one.tier == tier).map(|one| one.charged).sum();
        let pinned = self.bytes[tier as usize] - own;
        if pinned.saturating_add(size) <= most {
            return Ok(());
        }
        let message = format!("at most {most} bytes of {tier} may be pinned; {pinned} are, and this needs {size} more");
        Err(Error::new(Reason::PinLimit, message))
    }
}

/// Keeps a payload where it is while it is being pinned.
struct Pinning<'a> {
    engine: &'a Engine,
    entry: &'a Arc<Entry>,
}

impl<'a> Pinning<'a> {
    fn begin(engine: &'a Engine, entry: &'a Arc<Entry>) -> Self {
        entry.live().pinning += 1;
        Self { engine, entry }
    }
}

impl Drop for Pinning<'_> {
    fn drop(&mut self) {
        self.entry.live().pinning -= 1;
        self.engine.consider(self.entry);
    }
}

impl Engine {
    /// Pins a payload to a tier, and copies it there first if need be. A pin that it has there is replaced.
    pub fn pin(&self, principal: &Principal, request: &PinRequest) -> Result<Arc<Payload>> {
        check_term(request.term)?;
        if !request.tier.is_local() {
            let message = format!("nothing is evicted from {}, so nothing is pinned there", request.tier);
            return Err(Error::invalid(Reason::BadRequest, message).field("tier"));
        }
        self.unless_overtaken(|| self.pin_once(principal, request))
    }

    fn pin_once(&self, principal: &Principal, request: &PinRequest) -> Result<Arc<Payload>> {
        let id = self.resolve(&request.namespace, &request.payload)?;
        let entry = self.entry(&request.namespace, id)?;
        let most = self.pinned_most(request.tier)?;
        let _pinning = Pinning::begin(self, &entry);
        self.pins.check(id, request.tier, entry.row().size, most)?;
        self.fetch(&entry, request.tier, Patience::InLine, "pin")?;
        let gate = entry.gate();
        let mut live = entry.live();
        live.leasable(self.wall())?;
        let Some(mut replica) = live.ready().find(|replica| replica.tier() == request.tier).cloned() else {
            return Err(Error::new(
                Reason::Conflict,
                "the replica was lost while it was being pinned; try again",
            ));
        };
        // One that was to go when its leases end stays.
        live.leaving.retain(|leaving| *leaving != replica.id);
        let row = Arc::clone(&live.row);
        drop(live);
        let pin = request
            .term
            .map_or(Pin::Unlimited, |term| Pin::Until(self.wall().after(term)));
        if replica.pin == Some(pin) {
            return Ok(row);
        }
        replica.pin = Some(pin);
        self.pins.claim(id, &replica, most)?;
        let mut after = Payload::clone(&row);
        after.replicas.retain(|other| other.id != replica.id);
        after.replicas.push(replica);
        let change = self.change(&row, after, EventKind::Pinned, &Cause::principal(principal));
        let applied = self.apply(&gate, vec![change], row.durability, principal, None);
        if !entry.live().in_doubt {
            self.pins.follow(&entry.row(), self.settings.node);
        }
        applied?;
        self.forget_victim(request.tier, &entry);
        // It may end before what the worker sleeps until.
        self.expiry.signal.raise();
        Ok(entry.row())
    }

    /// Ends a payload's pins, in one tier or in all.
    pub fn unpin(
        &self,
        principal: &Principal,
        namespace: &Namespace,
        payload: &PayloadRef,
        tier: Option<Tier>,
    ) -> Result<Arc<Payload>> {
        self.unless_overtaken(|| {
            let id = self.resolve(namespace, payload)?;
            let entry = self.entry(namespace, id)?;
            let cause = Cause::principal(principal);
            let durability = entry.row().durability;
            self.unpin_those(&entry, durability, &cause, |replica| {
                tier.is_none_or(|tier| replica.tier() == tier)
            })?;
            Ok(entry.row())
        })
    }

    fn unpin_those(
        &self,
        entry: &Arc<Entry>,
        durability: Durability,
        cause: &Cause,
        which: impl Fn(&Replica) -> bool,
    ) -> Result<()> {
        let gate = entry.gate();
        let row = entry.row();
        let mut after = Payload::clone(&row);
        let own = after
            .replicas
            .iter_mut()
            .filter(|replica| replica.node == self.settings.node);
        own.filter(|replica| which(replica))
            .for_each(|replica| replica.pin = None);
        if after.replicas == row.replicas {
            entry.live().elsewhere()?;
            return Ok(());
        }
        let change = self.change(&row, after, EventKind::Unpinned, cause);
        self.apply(&gate, vec![change], durability, &row.owner, None)?;
        drop(gate);
        self.consider(entry);
        Ok(())
    }

    /// Ends the pins whose time is over, and returns how long the worker may sleep; `None`: until it is woken.
    pub fn end_pins(&self) -> Option<Span> {
        let now = self.wall();
        let (due, next) = self.pins.due(now);
        let mut stuck = false;
        for id in due {
            if let Err(error) = self.end_pins_of(id, now) {
                tracing::warn!(payload = %id, %error, "could not end a pin; trying again");
                stuck = true;
            }
        }
        match stuck {
            true => Some(RETRY),
            false => next.map(|at| now.until(at).clamp(Span::from_millis(1), NAP_MAX)),
        }
    }

    fn end_pins_of(&self, id: PayloadId, now: Timestamp) -> Result<()> {
        let Some(entry) = self.table.get_or_load(id, self.repository())? else {
            return Ok(());
        };
        if !self.is_known(&entry) {
            self.resolve_doubt(&entry)?;
        }
        let cause = Cause::server("pins").because("its time is over".into());
        // A host that forgets this change finds the pin, and that it is over.
        self.unpin_those(&entry, Durability::Volatile, &cause, |replica| {
            let end = replica.pin.and_then(Pin::deadline);
            end.is_some_and(|end| end <= now)
        })
    }

    /// Takes note of what a change means for pins. Most changes mean nothing.
    pub(crate) fn note_pins(&self, before: &Payload, after: &Payload) {
        let pinned = |row: &Payload| row.replicas.iter().any(|replica| replica.pin.is_some());
        if pinned(before) || pinned(after) {
            self.pins.follow(after, self.settings.node);
        }
    }

    /// How many bytes of a tier may be pinned.
    fn pinned_most(&self, tier: Tier) -> Result<u64> {
        let store = self.tier(tier)?;
        let capacity = self.ceiling(store, &store.usage());
        let most = u128::from(capacity) * u128::from(self.settings.pinned_max) / 100;
        Ok(u64::try_from(most).unwrap_or(u64::MAX))
    }
}

fn check_term(term: Option<Span>) -> Result<()> {
    let refuse = |message: String| Err(Error::invalid(Reason::BadDuration, message).field("term_ms"));
    match term {
        Some(term) if term == Span::ZERO => refuse("a pin must last longer than zero".to_owned()),
        Some(term) if term > limits::PIN_TERM_MAX => {
            refuse(format!("a pin lasts at most {} ms", limits::PIN_TERM_MAX.as_millis()))
        }
        _ => Ok(()),
    }
}
