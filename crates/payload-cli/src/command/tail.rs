//! `stream tail`: entries as they come, printed or given to a command; a group remembers how far that has come.

use std::process::Stdio;

use payload_client::{AcquireOptions, Client, Consumer, ConsumerOptions, Lease, PayloadId, v1};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Server;
use super::streams::{entry, failed, start};
use crate::args::TailArgs;
use crate::failure::Failure;
use crate::json::streams as json;
use crate::output::Output;

pub(super) async fn run(server: &Server, args: TailArgs, output: &Output) -> Result<(), Failure> {
    let options = ConsumerOptions {
        group: args.group.clone(),
        start: Some(start(args.from)),
        tags: args.tags.clone(),
        ..ConsumerOptions::default()
    };
    let mut consumer = server.streams().consume(&args.name, options);
    // Payloads are read only for a command.
    let client = match &args.exec {
        Some(_) => Some(server.client().await?),
        None => None,
    };
    loop {
        let found = match args.follow {
            true => consumer.next().await.map(Some),
            false => consumer.next_there_is().await,
        };
        let Some(found) = found.map_err(failed("follow", &args.name))? else {
            return Ok(());
        };
        deal_with(&found, &args, client.as_ref(), output).await?;
        if args.group.is_some() {
            commit(&mut consumer, &found, &args).await?;
        }
    }
}

async fn deal_with(
    found: &v1::Entry,
    args: &TailArgs,
    client: Option<&Client>,
    output: &Output,
) -> Result<(), Failure> {
    match (&args.exec, client) {
        (Some(command), Some(client)) => execute(client, command, found, args).await,
        _ => {
            let document = json::Entry::from(found.clone());
            output.print(&document, |_| entry(&document).join("  "))
        }
    }
}

async fn commit(consumer: &mut Consumer, found: &v1::Entry, args: &TailArgs) -> Result<(), Failure> {
    let committed = consumer.commit(found).await;
    committed.map(drop).map_err(failed("commit in", &args.name))
}

/// Runs the command with the payload on its standard input. The lease lasts until it has ended.
async fn execute(client: &Client, command: &str, found: &v1::Entry, args: &TailArgs) -> Result<(), Failure> {
    let what = || format!("run the command for offset {} of {}", found.offset, args.name);
    let id: PayloadId = found.payload_id.parse().map_err(|error| Failure::new(what(), &error))?;
    let lease = client.acquire(id, AcquireOptions::default()).await;
    let lease = lease.map_err(|error| Failure::new(what(), &error))?;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("PAYLOAD_ID", &found.payload_id)
        .env("PAYLOAD_SIZE", found.size.to_string())
        .env("STREAM", args.name.as_str())
        .env("STREAM_OFFSET", found.offset.to_string())
        .env("STREAM_TAGS", found.tags.join(" "))
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::io(what(), &error))?;
    feed(&mut child, &lease).await;
    let ended = child.wait().await.map_err(|error| Failure::io(what(), &error))?;
    match ended.success() {
        true => Ok(()),
        false => Err(Failure::command(what(), ended.to_string())),
    }
}

/// A command need not read everything, or anything; its exit code tells how it went.
async fn feed(child: &mut tokio::process::Child, lease: &Lease) {
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(lease).await;
    }
}
