//! `verify`: whether what the server keeps is whole.

use payload_client::PayloadRef;

use super::Server;
use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::human;
use crate::json::{EventFault, VerifiedBytes, VerifiedEvents};
use crate::output::Output;

pub(super) async fn run(server: &Server, args: &VerifyArgs, output: &Output) -> Result<(), Failure> {
    match args.bytes {
        true => bytes(server, args, output).await,
        false => events(server, args, output).await,
    }
}

async fn bytes(server: &Server, args: &VerifyArgs, output: &Output) -> Result<(), Failure> {
    let failed = |error| Failure::new("verify bytes", &error);
    let payload = args.id.map(PayloadRef::Id);
    let found = server.admin().verify_bytes(server.namespace(), payload.as_ref()).await;
    let mut found = found.map_err(failed)?;
    let mut sum = VerifiedBytes::default();
    while let Some(part) = found.next().await.map_err(failed)? {
        sum.add(part);
    }
    output.print(&sum, |_| read(&sum))?;
    match sum.damages.iter().filter(|damage| damage.fate == "GONE").count() {
        0 => Ok(()),
        lost => Err(Failure::damaged(
            "verify bytes",
            format!("{lost} payloads had no sound replica left and are lost"),
        )),
    }
}

fn read(sum: &VerifiedBytes) -> String {
    let damages = sum.damages.iter().map(|damage| {
        let fate = match damage.fate {
            "MENDED" => "made again from a sound one",
            "DROPPED" => "given up; a sound one is left",
            _ => "the last one: the payload is lost",
        };
        let tier = damage.tier.to_lowercase();
        format!("{}  damaged in {tier}, {fate}: {}", damage.payload_id, damage.message)
    });
    let total = format!("{} payloads verified, {} read", sum.payloads, human::size(sum.bytes));
    damages.chain([total]).collect::<Vec<_>>().join("\n")
}

async fn events(server: &Server, args: &VerifyArgs, output: &Output) -> Result<(), Failure> {
    let failed = |error| Failure::new("verify events", &error);
    let found = server.admin().verify_events(server.namespace(), args.id).await;
    let mut found = found.map_err(failed)?;
    let mut sum = VerifiedEvents::default();
    while let Some(part) = found.next().await.map_err(failed)? {
        sum.payloads += part.payloads;
        sum.trimmed += part.trimmed;
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
        sum.payloads, sum.trimmed
    );
    faults.chain([total]).collect::<Vec<_>>().join("\n")
}
