//! `ls`: payloads that fit, page after page.

use payload_client::ListOptions;
use payload_core::limits;

use super::Server;
use crate::args::ListArgs;
use crate::failure::Failure;
use crate::human;
use crate::json::{Count, Listed, Payload};
use crate::output::Output;

pub(super) async fn run(server: &Server, args: ListArgs, output: &Output) -> Result<(), Failure> {
    let limit = args.limit.unwrap_or(usize::MAX);
    let document = pages(server, args.options(), limit).await?;
    output.print(&document, |output| {
        let header = ["ID", "STATE", "SIZE", "TIER", "CREATED", "LABELS"];
        let table = output.table(header, document.payloads.iter().map(row));
        match &document.count {
            None => table,
            Some(count) if count.exact => format!("{table}\n{} payloads", count.payloads),
            Some(count) => format!("{table}\nat least {} payloads", count.payloads),
        }
    })
}

async fn pages(server: &Server, mut options: ListOptions, limit: usize) -> Result<Listed, Failure> {
    let catalog = server.catalog();
    let (mut payloads, mut count) = (Vec::new(), None);
    let mut token = String::new();
    loop {
        let wanted = u32::try_from(limit - payloads.len()).unwrap_or(u32::MAX);
        options.page_size = wanted.clamp(1, limits::PAGE_SIZE_MAX);
        let page = catalog
            .list(&options, &token)
            .await
            .map_err(|error| Failure::new("list", &error))?;
        count = count.or(page.count.map(|payloads| Count {
            payloads,
            exact: page.count_exact,
        }));
        options.count = false;
        payloads.extend(page.payloads.into_iter().map(Payload::from));
        payloads.truncate(limit);
        token = page.next_page_token;
        if token.is_empty() || payloads.len() == limit {
            return Ok(Listed { payloads, count });
        }
    }
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
