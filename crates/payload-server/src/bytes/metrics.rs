//! What the byte endpoint counts.

use prometheus::{IntCounter, IntCounterVec, Opts, PullingGauge, Registry};

use super::head::Method;

/// Counters of the endpoint; cheap to clone.
#[derive(Clone)]
pub(super) struct Metrics {
    requests: IntCounterVec,
    sent: IntCounter,
    received: IntCounter,
    broken: IntCounterVec,
    refused: IntCounter,
}

impl Metrics {
    /// Registers them; `connections` tells how many there are at the moment.
    pub(super) fn new(
        registry: &Registry,
        connections: impl Fn() -> usize + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        let vec = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let bytes = vec(
            "payload_transfer_bytes_total",
            "Bytes of content that the byte endpoint sent and received.",
            &["direction"],
        )?;
        let refused = IntCounter::new(
            "payload_transfer_connections_refused_total",
            "Connections to the byte endpoint that were one too many.",
        )?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(PullingGauge::new(
            "payload_transfer_connections",
            "Open connections to the byte endpoint.",
            Box::new(move || connections() as f64),
        )?))?;
        Ok(Self {
            requests: vec(
                "payload_transfer_requests_total",
                "Requests to the byte endpoint, by method and status.",
                &["method", "status"],
            )?,
            sent: bytes.with_label_values(&["sent"]),
            received: bytes.with_label_values(&["received"]),
            broken: vec(
                "payload_transfer_broken_total",
                "Requests to the byte endpoint that broke off, by cause.",
                &["cause"],
            )?,
            refused,
        })
    }

    pub(super) fn answered(&self, method: Method, status: u16) {
        self.requests
            .with_label_values(&[method.as_str(), &status.to_string()])
            .inc();
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.sent.inc_by(bytes);
    }

    pub(super) fn received(&self, bytes: u64) {
        self.received.inc_by(bytes);
    }

    pub(super) fn broke(&self, error: &std::io::Error) {
        let cause = match error.kind() {
            std::io::ErrorKind::TimedOut => "stalled",
            std::io::ErrorKind::Interrupted => "revoked",
            std::io::ErrorKind::UnexpectedEof
            | std::io::ErrorKind::BrokenPipe
            | std::io::ErrorKind::ConnectionReset => "peer_gone",
            _ => "error",
        };
        self.broken.with_label_values(&[cause]).inc();
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }
}
