//! `stats`: how full and how busy the server is.

use super::Server;
use crate::failure::Failure;
use crate::human;
use crate::json::{Stats, TierStats};
use crate::output::Output;

pub(super) async fn run(server: &Server, output: &Output) -> Result<(), Failure> {
    let stats = server
        .admin()
        .stats()
        .await
        .map_err(|error| Failure::new("stats", &error))?;
    let stats = Stats::from(stats);
    output.print(&stats, |output| {
        format!("{}\n\n{}", fields(&stats), tiers(&stats, output))
    })
}

fn fields(stats: &Stats) -> String {
    let keeper = match (stats.keeper.kind.as_str(), stats.keeper.connected) {
        ("none", _) => "none".to_owned(),
        (kind, true) => kind.to_owned(),
        (kind, false) => format!("{kind}, not connected"),
    };
    let fields = [
        ("node", stats.node_id.clone()),
        ("epoch", stats.epoch.to_string()),
        ("version", stats.version.clone()),
        ("uptime", human::span(stats.uptime_ms)),
        ("sessions", stats.sessions.to_string()),
        ("leases", stats.leases.to_string()),
        ("allocations", stats.allocations.to_string()),
        ("known", format!("{} payloads", stats.payloads_known)),
        ("keeper", keeper),
    ];
    fields.map(|(name, value)| format!("{name:<13}{value}")).join("\n")
}

fn tiers(stats: &Stats, output: &Output) -> String {
    let header = [
        "TIER",
        "USED",
        "CAPACITY",
        "CHARGED",
        "STAGING",
        "POOL",
        "ZOMBIE",
        "SLACK",
        "CONTAINERS",
        "REPLICAS",
    ];
    output.table(header, stats.tiers.iter().map(row))
}

fn row(tier: &TierStats) -> [String; 10] {
    [
        tier.tier.to_lowercase(),
        human::size(tier.used_bytes),
        human::size(tier.capacity_bytes),
        human::size(tier.charged_bytes),
        human::size(tier.staging_bytes),
        human::size(tier.pool_bytes),
        human::size(tier.zombie_bytes),
        human::size(tier.slack_bytes),
        tier.containers.to_string(),
        tier.replicas.to_string(),
    ]
}
