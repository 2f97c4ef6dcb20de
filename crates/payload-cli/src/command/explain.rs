//! `explain`: why a payload is where it is, in sentences.

use payload_client::PayloadRef;

use super::{Server, leases, show};
use crate::failure::Failure;
use crate::human;
use crate::json::{Explained, Payload, Plan, Standing};
use crate::output::Output;

pub(super) async fn run(server: &Server, payload: PayloadRef, output: &Output) -> Result<(), Failure> {
    let explained = server.admin().explain(server.namespace(), &payload).await;
    let explained = explained.map_err(|error| Failure::new(format!("explain {payload}"), &error))?;
    let document = Explained::from(explained);
    output.print(&document, |output| text(&document, output))
}

fn text(document: &Explained, output: &Output) -> String {
    let mut parts = vec![heading(&document.payload)];
    parts.extend(document.replicas.iter().map(replica));
    parts.push(format!("next    {}", plan(&document.plan)));
    if document.lease_count > 0 {
        parts.push(leases::table(&document.leases, output));
        let more = document.lease_count - document.leases.len() as u64;
        if more > 0 {
            parts.push(format!("and {more} more leases"));
        }
    }
    parts.join("\n\n")
}

fn heading(payload: &Payload) -> String {
    format!(
        "{}\n{} in namespace {}, {}, durability {}; policy: {}",
        payload.payload_id,
        human::size(payload.size),
        payload.namespace,
        payload.state.to_lowercase(),
        human::durability(payload.durability),
        show::policy(&payload.policy),
    )
}

fn replica(standing: &Standing) -> String {
    let arrival = match &standing.arrival {
        Some(arrival) => {
            let reason = match arrival.reason.as_str() {
                "" => String::new(),
                reason => format!(" ({reason})"),
            };
            let event = arrival.event.replace('_', " ");
            let at = human::time(arrival.at_us);
            format!("here since {at}: {event} by {}{reason}", arrival.actor)
        }
        None => "here for longer than its history is kept".to_owned(),
    };
    let stays: Vec<String> = standing
        .kept_by
        .iter()
        .map(|keep| kept_by(keep, standing.leases))
        .collect();
    let fate = match stays.is_empty() {
        true => format!("may go when room is short: {}", exit(standing.exit)),
        false => format!("stays: {}", stays.join("; ")),
    };
    let node = match standing.memory_node {
        Some(node) => format!(", in memory node {node}"),
        None => String::new(),
    };
    format!("{:<8}{arrival}{node}\n        {fate}", standing.tier.to_lowercase())
}

/// What keeps a replica, as the rest of a sentence.
fn kept_by(keep: &str, leases: u64) -> String {
    match keep {
        "UNSETTLED" => "the payload is not committed, or is ending".to_owned(),
        "IN_DOUBT" => "the catalog has not said yet what became of the last change".to_owned(),
        "ELSEWHERE" => "it is on another node".to_owned(),
        "LEASED" if leases == 1 => "1 lease holds it".to_owned(),
        "LEASED" => format!("{leases} leases hold it"),
        "MOVING" => "its bytes are being copied".to_owned(),
        "MAY_RETURN" => "whoever held it before the restart may still come back".to_owned(),
        "SET_ASIDE" => "copies of it failed or were cancelled, it is left alone for a while".to_owned(),
        "PINNED" => "somebody has pinned it".to_owned(),
        "WRITE_BEHIND" => "the copy that its policy asks for is not made yet".to_owned(),
        "MIN_RESIDENCY" => "it has not been there for as long as its policy says".to_owned(),
        "MIN_TIER" => "its policy lets it sink no further".to_owned(),
        "PRIORITY" => "its priority is never".to_owned(),
        "LOWEST_TIER" => "there is no tier below".to_owned(),
        other => other.to_lowercase(),
    }
}

pub(super) fn exit(exit: &str) -> &'static str {
    match exit {
        "DROP" => "dropped, there is a copy below",
        "DISCARD" => "the payload ends with it",
        _ => "copied to a tier below first",
    }
}

fn plan(plan: &Plan) -> String {
    match plan {
        Plan::Unsettled {} => "whatever its state says; it is not active".to_owned(),
        Plan::Copying { from, to, why } => {
            format!(
                "it is being copied from {} to {} ({why})",
                from.to_lowercase(),
                to.to_lowercase()
            )
        }
        Plan::LeavesWhenReleased(tier) => format!("it leaves {} when the last lease there ends", tier.to_lowercase()),
        Plan::Fetched("HOT") => {
            "it is fetched into ram when there is time and room, because it is read a lot".to_owned()
        }
        Plan::Fetched(_) => "it is fetched into ram when there is time and room, because somebody asked".to_owned(),
        Plan::Leaves(tier) => format!(
            "{0} is short of room, and this is among the next to leave it",
            tier.to_lowercase()
        ),
        Plan::MayLeave(tier) => format!(
            "nothing, until {} is short of room and its turn comes",
            tier.to_lowercase()
        ),
        Plan::WrittenBehind(tier) => format!(
            "it is copied to {} when it is its turn, because it is to survive more",
            tier.to_lowercase()
        ),
        Plan::Stays {} => "nothing, as long as it is left alone".to_owned(),
    }
}
