//! Payloads and change sets out of a seed, for tests that need many of them.

use std::sync::Arc;

use payload_core::{
    Actor, Change, ChangeSet, Digest, Document, Durability, EventKind, EventRecord, FileId, Label, Location, Namespace,
    NodeId, Note, ObjectId, Operation, Payload, PayloadId, Pin, Policy, Principal, Priority, Replica, ReplicaId,
    ReplicaState, RequestId, RequestRecord, SegmentId, Span, SpillTarget, State, StreamId, Tier, Timestamp, Version,
};

use crate::clock::Rng;

/// Makes things that differ from each other.
#[derive(Clone, Debug)]
pub struct Maker {
    /// Where all differences come from.
    pub rng: Rng,
    /// The node that replicas are made for.
    pub node: NodeId,
}

/// A moment in the sample's history.
pub const fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + micros)
}

impl Maker {
    /// The same things for the same seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let node = NodeId::from_parts(1, random(&mut rng));
        Self { rng, node }
    }

    /// Of one of a few milliseconds, so that ids share their beginnings.
    pub fn payload_id(&mut self) -> PayloadId {
        PayloadId::from_parts(1_790_000_000_000 + self.rng.below(4), random(&mut self.rng))
    }

    /// A new memfd.
    pub fn segment(&mut self) -> SegmentId {
        SegmentId::from_parts(2, random(&mut self.rng))
    }

    /// A new file.
    pub fn file(&mut self) -> FileId {
        FileId::from_parts(3, random(&mut self.rng))
    }

    /// A new object.
    pub fn object(&mut self) -> ObjectId {
        ObjectId::from_parts(4, random(&mut self.rng))
    }

    /// A new replica in an object of its own, which belongs to no node.
    pub fn in_bucket(&mut self, state: ReplicaState) -> Replica {
        let location = Location::Object(self.object());
        Replica {
            node: NodeId::NONE,
            ..self.replica(state, location, 7)
        }
    }

    /// A new incarnation.
    pub fn stream(&mut self) -> StreamId {
        StreamId::from_parts(5, random(&mut self.rng))
    }

    /// A replica of `charged` bytes at `location`.
    pub fn replica(&mut self, state: ReplicaState, location: Location, charged: u64) -> Replica {
        Replica {
            id: ReplicaId::from_parts(4, random(&mut self.rng)),
            node: self.node,
            state,
            location,
            charged,
            pin: None,
        }
    }

    /// An allocation in memory, plain in every respect.
    pub fn allocated(&mut self) -> Payload {
        let (segment, id) = (self.segment(), self.payload_id());
        Payload {
            id,
            namespace: Namespace::default(),
            state: State::Allocated { until: at(60_000_000) },
            version: Version::FIRST,
            size: 4_000,
            digest: None,
            tier: Tier::Ram,
            durability: Durability::Volatile,
            policy: Policy::default(),
            labels: Vec::new(),
            owner: Principal::uid(1000),
            created_at: Timestamp::from_micros(i64::try_from(id.millis()).expect("is a time") * 1_000),
            committed_at: None,
            ttl: None,
            metadata: None,
            replicas: vec![self.replica(ReplicaState::Copying, Location::Segment(segment), 4_096)],
        }
    }

    /// A payload with something in every field, near the limits where there are any.
    pub fn full(&mut self) -> Payload {
        let (slab, pack, file) = (self.segment(), self.file(), self.file());
        let object = self.object();
        let offset = (1 << 40) - 64;
        Payload {
            namespace: name("tenant-7"),
            state: State::Active {
                expires_at: Some(at(i64::from(u32::MAX))),
            },
            size: 1 << 40,
            digest: Some(Digest::of(&self.rng.bits().to_le_bytes())),
            tier: Tier::Disk,
            durability: Durability::Host,
            policy: Policy {
                priority: Priority::Never,
                spill_to: SpillTarget::Void,
                rederivable: true,
                min_tier: Some(Tier::Disk),
                min_residency: Some(Span::new(3600, 1)),
                write_behind: Some(Durability::Object),
            },
            labels: labels(&[("camera/left", "ü ✓ 'quoted' \"twice\" %_\\"), ("empty", "")]),
            owner: Principal::loopback(),
            committed_at: Some(at(17)),
            ttl: Some(Span::new(10 * 366 * 24 * 3600, 1)),
            replicas: vec![
                Replica {
                    pin: Some(Pin::Until(at(18))),
                    ..self.replica(ReplicaState::Ready, Location::Slab { slab, offset: 64 }, 1)
                },
                self.replica(ReplicaState::Draining, Location::Pack { pack, offset }, 1 << 40),
                self.replica(ReplicaState::Copying, Location::File(file), 0),
                self.replica(ReplicaState::Ready, Location::ObjectPack { pack: object, offset }, 5),
                self.in_bucket(ReplicaState::Ready),
            ],
            ..self.allocated()
        }
    }

    /// Bytes that are no text, and a NUL among them.
    pub fn document(&mut self, size: usize) -> Document {
        let body: Vec<u8> = (0..size).map(|_| self.rng.bits() as u8).collect();
        let content_type = "application/x-test; a=b".parse().expect("is a content type");
        Document::new(content_type, body.into()).expect("is small enough")
    }

    /// What an application says.
    pub fn note(&mut self, size: usize) -> Arc<Note> {
        Arc::new(Note {
            event_type: "app/x.y".parse().expect("is an event type"),
            document: self.document(size),
        })
    }

    /// A request of its own for what is done to `payload`.
    pub fn request(&mut self, payload: &Payload) -> RequestRecord {
        let bits = self.rng.bits();
        RequestRecord {
            principal: Principal::uid(1000),
            request_id: request_id(&format!("request-{bits:x}")),
            fingerprint: Digest::of(&bits.to_le_bytes()),
            operation: Operation::Allocate,
            payload: payload.id,
            version: payload.version,
            appended: None,
            at: at(3),
        }
    }
}

