//! `rm`: deletes payloads, all that it can, and reports the first that it could not.

use payload_client::{DeleteOptions, PayloadRef};

use super::Server;
use crate::failure::Failure;
use crate::json::{Removed, RemovedPayload};
use crate::output::Output;

pub(super) async fn run(
    server: &Server,
    ids: Vec<PayloadRef>,
    force: bool,
    reason: String,
    output: &Output,
) -> Result<(), Failure> {
    let catalog = server.catalog();
    let options = DeleteOptions { force, reason };
    let mut payloads = Vec::with_capacity(ids.len());
    let mut result = Ok(());
    for id in ids {
        match catalog.delete(id.clone(), options.clone()).await {
            Ok(response) => payloads.push(RemovedPayload {
                state: response.state().as_str_name(),
                payload_id: response.payload_id,
                leases: response.leases,
            }),
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
        output.print(&document, |_| lines(&document.payloads))?;
    }
    result
}

fn lines(payloads: &[RemovedPayload]) -> String {
    let lines: Vec<String> = payloads
        .iter()
        .map(|payload| match payload.leases {
            0 => format!("{}  {}", payload.payload_id, payload.state.to_lowercase()),
            leases => format!(
                "{}  {}, waits for {leases} leases",
                payload.payload_id,
                payload.state.to_lowercase()
            ),
        })
        .collect();
    lines.join("\n")
}
