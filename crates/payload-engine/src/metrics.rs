//! What the engine counts for Prometheus. Gauges of the present are set by whoever serves the scrape, from `stats`.

use payload_core::lease::HolderKind;
use payload_core::{Durability, Tier};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// The engine's counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    leases_granted_local: IntCounter,
    leases_granted_remote: IntCounter,
    leases_ended: IntCounterVec,
    commits_volatile: IntCounter,
    commits_host: IntCounter,
    committed_bytes: IntCounter,
    expirations: IntCounter,
    replicas_lost: IntCounterVec,
}

impl Metrics {
    /// Registers the counters.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let vec = |name: &str, help: &str, label: &str| -> prometheus::Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let one = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let granted = vec(
            "payload_leases_granted_total",
            "Leases granted, by kind of holder.",
            "holder",
        )?;
        let commits = vec(
            "payload_commits_total",
            "Payloads committed, by durability.",
            "durability",
        )?;
        Ok(Self {
            leases_granted_local: granted.with_label_values(&["local"]),
            leases_granted_remote: granted.with_label_values(&["remote"]),
            leases_ended: vec("payload_leases_ended_total", "Leases ended, by cause.", "cause")?,
            commits_volatile: commits.with_label_values(&["volatile"]),
            commits_host: commits.with_label_values(&["host"]),
            committed_bytes: one("payload_committed_bytes_total", "Bytes of committed payloads.")?,
            expirations: one(
                "payload_expirations_total",
                "Payloads ended because their time to live was over.",
            )?,
            replicas_lost: vec(
                "payload_replicas_lost_total",
                "Replicas found damaged or missing, by tier.",
                "tier",
            )?,
        })
    }

    pub(crate) fn lease_granted(&self, kind: HolderKind) {
        match kind {
            HolderKind::Local => self.leases_granted_local.inc(),
            HolderKind::Remote => self.leases_granted_remote.inc(),
        }
    }

    pub(crate) fn lease_ended(&self, cause: &str) {
        self.leases_ended.with_label_values(&[cause]).inc();
    }

    pub(crate) fn committed(&self, durability: Durability, bytes: u64) {
        match durability {
            Durability::Volatile => self.commits_volatile.inc(),
            Durability::Host => self.commits_host.inc(),
        }
        self.committed_bytes.inc_by(bytes);
    }

    pub(crate) fn expired(&self) {
        self.expirations.inc();
    }

    pub(crate) fn replica_lost(&self, tier: Tier) {
        self.replicas_lost.with_label_values(&[tier.as_str()]).inc();
    }
}