fn random(rng: &mut Rng) -> [u8; 10] {
    let (mut random, bits) = ([0; 10], rng.bits());
    random[..8].copy_from_slice(&bits.to_le_bytes());
    random[8..].copy_from_slice(&bits.to_be_bytes()[..2]);
    random
}

/// A namespace by its name.
pub fn name(text: &str) -> Namespace {
    text.parse().expect("the test names a good namespace")
}

/// A request id by its text.
pub fn request_id(text: &str) -> RequestId {
    text.parse().expect("the test names a good request id")
}

/// Labels, taken as they are.
pub fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
    pairs
        .iter()
        .map(|(key, value)| Label {
            key: (*key).into(),
            value: (*value).into(),
        })
        .collect()
}

/// The row as the repository gives it back: labels and replicas in order.
pub fn in_order(payload: &Payload) -> Payload {
    let mut row = payload.clone();
    row.labels.sort();
    row.replicas.sort_by_key(|replica| replica.id);
    row
}

/// The next version of a payload, with `edit` done to it.
pub fn edited(before: &Payload, edit: impl FnOnce(&mut Payload)) -> Payload {
    let mut after = before.clone();
    after.version = before.version.next();
    edit(&mut after);
    after
}

/// An event that fits the step from `before` to `after`.
pub fn event(before: Option<&Payload>, after: &Payload, kind: EventKind) -> EventRecord {
    EventRecord {
        kind,
        actor: Actor::from(&after.owner),
        reason: None,
        at: at(5),
        from: before.map(|before| before.state.kind()),
        to: after.state.kind(),
        note: None,
    }
}

/// A new payload.
pub fn created(after: &Payload) -> Change {
    Change {
        before: None,
        event: event(None, after, EventKind::Allocated),
        after: Arc::new(after.clone()),
        metadata: None,
    }
}

/// A payload's next version.
pub fn changed(before: &Payload, after: &Payload) -> Change {
    Change {
        before: Some(Arc::new(before.clone())),
        event: event(Some(before), after, EventKind::Committed),
        after: Arc::new(after.clone()),
        metadata: None,
    }
}

/// A set without a request that waits for no fsync.
pub fn set(changes: impl Into<Vec<Change>>) -> ChangeSet {
    ChangeSet::new(changes.into(), Durability::Volatile)
}
