//! `transfers`: what is on its way from tier to tier, what waits to be, and how to stop it.

use payload_client::PayloadRef;

use super::Server;
use crate::failure::Failure;
use crate::human;
use crate::json::{Cancelled, Transfer, Transfers};
use crate::output::Output;

pub(super) async fn run(server: &Server, output: &Output) -> Result<(), Failure> {
    let list = server.admin().transfers().await;
    let document = Transfers::from(list.map_err(|error| Failure::new("list transfers", &error))?);
    output.print(&document, |output| text(&document, output))
}

pub(super) async fn cancel(server: &Server, id: &PayloadRef, output: &Output) -> Result<(), Failure> {
    let cancelled = server.admin().cancel_transfer(server.namespace(), id).await;
    let cancelled = cancelled.map_err(|error| Failure::new("cancel the move", &error))?;
    output.print(&Cancelled { cancelled }, |_| match cancelled {
        true => format!("{id} stays where it is"),
        false => "nothing of it moves".to_owned(),
    })
}

fn text(document: &Transfers, output: &Output) -> String {
    if document.running.is_empty() && document.queued.is_empty() {
        return "nothing moves".to_owned();
    }
    let running = document
        .running
        .iter()
        .map(|transfer| row(transfer, human::span(transfer.age_ms)));
    let queued = document.queued.iter().map(|transfer| row(transfer, "waits".to_owned()));
    let header = ["PAYLOAD", "NAMESPACE", "SIZE", "FROM", "TO", "WHY", "FOR"];
    let table = output.table(header, running.chain(queued));
    match document.queued_total - document.queued.len() as u64 {
        0 => table,
        more => format!("{table}\nand {more} more that wait"),
    }
}

fn row(transfer: &Transfer, age: String) -> [String; 7] {
    let tier = |name: &str| match name {
        "TIER_UNSPECIFIED" => "-".to_owned(),
        name => name.to_lowercase(),
    };
    [
        transfer.payload_id.clone(),
        transfer.namespace.clone(),
        human::size(transfer.size),
        tier(transfer.from),
        tier(transfer.to),
        transfer.why.clone(),
        age,
    ]
}
