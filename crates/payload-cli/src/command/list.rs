//! `ls`: payloads in order of creation, page after page.

use payload_client::v1;
use payload_core::limits;

use super::Server;
use crate::args::ListArgs;
use crate::failure::Failure;
use crate::human;
use crate::json::{Payload, Payloads};
use crate::output::Output;

pub(super) async fn run(server: &Server, args: ListArgs, output: &Output) -> Result<(), Failure> {
    let limit = args.limit.unwrap_or(usize::MAX);
    let state = args.state.unwrap_or_default();
    let document = Payloads {
        payloads: pages(server, state, limit).await?,
    };
    output.print(&document, |output| {
        let header = ["ID", "STATE", "SIZE", "TIER", "CREATED", "LABELS"];
        output.table(header, document.payloads.iter().map(row))
    })
}

async fn pages(server: &Server, state: v1::State, limit: usize) -> Result<Vec<Payload>, Failure> {
    let catalog = server.catalog();
    let mut payloads = Vec::new();
    let mut token = String::new();
    while payloads.len() < limit {
        let wanted = u32::try_from(limit - payloads.len())
            .unwrap_or(u32::MAX)
            .min(limits::PAGE_SIZE_MAX);
        let page = catalog
            .list(state, wanted, &token)
            .await
            .map_err(|error| Failure::new("list", &error))?;
        payloads.extend(page.payloads.into_iter().map(Payload::from));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    Ok(payloads)
}

fn row(payload: &Payload) -> [String; 6] {
    [
        payload.payload_id.clone(),
        payload.state.to_lowercase(),
        human::size(payload.size),
        payload.tier.to_lowercase(),
        human::time(payload.created_at_us),
        labels(payload),
    ]
}

pub(super) fn labels(payload: &Payload) -> String {
    let labels: Vec<String> = payload
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.join(" ")
}
