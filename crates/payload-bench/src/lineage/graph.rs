//! The graph that queries go through: each payload made from two or three of those shortly before it, at random.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use payload_core::port::{Clock, Repository};
use payload_core::{
    Actor, Change, ChangeSet, CommitOutcome, Durability, Edge, EventKind, EventRecord, Instant, Namespace, NodeId,
    Payload, PayloadId, Policy, Principal, State, StateKind, Tier, Timestamp, Version,
};
use payload_repo::{SqliteOptions, SqliteRepository};

/// Of a hundred payloads, so many have three parents and the others two: ten steps lead to about ten thousand.
const THREE_PARENTS: u64 = 38;
/// How far before a payload its parents are at most: ten steps do not lead to where the graph begins.
const REACH: u64 = 40_000;
/// Payloads in one transaction.
const BATCH: u64 = 500;
const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

/// What was made.
#[derive(Debug)]
pub(crate) struct Graph {
    payloads: u64,
}

impl Graph {
    /// Puts payloads with lineage until there are so many edges.
    pub(crate) fn random(repository: &dyn Repository, edges: usize) -> Result<Self> {
        repository.claim(NodeId::from_parts(1, [1; 10]), NOW)?;
        let (mut payloads, mut made) = (0, 0);
        while made < edges {
            let mut set = ChangeSet::new(Vec::new(), Durability::Volatile);
            for number in payloads..payloads + BATCH {
                set.changes.push(created(number));
                set.edges.extend(parents(number).map(|parent| edge(number, parent)));
            }
            payloads += BATCH;
            made += set.edges.len();
            let outcome = repository.commit(set)?;
            ensure!(outcome == CommitOutcome::Applied, "a set was not applied: {outcome:?}");
        }
        Ok(Self { payloads })
    }

    /// All payloads.
    pub(crate) fn youngest_first(&self) -> impl Iterator<Item = PayloadId> {
        (0..self.payloads).rev().map(id)
    }
}

/// Opens a catalog as a server does.
pub(crate) fn open(file: &Path) -> Result<SqliteRepository> {
    let options = SqliteOptions::default();
    Ok(SqliteRepository::open(file, options, Arc::new(Still), Arc::new(()))?)
}

/// No measurement asks the repository for the time.
struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::from_nanos(0)
    }

    fn wall(&self) -> Timestamp {
        NOW
    }
}

/// Ids as they come in life: they grow, and differ in many bits.
fn id(number: u64) -> PayloadId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&mix(number).to_le_bytes());
    PayloadId::from_parts(1_790_000_000_000 + number, random)
}

fn parents(number: u64) -> impl Iterator<Item = u64> {
    let count = match number {
        0 => 0,
        _ => 2 + u64::from(mix(number) % 100 < THREE_PARENTS),
    };
    (0..count).map(move |parent| number - 1 - mix(number * 4 + parent) % number.min(REACH))
}

pub(crate) fn created(number: u64) -> Change {
    let row = Payload {
        id: id(number),
        namespace: Namespace::default(),
        state: State::Active { expires_at: None },
        version: Version::FIRST,
        size: 4_096,
        digest: None,
        tier: Tier::Disk,
        durability: Durability::Host,
        labels: Vec::new(),
        owner: Principal::loopback(),
        created_at: NOW,
        committed_at: Some(NOW),
        ttl: None,
        policy: Policy::default(),
        replicas: Vec::new(),
    };
    let event = EventRecord {
        kind: EventKind::Committed,
        actor: Actor::from(&row.owner),
        reason: None,
        at: NOW,
        from: None,
        to: StateKind::Active,
    };
    Change {
        before: None,
        after: Arc::new(row),
        event,
    }
}

fn edge(child: u64, parent: u64) -> Edge {
    Edge {
        child: id(child),
        parent: id(parent),
        operation: "derive".parse().expect("is a word"),
        role: "input".parse().expect("is a word"),
        parameters: b"{\"width\": 640, \"height\": 480}"[..].into(),
        actor: Actor::from(&Principal::loopback()),
        at: NOW,
    }
}

/// Scatters numbers (the finalizer of SplitMix64, by Sebastiano Vigna).
fn mix(number: u64) -> u64 {
    let mut bits = number
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
