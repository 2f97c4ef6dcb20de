//! `rm`: deletes payloads, all that it can, and reports the first that it could not.

use payload_client::{Catalog, DeleteOptions, PayloadRef};

use super::{Server, lineage};
use crate::args::RemoveArgs;
use crate::failure::Failure;
use crate::json::{DryRun, Removed, RemovedPayload};
use crate::output::Output;

pub(super) async fn run(server: &Server, args: RemoveArgs, output: &Output) -> Result<(), Failure> {
    let catalog = server.catalog();
    let options = DeleteOptions {
        force: args.force,
        reason: args.reason,
        dependents: args.dependents,
        dry_run: args.dry_run,
    };
    let mut payloads = Vec::with_capacity(args.ids.len());
    let mut result = Ok(());
    for id in args.ids {
        match remove(&catalog, id.clone(), &options).await {
            Ok(removed) => payloads.push(removed),
            Err(error) => {
                let failure = Failure::new(format!("rm {id}"), &error);
                if result.is_ok() {
                    result = Err(failure);
                } else {
                    output.failure(&failure);
                }
            }
        }
    }
    let document = Removed { payloads };
    if !document.payloads.is_empty() {
        output.print(&document, |output| lines(&document.payloads, output))?;
    }
    result
}

/// Deletes one, call after call while descendants are left.
async fn remove(catalog: &Catalog, id: PayloadRef, options: &DeleteOptions) -> payload_client::Result<RemovedPayload> {
    let mut deleted = 0;
    loop {
        let response = catalog.delete(id.clone(), options.clone()).await?;
        deleted += response.dependents_deleted;
        if response.dependents_left == 0 || options.dry_run {
            return Ok(RemovedPayload {
                state: response.state().as_str_name(),
                payload_id: response.payload_id,
                leases: response.leases,
                dependents_deleted: deleted,
                dry_run: options.dry_run.then(|| DryRun {
                    dependents_left: response.dependents_left,
                    dependents: response.dependents.iter().map(Into::into).collect(),
                }),
            });
        }
    }
}

fn lines(payloads: &[RemovedPayload], output: &Output) -> String {
    let lines: Vec<String> = payloads.iter().map(|payload| line(payload, output)).collect();
    lines.join("\n")
}

fn line(payload: &RemovedPayload, output: &Output) -> String {
    let mut line = format!("{}  ", payload.payload_id);
    let state = payload.state.to_lowercase();
    match &payload.dry_run {
        None => line += &state,
        Some(_) => line += &format!("would be {state}"),
    }
    if payload.leases > 0 {
        line += &format!(", waits for {} leases", payload.leases);
    }
    if payload.dependents_deleted > 0 {
        line += &format!(", after {} that descended from it", payload.dependents_deleted);
    }
    if let Some(DryRun {
        dependents_left,
        dependents,
    }) = payload.dry_run.as_ref().filter(|dry_run| dry_run.dependents_left > 0)
    {
        let first = output.table(["FIRST", "STATE", "SIZE"], dependents.iter().map(lineage::row));
        line += &format!(", after {dependents_left} that descend from it:\n{first}");
        if dependents_left > &(dependents.len() as u64) {
            line += &format!("\nand {} more", dependents_left - dependents.len() as u64);
        }
    }
    line
}
