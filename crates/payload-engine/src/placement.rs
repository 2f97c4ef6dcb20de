//! Carries out what `payload_core::placement` decides: puts a new payload where there is room, waits for some, or goes on
//! to the next tier.

use payload_core::placement::{self, Budget, Line, NO_ROOM_RETRY, Place, Request, TierState, Tried, Verdict, World};
use payload_core::port::TierStore;
use payload_core::{Error, Namespace, NodeId, Reason, ReplicaState, Result, Tier};

use crate::engine::Engine;
use crate::room::{Room, is_shortage};

/// What came of the tiers that were tried for one request.
#[derive(Default)]
struct Attempts(Vec<(Tier, Tried, Error)>);

impl Attempts {
    fn of(&self, tier: Tier) -> Tried {
        let last = self.0.iter().rev().find(|(tried, ..)| *tried == tier);
        last.map_or(Tried::Nothing, |(_, tried, _)| *tried)
    }

    /// The store that refused first knows best what is short; without one, the decision does.
    fn refusal(self, decided: Error) -> Error {
        let first = self
            .0
            .into_iter()
            .next()
            .filter(|_| decided.reason() == Reason::TierFull);
        first.map_or(decided, |(_, _, error)| error)
    }
}

impl Engine {
    /// Does what needs room for a new payload, in the tier that the decision names, and returns it with that place. It is
    /// asked again whenever a tier had less room than it seemed.
    pub(crate) fn in_place<T>(
        &self,
        namespace: &Namespace,
        request: &Request,
        mut attempt: impl FnMut(&Place) -> Result<T>,
    ) -> Result<(Place, T)> {
        let mut attempts = Attempts::default();
        loop {
            let (place, tried, done) = match self.verdict(namespace, request, &attempts)? {
                Verdict::Place(place) => {
                    let done = attempt(&place);
                    self.evict_if_short(place.tier);
                    (place, Tried::NoRoom, done)
                }
                Verdict::Wait { place, at_most, .. } => {
                    let done = self.wait_for_room(place.tier, namespace, request.size, at_most, || attempt(&place));
                    (place, Tried::Waited, done)
                }
                Verdict::Refuse(error) => return Err(attempts.refusal(error)),
            };
            match done {
                Ok(done) => {
                    if !place.passed.is_empty() {
                        self.metrics.fell_back(place.tier);
                    }
                    return Ok((place, done));
                }
                Err(error) if is_shortage(&error) => attempts.0.push((place.tier, tried, error)),
                Err(error) => return Err(error),
            }
        }
    }

    fn verdict(&self, namespace: &Namespace, request: &Request, attempts: &Attempts) -> Result<Verdict> {
        if let Some(below) = request.writes_through() {
            self.tier(below)?;
        }
        if let Some(soon) = request.policy.write_behind {
            self.tier(soon.tier())?;
        }
        let (quota, used) = match attempts.0.is_empty() {
            true => self.budget(namespace, request)?.unzip(),
            // What was allowed a moment ago; the transaction looks again.
            false => (None, None),
        };
        let budget = quota.zip(used).map(|(quota, used)| Budget { namespace, quota, used });
        let world = World {
            budget,
            strongest: self.repository().strongest(),
            patience: self.settings.room_wait,
        };
        let states = self.ports.tiers.iter().map(|store| self.tier_state(&**store, attempts));
        Ok(placement::place(request, &world, states))
    }

    fn tier_state(&self, store: &dyn TierStore, attempts: &Attempts) -> TierState {
        let (tier, usage) = (store.tier(), store.usage());
        // What was made ready for payloads to come makes way by itself, and whoever is short of room finds out whether
        // freed memory is still had by anybody.
        let makes_way = usage.pool + usage.zombie;
        TierState {
            tier,
            capacity: usage.capacity,
            free: self
                .ceiling(store, &usage)
                .saturating_sub(usage.used.saturating_sub(makes_way)),
            line: self.line_for(tier).map_or(Line::None, Room::line),
            tried: attempts.of(tier),
        }
    }

    /// Whose a replica is: what is complete in the bucket is nobody's.
    pub(crate) fn owner_of(&self, tier: Tier, state: ReplicaState) -> NodeId {
        match tier {
            Tier::Object if state == ReplicaState::Ready => NodeId::NONE,
            _ => self.settings.node,
        }
    }
}

/// Says with a refusal for want of room when to come again.
pub(crate) fn say_when(error: Error) -> Error {
    match is_shortage(&error) {
        true => error.retry_after(NO_ROOM_RETRY),
        false => error,
    }
}
