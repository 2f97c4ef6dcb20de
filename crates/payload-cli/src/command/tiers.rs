//! `tiers`: how full each tier is, of what, and what goes next.

use super::{Server, explain};
use crate::failure::Failure;
use crate::human;
use crate::json::{Candidate, Pressure, TierView, Tiers};
use crate::output::Output;

pub(super) async fn run(server: &Server, output: &Output) -> Result<(), Failure> {
    let tiers = server.admin().tiers().await;
    let tiers = tiers.map_err(|error| Failure::new("list tiers", &error))?;
    let document = Tiers {
        tiers: tiers.into_iter().map(TierView::from).collect(),
    };
    output.print(&document, |_| {
        let tiers: Vec<String> = document.tiers.iter().map(tier).collect();
        tiers.join("\n\n")
    })
}

fn tier(view: &TierView) -> String {
    let stats = &view.stats;
    let mut lines = vec![format!(
        "{:<11}{} of {} used",
        stats.tier.to_lowercase(),
        percent(stats.used_bytes, stats.capacity_bytes),
        human::size(stats.capacity_bytes),
    )];
    if stats.unavailable {
        lines.push(line("", "it does not answer; what would go there waits", ""));
    }
    if stats.failing {
        lines.push(line("", "it takes no writes; what is there can be read", ""));
    }
    if stats.ceiling_bytes < stats.capacity_bytes {
        lines.push(line(
            "ceiling",
            &human::size(stats.ceiling_bytes),
            "all that the machine can give now",
        ));
    }
    let mut replicas = counted(stats.replicas, "replica");
    // Only who lists a bucket knows how many objects are in it.
    if stats.containers > 0 {
        replicas = format!("{replicas} in {}", counted(stats.containers, "container"));
    }
    let parts = [
        (
            "payloads",
            stats.charged_bytes - view.reserved_bytes.min(stats.charged_bytes),
            &*replicas,
        ),
        ("pinned", stats.pinned_bytes, "stays in any case; counted above"),
        ("reserved", view.reserved_bytes, "allocated and not committed yet"),
        ("staging", stats.staging_bytes, "where producers put payloads together"),
        (
            "pool",
            stats.pool_bytes,
            "ready for payloads to come; makes way by itself",
        ),
        ("zombie", stats.zombie_bytes, "freed, but a process still has it mapped"),
        ("slack", stats.slack_bytes, "gaps in shared containers"),
        ("free", stats.capacity_bytes.saturating_sub(stats.used_bytes), ""),
    ];
    let named = parts
        .iter()
        .filter(|(name, bytes, _)| *bytes > 0 || matches!(*name, "payloads" | "free"));
    lines.extend(named.map(|(name, bytes, what)| line(name, &human::size(*bytes), what)));
    if let Some(pressure) = &view.pressure {
        lines.extend(self::pressure(pressure));
    }
    lines.join("\n")
}

fn pressure(pressure: &Pressure) -> Vec<String> {
    let marks = format!(
        "above {} % replicas leave until {} % is reached",
        pressure.high_watermark, pressure.low_watermark
    );
    let mut lines = vec![line("marks", &marks, "")];
    let candidates = format!(
        "{}, unless held when their turn comes",
        counted(pressure.candidates, "replica")
    );
    lines.push(line("may go", &human::size(pressure.candidate_bytes), &candidates));
    if pressure.excess_bytes > 0 {
        lines.push(line("must go", &human::size(pressure.excess_bytes), ""));
    }
    if pressure.waiting > 0 {
        let waiting = format!("{} for room", counted(pressure.waiting, "request"));
        lines.push(line("waiting", &human::size(pressure.waiting_bytes), &waiting));
    }
    lines.extend(pressure.next.iter().enumerate().map(next));
    lines
}

fn next((at, candidate): (usize, &Candidate)) -> String {
    let what = format!("{}  {}", candidate.payload_id, explain::exit(candidate.exit));
    let name = if at == 0 { "first" } else { "" };
    line(name, &human::size(candidate.charged_bytes), &what)
}

fn line(name: &str, figure: &str, what: &str) -> String {
    format!("  {name:<9}{figure:<10}  {what}").trim_end().to_owned()
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "0 %".to_owned(),
        whole => format!("{} %", u128::from(part) * 100 / u128::from(whole)),
    }
}
