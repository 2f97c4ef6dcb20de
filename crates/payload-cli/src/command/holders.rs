//! `holders`: who holds how much.

use super::{Server, leases};
use crate::failure::Failure;
use crate::human;
use crate::json::{HolderSum, Holders};
use crate::output::Output;

pub(super) async fn run(server: &Server, output: &Output) -> Result<(), Failure> {
    let holders = server.admin().holders().await;
    let holders = holders.map_err(|error| Failure::new("list holders", &error))?;
    let document = Holders {
        holders: holders.into_iter().map(HolderSum::from).collect(),
    };
    output.print(&document, |output| {
        if document.holders.is_empty() {
            return "nobody holds anything".to_owned();
        }
        let header = [
            "PID",
            "COMMAND",
            "PRINCIPAL",
            "KIND",
            "LEASES",
            "PAYLOADS",
            "BYTES",
            "ALLOCATIONS",
            "OLDEST",
        ];
        output.table(header, document.holders.iter().map(row))
    })
}

fn row(sum: &HolderSum) -> [String; 9] {
    let holder = &sum.holder;
    [
        leases::pid(holder),
        holder.command.clone(),
        holder.principal.clone(),
        holder.kind.clone(),
        sum.leases.to_string(),
        sum.payloads.to_string(),
        human::size(sum.bytes),
        sum.allocations.to_string(),
        sum.oldest_lease_ms.map_or_else(|| "-".to_owned(), human::span),
    ]
}
