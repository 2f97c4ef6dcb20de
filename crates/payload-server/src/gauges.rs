//! The present in numbers, read when Prometheus asks.

use std::sync::Arc;

use payload_engine::{Engine, Stats};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};

use crate::calls::Calls;

/// Asks the engine at every scrape.
pub(crate) struct Gauges {
    engine: Arc<Engine>,
    calls: Calls,
    tiers: IntGaugeVec,
    huge_pages: IntGaugeVec,
    unavailable: IntGaugeVec,
    failing: IntGaugeVec,
    replicas: IntGaugeVec,
    sessions: IntGauge,
    leases: IntGauge,
    allocations: IntGauge,
    payloads_known: IntGauge,
    slow_calls: IntGauge,
    room_waiting: IntGauge,
    owing: IntGauge,
    owed_bytes: IntGauge,
    event_watches: IntGauge,
}

impl Gauges {
    pub(crate) fn new(calls: Calls) -> prometheus::Result<Self> {
        Ok(Self {
            engine: Arc::clone(&calls.engine),
            calls,
            tiers: IntGaugeVec::new(
                Opts::new(
                    "payload_tier_bytes",
                    "Bytes of a tier: capacity, ceiling (what the machine lets it have of that), used, slack (used but charged to no replica), charged, staging, pool, zombie, dead, pinned.",
                ),
                &["tier", "kind"],
            )?,
            huge_pages: IntGaugeVec::new(
                Opts::new(
                    "payload_tier_huge_pages",
                    "Whether a tier's memory comes in huge pages.",
                ),
                &["tier"],
            )?,
            unavailable: IntGaugeVec::new(
                Opts::new(
                    "payload_tier_unavailable",
                    "Whether a tier's store does not answer at the moment.",
                ),
                &["tier"],
            )?,
            failing: IntGaugeVec::new(
                Opts::new(
                    "payload_tier_failing",
                    "Whether the last attempt to add something to a tier failed, and not for want of room.",
                ),
                &["tier"],
            )?,
            replicas: IntGaugeVec::new(Opts::new("payload_tier_replicas", "Replicas in a tier."), &["tier"])?,
            sessions: IntGauge::new("payload_sessions", "Open local sessions.")?,
            leases: IntGauge::new("payload_leases", "Live leases.")?,
            allocations: IntGauge::new("payload_allocations", "Open allocations with an owner.")?,
            payloads_known: IntGauge::new("payload_entries", "Payloads that the server has in memory.")?,
            slow_calls: IntGauge::new("payload_slow_calls", "Calls that wait for I/O or for their turn.")?,
            room_waiting: IntGauge::new("payload_room_waiting", "Requests that wait for room in a tier.")?,
            owing: IntGauge::new(
                "payload_write_behind_payloads",
                "Payloads that are to survive more than they do yet.",
            )?,
            owed_bytes: IntGauge::new(
                "payload_write_behind_bytes",
                "Bytes of the payloads that are written behind.",
            )?,
            event_watches: IntGauge::new("payload_event_watches", "Open watches of events.")?,
        })
    }

    fn set(&self, stats: &Stats) {
        for tier in &stats.tiers {
            let name = tier.tier.as_str();
            let set = |kind: &str, bytes: u64| self.tiers.with_label_values(&[name, kind]).set(gauge(bytes));
            set("capacity", tier.usage.capacity);
            set("ceiling", tier.ceiling);
            set("used", tier.usage.used);
            set("slack", tier.slack());
            set("charged", tier.charged);
            set("staging", tier.usage.staging);
            set("pool", tier.usage.pool);
            set("zombie", tier.usage.zombie);
            set("dead", tier.usage.dead);
            set("pinned", tier.pinned);
            self.huge_pages
                .with_label_values(&[name])
                .set(i64::from(tier.usage.huge_pages));
            self.unavailable
                .with_label_values(&[name])
                .set(i64::from(tier.usage.unavailable));
            self.failing
                .with_label_values(&[name])
                .set(i64::from(tier.usage.failing));
            self.replicas.with_label_values(&[name]).set(gauge(tier.replicas));
        }
        self.sessions.set(gauge(stats.sessions as u64));
        self.leases.set(gauge(stats.leases as u64));
        self.allocations.set(gauge(stats.allocations as u64));
        self.payloads_known.set(gauge(stats.payloads_known as u64));
        self.room_waiting.set(gauge(stats.room_waiting as u64));
        self.owing.set(gauge(stats.owing as u64));
        self.owed_bytes.set(gauge(stats.owed_bytes));
    }

    fn parts(&self) -> [&dyn Collector; 14] {
        [
            &self.tiers,
            &self.huge_pages,
            &self.unavailable,
            &self.failing,
            &self.replicas,
            &self.sessions,
            &self.leases,
            &self.allocations,
            &self.payloads_known,
            &self.slow_calls,
            &self.room_waiting,
            &self.owing,
            &self.owed_bytes,
            &self.event_watches,
        ]
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        match self.engine.stats() {
            Ok(stats) => self.set(&stats),
            Err(error) => tracing::warn!(%error, "cannot read the numbers for a scrape"),
        }
        self.slow_calls.set(gauge(self.calls.slow_calls() as u64));
        self.event_watches.set(gauge(self.engine.event_watches() as u64));
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
