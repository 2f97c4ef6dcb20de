//! The rows that are committed, the clock that they are stamped with, and what the repository counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use payload_core::port::{Clock, Repository};
use payload_core::{
    Actor, Change, ChangeSet, Durability, Error, EventKind, EventRecord, FileId, Instant, Location, Namespace, NodeId,
    Payload, PayloadId, Policy, Principal, Replica, ReplicaId, ReplicaState, Span, State, StateKind, Tier, Timestamp,
    Version,
};
use payload_repo::{CommitObserver, Purpose};

use crate::clock::Moment;

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

/// Makes small payloads on disk, as a put does: a row, its replica, its event.
pub(super) struct Rows {
    node: NodeId,
    seed: u64,
    next: AtomicU64,
}

impl Rows {
    /// Of a new node each time, whose rows nobody else has made.
    pub(super) fn claim(repository: &dyn Repository) -> Result<Self> {
        let seed = Moment::now().as_seed();
        let rows = Self {
            node: NodeId::from_parts(1, random(seed, 0)),
            seed,
            next: AtomicU64::new(0),
        };
        repository.claim(rows.node, NOW)?;
        Ok(rows)
    }

    pub(super) fn next(&self, durability: Durability) -> ChangeSet {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (millis, random) = (1_790_000_000_000 + number, random(self.seed, number));
        let replica = Replica {
            id: ReplicaId::from_parts(millis, random),
            node: self.node,
            state: ReplicaState::Ready,
            location: Location::File(FileId::from_parts(millis, random)),
            charged: 4_096,
            pin: None,
        };
        let row = Payload {
            id: PayloadId::from_parts(millis, random),
            namespace: Namespace::default(),
            state: State::Active { expires_at: None },
            version: Version::FIRST,
            size: 4_096,
            digest: None,
            tier: Tier::Disk,
            durability,
            labels: Vec::new(),
            owner: Principal::loopback(),
            created_at: NOW,
            committed_at: Some(NOW),
            ttl: None,
            policy: Policy::default(),
            metadata: None,
            replicas: vec![replica],
        };
        let event = EventRecord {
            kind: EventKind::Committed,
            actor: Actor::from(&row.owner),
            reason: None,
            at: NOW,
            from: None,
            to: StateKind::Active,
            note: None,
        };
        let change = Change {
            before: None,
            after: Arc::new(row),
            event,
            metadata: None,
        };
        ChangeSet::new(vec![change], durability)
    }
}

fn random(seed: u64, number: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&(seed ^ number.rotate_left(40)).to_le_bytes());
    bytes[8..].copy_from_slice(&(number as u16).to_le_bytes());
    bytes
}

/// Counts transactions that waited for a sync, and the sets in them.
#[derive(Debug, Default)]
pub(super) struct Counted {
    sets: AtomicU64,
    transactions: AtomicU64,
}

impl Counted {
    /// Both numbers.
    pub(super) fn synced(&self) -> (f64, f64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        (read(&self.sets), read(&self.transactions))
    }
}

impl CommitObserver for Counted {
    fn group(&self, sets: usize, synced: bool, _took: Span) {
        if synced {
            self.sets.fetch_add(sets as u64, Ordering::Relaxed);
            self.transactions.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn applied(&self, _sets: usize, _took: Span) {}

    fn connected(&self, _purpose: Purpose) {}

    fn reading(&self, _connections: usize) {}

    fn retried(&self, _code: &str) {}

    fn warning(&self, message: &str) {
        eprintln!("payload-bench: {message}");
    }

    fn fatal(&self, error: &Error) {
        eprintln!("payload-bench: {error}");
    }
}

/// The repository times its transactions by it.
pub(super) struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::from_nanos(0)
    }

    fn wall(&self) -> Timestamp {
        NOW
    }
}
