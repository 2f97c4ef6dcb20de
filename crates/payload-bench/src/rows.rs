//! Catalogs with many payloads: opened as a server does, filled in large transactions.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use payload_core::port::{Clock, Repository};
use payload_core::{
    Actor, Change, ChangeSet, CommitOutcome, Durability, EventKind, EventRecord, Instant, Label, Namespace, NodeId,
    Payload, PayloadId, Policy, Principal, State, StateKind, Tier, Timestamp, Version,
};
use payload_repo::{Database, PostgresOptions, PostgresRepository, SqliteOptions, SqliteRepository};

/// Payloads in one transaction.
pub(crate) const BATCH: u64 = 500;
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

/// Opens a catalog as a server does.
pub(crate) fn open(file: &Path) -> Result<SqliteRepository> {
    let options = SqliteOptions::default();
    Ok(SqliteRepository::open(
        file,
        options,
        Arc::new(Still),
        Arc::new(()),
        &|_| Ok(()),
    )?)
}

/// Opens a database as a server does.
pub(crate) fn open_postgres(url: &str) -> Result<PostgresRepository> {
    let (database, options) = (Database::parse(url, None)?, PostgresOptions::default());
    Ok(PostgresRepository::open(
        &database,
        options,
        Arc::new(Still),
        Arc::new(()),
    )?)
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

/// Takes a catalog over, so that it can be written to.
pub(crate) fn claim(repository: &dyn Repository) -> Result<()> {
    repository.claim(NodeId::from_parts(1, [1; 10]), NOW)?;
    Ok(())
}

/// Puts `count` payloads, each with the labels that `labels` gives it.
pub(crate) fn fill(repository: &dyn Repository, count: u64, labels: impl Fn(u64) -> Vec<Label>) -> Result<()> {
    claim(repository)?;
    for first in (0..count).step_by(usize::try_from(BATCH)?) {
        let numbers = first..count.min(first + BATCH);
        let changes = numbers.map(|number| created(number, labels(number))).collect();
        commit(repository, ChangeSet::new(changes, Durability::Volatile))?;
    }
    Ok(())
}

/// Puts payloads of these numbers, with nothing around them.
pub(crate) fn payloads(repository: &dyn Repository, numbers: RangeInclusive<u64>) -> Result<Vec<Payload>> {
    claim(repository)?;
    let changes: Vec<Change> = numbers.map(|number| created(number, Vec::new())).collect();
    let rows = changes.iter().map(|change| Payload::clone(&change.after)).collect();
    commit(repository, ChangeSet::new(changes, Durability::Volatile))?;
    Ok(rows)
}

/// Commits a set that nothing stands against.
pub(crate) fn commit(repository: &dyn Repository, set: ChangeSet) -> Result<()> {
    let outcome = repository.commit(set)?;
    ensure!(outcome == CommitOutcome::Applied, "a set was not applied: {outcome:?}");
    Ok(())
}

/// Ids as they come in life: they grow, and differ in many bits.
pub(crate) fn id(number: u64) -> PayloadId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&mix(number).to_le_bytes());
    PayloadId::from_parts(millis(number), random)
}

const fn millis(number: u64) -> u64 {
    1_790_000_000_000 + number
}

/// The change that makes a payload.
pub(crate) fn created(number: u64, labels: Vec<Label>) -> Change {
    let created_at = NOW.after(std::time::Duration::from_millis(number));
    let row = Payload {
        id: id(number),
        namespace: Namespace::default(),
        state: State::Active { expires_at: None },
        version: Version::FIRST,
        size: 4_096,
        digest: None,
        tier: Tier::Disk,
        durability: Durability::Host,
        labels,
        owner: Principal::loopback(),
        created_at,
        committed_at: Some(created_at),
        ttl: None,
        policy: Policy::default(),
        metadata: None,
        replicas: Vec::new(),
    };
    let event = EventRecord {
        kind: EventKind::Committed,
        actor: Actor::from(&row.owner),
        reason: None,
        at: created_at,
        from: None,
        to: StateKind::Active,
        note: None,
    };
    Change {
        before: None,
        after: Arc::new(row),
        event,
        metadata: None,
    }
}

/// Scatters numbers (the finalizer of SplitMix64, by Sebastiano Vigna).
pub(crate) fn mix(number: u64) -> u64 {
    let mut bits = number
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
