//! `show`: all about one payload, and what happened to it.

use payload_client::{EventFilter, PayloadRef};

use super::{Server, events, list, metadata};
use crate::failure::Failure;
use crate::human;
use crate::json::{Event, Metadata, Payload, Policy, Replica, Shown};
use crate::output::Output;

pub(super) async fn run(server: &Server, payload: PayloadRef, events: bool, output: &Output) -> Result<(), Failure> {
    let catalog = server.catalog();
    let failed = |error| Failure::new(format!("show {payload}"), &error);
    let (found, names) = catalog.get_with_names(payload.clone()).await.map_err(failed)?;
    let events = match events {
        true => {
            let filter = EventFilter {
                payload: Some(payload.clone()),
                ..EventFilter::default()
            };
            Some(events::pages(&catalog, &filter, "").await?.events)
        }
        false => None,
    };
    let metadata = match found.metadata_revision {
        0 => None,
        revision => Some(
            catalog
                .metadata(payload.clone(), Some(revision))
                .await
                .map_err(failed)?,
        ),
    };
    let document = Shown {
        payload: Payload::from(found),
        names,
        metadata: metadata.map(Metadata::from),
        events,
    };
    output.print(&document, |output| table(&document, output))
}

fn table(document: &Shown, output: &Output) -> String {
    let mut parts = vec![fields(&document.payload, &document.names)];
    parts.extend(document.metadata.as_ref().map(metadata::section));
    let replicas = &document.payload.replicas;
    if !replicas.is_empty() {
        let header = ["REPLICA", "TIER", "STATE", "CHARGED", "CONTAINER", "OFFSET"];
        parts.push(output.table(header, replicas.iter().map(replica)));
    }
    if let Some(events) = &document.events {
        parts.push(output.table(
            ["VERSION", "TIME", "EVENT", "STATE", "ACTOR", "REASON"],
            events.iter().map(event),
        ));
    }
    parts.join("\n\n")
}

pub(super) fn fields(payload: &Payload, names: &[String]) -> String {
    let time = |at: Option<i64>| at.map_or_else(|| "-".to_owned(), human::time);
    let fields = [
        ("id", payload.payload_id.clone()),
        ("namespace", payload.namespace.clone()),
        ("names", names.join(" ")),
        ("state", payload.state.to_lowercase()),
        ("version", payload.version.to_string()),
        (
            "size",
            format!("{} ({} bytes)", human::size(payload.size), payload.size),
        ),
        (
            "digest",
            if payload.digest.is_empty() {
                "-".to_owned()
            } else {
                payload.digest.clone()
            },
        ),
        ("tier", payload.tier.to_lowercase()),
        ("durability", human::durability(payload.durability)),
        ("policy", policy(&payload.policy)),
        ("labels", list::labels(payload)),
        ("owner", payload.owner.clone()),
        ("created", human::time(payload.created_at_us)),
        ("committed", time(payload.committed_at_us)),
        ("deadline", time(payload.deadline_at_us)),
    ];
    let lines = fields.map(|(name, value)| format!("{name:<12}{value}").trim_end().to_owned());
    lines.join("\n")
}

fn replica(replica: &Replica) -> [String; 6] {
    let (container, offset) = match &replica.location {
        Some(location) => (location.container_id.clone(), location.offset.to_string()),
        None => ("-".to_owned(), "-".to_owned()),
    };
    let tier = replica.tier.to_lowercase();
    [
        replica.replica_id.clone(),
        tier,
        replica.state.to_lowercase(),
        human::size(replica.charged),
        container,
        offset,
    ]
}

fn event(event: &Event) -> [String; 6] {
    [
        event.version.to_string(),
        human::time(event.at_us),
        event.kind.clone(),
        event.to.to_lowercase(),
        event.actor.clone(),
        event.reason.clone(),
    ]
}

/// Only what is not as usual.
pub(super) fn policy(policy: &Policy) -> String {
    let mut words = Vec::new();
    if policy.priority != "NORMAL" {
        words.push(format!("priority {}", policy.priority.to_lowercase()));
    }
    if policy.spill_to == "SPILL_TO_VOID" {
        words.push("given up when RAM is short".to_owned());
    }
    if policy.rederivable {
        words.push("rederivable".to_owned());
    }
    if let Some(tier) = policy.min_tier {
        words.push(format!("not below {}", tier.to_lowercase()));
    }
    if let Some(span) = policy.min_residency_ms {
        words.push(format!("in RAM for {span} ms at least"));
    }
    if let Some(soon) = policy.write_behind {
        words.push(format!("written behind, to survive as {} soon", soon.to_lowercase()));
    }
    match words.is_empty() {
        true => "as usual".to_owned(),
        false => words.join(", "),
    }
}
