//! `verify`: whether what the server keeps is whole.

use super::Server;
use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::json::{EventFault, VerifiedEvents};
use crate::output::Output;

pub(super) async fn run(server: &Server, args: &VerifyArgs, output: &Output) -> Result<(), Failure> {
    let failed = |error| Failure::new("verify events", &error);
    let found = server.admin().verify_events(server.namespace(), args.id).await;
    let mut found = found.map_err(failed)?;
    let mut sum = VerifiedEvents::default();
    while let Some(part) = found.next().await.map_err(failed)? {
        sum.payloads += part.payloads;
        sum.incomplete += part.incomplete;
        sum.faults.extend(part.faults.into_iter().map(EventFault::from));
    }
    output.print(&sum, |_| table(&sum))?;
    match sum.faults.len() {
        0 => Ok(()),
        faults => Err(Failure::damaged(
            "verify events",
            format!("{faults} payloads have other events than their rows say"),
        )),
    }
}

fn table(sum: &VerifiedEvents) -> String {
    let faults = sum
        .faults
        .iter()
        .map(|fault| format!("{}  {}", fault.payload_id, fault.message));
    let total = format!(
        "{} payloads verified, {} of them without their first events",
        sum.payloads, sum.incomplete
    );
    faults.chain([total]).collect::<Vec<_>>().join("\n")
}
