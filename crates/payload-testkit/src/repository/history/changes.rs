//! What a random history does to payloads.

use payload_core::{
    Change, Digest, Durability, EventKind, Location, NodeId, Payload, Pin, Priority, Replica, ReplicaState,
    RequestRecord, Span, SpillTarget, State, Tier,
};

use super::History;
use crate::repository::metadata::describe;
use crate::repository::sample::{Maker, at, changed, created, edited, labels};

impl History<'_> {
    /// Mostly good; else made from an old version, or of a payload that is there already.
    pub(super) fn change(&mut self, earlier: &[Change]) -> Change {
        let known = !self.versions.is_empty();
        match self.maker.rng.below(10) {
            0 if known => {
                let again = self.maker.rng.pick(&self.versions).id;
                let fresh = self.fresh();
                created(&Payload { id: again, ..fresh })
            }
            1 if known => {
                let old = self.maker.rng.pick(&self.versions).clone();
                self.next(&old)
            }
            2..=6 if known => {
                let id = self.maker.rng.pick(&self.versions).id;
                let pending = earlier.iter().map(|change| &*change.after);
                let newest = self.versions.iter().chain(pending).rfind(|row| row.id == id);
                let newest = newest.expect("was picked from them").clone();
                self.next(&newest)
            }
            _ => created(&self.fresh()),
        }
    }

    fn fresh(&mut self) -> Payload {
        let base = if self.maker.rng.one_in(3) {
            self.maker.full()
        } else {
            self.maker.allocated()
        };
        let namespace = self.namespace();
        self.random(Payload { namespace, ..base })
    }

    fn next(&mut self, before: &Payload) -> Change {
        let random = self.random(before.clone());
        let after = edited(before, |after| {
            *after = Payload {
                version: after.version,
                ..random
            }
        });
        let mut change = changed(before, &after);
        change.event.kind = *self.maker.rng.pick(&EventKind::ALL);
        change.event.note = self.maker.rng.one_in(8).then(|| self.maker.note(100));
        if self.maker.rng.one_in(3) {
            let size = *self.maker.rng.pick(&[0, 1, 300, 5_000]);
            describe(&mut change, self.maker.document(size));
        }
        change
    }

    /// Something else in every field that can change.
    fn random(&mut self, mut payload: Payload) -> Payload {
        let deadline = self.moment();
        let rng = &mut self.maker.rng;
        payload.state = *rng.pick(&[
            State::Allocated { until: deadline },
            State::Active {
                expires_at: Some(deadline),
            },
            State::Active { expires_at: None },
            State::Deleting,
            State::Deleted,
            State::Aborted,
            State::Lost,
        ]);
        payload.size = rng.below(1 << 40);
        payload.committed_at = rng
            .one_in(2)
            .then(|| at(i64::try_from(rng.below(5_000)).expect("is small")));
        payload.policy.priority = *rng.pick(&Priority::ALL);
        payload.policy.spill_to = *rng.pick(&SpillTarget::ALL);
        payload.policy.rederivable = rng.one_in(2);
        payload.policy.min_tier = rng.one_in(2).then(|| *rng.pick(&Tier::ALL));
        payload.policy.min_residency = rng.one_in(2).then(|| Span::from_millis(rng.below(5_000)));
        payload.policy.write_behind = rng.one_in(2).then(|| *rng.pick(&Durability::ALL));
        payload.digest = rng.one_in(2).then(|| Digest::of(&rng.bits().to_le_bytes()));
        payload.labels = labels(&[("a", "1"), ("b", "2"), ("b/c", "3"), ("d", "4")]);
        payload.labels.retain(|_| rng.one_in(2));
        if let Some(label) = payload.labels.first_mut().filter(|_| rng.one_in(2)) {
            label.value = format!("{}", rng.below(100)).into();
        }
        payload.replicas.retain(|_| !rng.one_in(3));
        for replica in &mut payload.replicas {
            replica.state = *rng.pick(&ReplicaState::ALL);
            replica.charged = rng.below(1 << 30);
            replica.pin = *rng.pick(&[None, Some(Pin::Unlimited), Some(Pin::Until(at(9)))]);
        }
        if self.maker.rng.one_in(2) {
            let replica = self.replica();
            payload.replicas.push(replica);
        }
        payload
    }

    /// Often in a container that others are in, sometimes of another node.
    fn replica(&mut self) -> Replica {
        let known = self.versions.iter().rev().take(20).flat_map(|row| &row.replicas);
        let shared: Vec<Location> = known.map(|replica| replica.location).collect();
        let offset = self.maker.rng.below(1 << 30);
        let location = match self.maker.rng.below(7) {
            0 => Location::Slab {
                slab: self.maker.segment(),
                offset,
            },
            1 => Location::Stage {
                stage: self.maker.segment(),
                offset: 4_096,
            },
            2 => Location::Pack {
                pack: self.maker.file(),
                offset,
            },
            3 => Location::Object(self.maker.object()),
            4 => Location::ObjectPack {
                pack: self.maker.object(),
                offset,
            },
            _ if !shared.is_empty() => *self.maker.rng.pick(&shared),
            _ => Location::File(self.maker.file()),
        };
        let mut replica = self.maker.replica(ReplicaState::Ready, location, offset);
        if location.tier() == Tier::Object {
            replica.node = NodeId::NONE;
        } else if self.maker.rng.one_in(5) {
            replica.node = Maker::new(0).node;
        }
        replica
    }

    /// None, a new one, or one that was used before.
    pub(super) fn request(&mut self, changes: &[Change]) -> Option<RequestRecord> {
        let when = self.moment();
        match self.maker.rng.below(4) {
            0 => None,
            1 if !self.requests.is_empty() => Some(self.maker.rng.pick(&self.requests).clone()),
            _ => Some(RequestRecord {
                at: when,
                ..self.maker.request(&changes[0].after)
            }),
        }
    }
}
