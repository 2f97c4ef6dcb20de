//! What the engine counts for Prometheus. Gauges of the present are set by whoever serves the scrape, from `stats`.

use payload_core::lease::HolderKind;
use payload_core::retention::History;
use payload_core::{Durability, Span, Tier};
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

/// The engine's counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    leases_granted_local: IntCounter,
    leases_granted_remote: IntCounter,
    leases_released: IntCounter,
    leases_ended: IntCounterVec,
    commits: IntCounterVec,
    committed_bytes: IntCounter,
    expirations: IntCounter,
    replicas_lost: IntCounterVec,
    moves: IntCounterVec,
    moved_bytes: IntCounterVec,
    move_seconds: HistogramVec,
    evictions: IntCounterVec,
    evicted_bytes: IntCounterVec,
    room_waits: IntCounterVec,
    fallbacks: IntCounterVec,
    scrubbed_bytes: IntCounter,
    written_through: IntCounter,
    compacted_bytes: IntCounterVec,
    entries_appended: IntCounter,
    entries_trimmed: IntCounter,
    history_removed: IntCounterVec,
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
        let ended = vec("payload_leases_ended_total", "Leases ended, by cause.", "cause")?;
        Ok(Self {
            leases_granted_local: granted.with_label_values(&["local"]),
            leases_granted_remote: granted.with_label_values(&["remote"]),
            leases_released: ended.with_label_values(&["released"]),
            leases_ended: ended,
            commits,
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
            history_removed: vec(
                "payload_history_removed_total",
                "What was removed because its retention time was over: events, metadata, names, tombstones.",
                "what",
            )?,
            entries_appended: one("payload_stream_entries_appended_total", "Entries appended to streams.")?,
            entries_trimmed: one(
                "payload_stream_entries_trimmed_total",
                "Entries removed from streams by retention, or with their stream.",
            )?,
            moves: {
                let name = "payload_moves_total";
                let counter = IntCounterVec::new(
                    Opts::new(name, "Copies of payloads from tier to tier, by path and result."),
                    &["path", "result"],
                )?;
                registry.register(Box::new(counter.clone()))?;
                counter
            },
            moved_bytes: vec(
                "payload_moved_bytes_total",
                "Bytes copied from tier to tier, by path.",
                "path",
            )?,
            move_seconds: move_seconds(registry)?,
            evictions: {
                let help = "Replicas given up to make room, by tier: clean (there was a copy), spilled (one was made), discarded.";
                let counter = IntCounterVec::new(Opts::new("payload_evictions_total", help), &["tier", "how"])?;
                registry.register(Box::new(counter.clone()))?;
                counter
            },
            evicted_bytes: vec(
                "payload_evicted_bytes_total",
                "Bytes that evictions gave back, by tier.",
                "tier",
            )?,
            scrubbed_bytes: one(
                "payload_scrubbed_bytes_total",
                "Bytes of replicas that were read to see whether they are right.",
            )?,
            fallbacks: vec(
                "payload_fallbacks_total",
                "New payloads that went to a slower tier than was preferred, for want of room there; by that slower tier.",
                "tier",
            )?,
            compacted_bytes: vec(
                "payload_compacted_bytes_total",
                "Bytes copied out of shared containers of which little was used any more, by tier.",
                "tier",
            )?,
            written_through: one(
                "payload_write_behind_full_total",
                "Commits that were written through because too much was to be written behind already.",
            )?,
            room_waits: vec(
                "payload_room_waits_total",
                "Requests that waited for room in RAM, by result.",
                "result",
            )?,
        })
    }

    pub(crate) fn written_through(&self) {
        self.written_through.inc();
    }

    pub(crate) fn scrubbed(&self, bytes: u64) {
        self.scrubbed_bytes.inc_by(bytes);
    }

    pub(crate) fn compacted(&self, tier: Tier, bytes: u64) {
        self.compacted_bytes.with_label_values(&[tier.as_str()]).inc_by(bytes);
    }

    pub(crate) fn lease_granted(&self, kind: HolderKind) {
        match kind {
            HolderKind::Local => self.leases_granted_local.inc(),
            HolderKind::Remote => self.leases_granted_remote.inc(),
        }
    }

    pub(crate) fn lease_released(&self) {
        self.leases_released.inc();
    }

    pub(crate) fn lease_ended(&self, cause: &str) {
        self.leases_ended.with_label_values(&[cause]).inc();
    }

    pub(crate) fn committed(&self, durability: Durability, bytes: u64) {
        self.commits.with_label_values(&[durability.as_str()]).inc();
        self.committed_bytes.inc_by(bytes);
    }

    pub(crate) fn expired(&self) {
        self.expirations.inc();
    }

    pub(crate) fn moved(&self, from: Tier, to: Tier, bytes: u64, took: Span, worked: bool) {
        let path = format!("{from}-{to}");
        let result = if worked { "done" } else { "failed" };
        self.moves.with_label_values(&[path.as_str(), result]).inc();
        if worked {
            self.moved_bytes.with_label_values(&[path.as_str()]).inc_by(bytes);
            self.move_seconds
                .with_label_values(&[path.as_str()])
                .observe(took.as_secs_f64());
        }
    }

    pub(crate) fn evicted(&self, tier: Tier, how: Eviction, bytes: u64) {
        let how = match how {
            Eviction::Clean => "clean",
            Eviction::Spilled => "spilled",
            Eviction::Discarded => "discarded",
        };
        self.evictions.with_label_values(&[tier.as_str(), how]).inc();
        self.evicted_bytes.with_label_values(&[tier.as_str()]).inc_by(bytes);
    }

    pub(crate) fn waited_for_room(&self, found: bool) {
        let result = if found { "found" } else { "refused" };
        self.room_waits.with_label_values(&[result]).inc();
    }

    pub(crate) fn fell_back(&self, to: Tier) {
        self.fallbacks.with_label_values(&[to.as_str()]).inc();
    }

    pub(crate) fn appended(&self, entries: usize) {
        self.entries_appended.inc_by(entries as u64);
    }

    pub(crate) fn removed(&self, what: &History, count: u32) {
        let what = match what {
            History::Events(_) => "events",
            History::Metadata => "metadata",
            History::Names => "names",
            History::Tombstones => "tombstones",
        };
        self.history_removed.with_label_values(&[what]).inc_by(count.into());
    }

    pub(crate) fn trimmed(&self, entries: u64) {
        self.entries_trimmed.inc_by(entries);
    }

    pub(crate) fn replica_lost(&self, tier: Tier) {
        self.replicas_lost.with_label_values(&[tier.as_str()]).inc();
    }
}

/// What an eviction cost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Eviction {
    /// Nothing: there was a copy in a lower tier.
    Clean,
    /// A copy.
    Spilled,
    /// The payload: that was its policy.
    Discarded,
}

/// From a payload of a few kilobytes to one that keeps a disk busy for minutes.
fn move_seconds(registry: &Registry) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::new(
        "payload_move_seconds",
        "How long a copy from tier to tier took, by path.",
    );
    let histogram = HistogramVec::new(
        options.buckets(prometheus::exponential_buckets(0.001, 4.0, 10)?),
        &["path"],
    )?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
