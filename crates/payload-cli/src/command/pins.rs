//! `pin`, `unpin`: keep a payload in a tier, or let it go.

use std::time::Duration;

use payload_client::{PayloadRef, Result, Tier, v1};

use super::Server;
use crate::failure::Failure;
use crate::human;
use crate::json::{Payload, Payloads};
use crate::output::Output;

pub(super) async fn pin(
    server: &Server,
    payload: PayloadRef,
    tier: Tier,
    term: Option<Duration>,
    output: &Output,
) -> std::result::Result<(), Failure> {
    let pinned = server.catalog().pin(&payload, tier, term).await;
    show("pin", &payload, pinned, output)
}

pub(super) async fn unpin(
    server: &Server,
    payload: PayloadRef,
    tier: Option<Tier>,
    output: &Output,
) -> std::result::Result<(), Failure> {
    let unpinned = server.catalog().unpin(&payload, tier).await;
    show("unpin", &payload, unpinned, output)
}

fn show(
    what: &str,
    payload: &PayloadRef,
    result: Result<v1::Payload>,
    output: &Output,
) -> std::result::Result<(), Failure> {
    let payload = result.map_err(|error| Failure::new(format!("{what} {payload}"), &error))?;
    let document = Payloads {
        payloads: vec![payload.into()],
    };
    output.print(&document, |_| document.payloads.iter().map(line).collect())
}

fn line(payload: &Payload) -> String {
    let pins = payload.replicas.iter().filter_map(|replica| {
        let tier = replica.tier.to_lowercase();
        Some(match replica.pin.as_ref()?.until_us {
            Some(at) => format!("pinned to {tier} until {}", human::time(at)),
            None => format!("pinned to {tier}"),
        })
    });
    let pins: Vec<String> = pins.collect();
    match pins.is_empty() {
        true => format!("{}  not pinned", payload.payload_id),
        false => format!("{}  {}", payload.payload_id, pins.join(", ")),
    }
}
