//! `stream tail`: entries as they come, printed or given to a command; a group remembers how far that has come. What the
//! command prints can become a payload of another stream, in the moment in which its entry is committed.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::process::Stdio;

use payload_client::{Client, Consumer, ConsumerOptions, Lease, PutOptions, StreamName, v1};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::Server;
use super::streams::{entry, failed, start};
use crate::args::TailArgs;
use crate::failure::Failure;
use crate::json::streams as json;
use crate::output::Output;

/// Leases that are taken while the command works on what came before.
const LEASES_AHEAD: usize = 8;

pub(super) async fn run(server: &Server, args: TailArgs, output: &Output) -> Result<(), Failure> {
    match &args.exec {
        Some(command) => execute_each(server, &args, command).await,
        None => print_each(server, &args, output).await,
    }
}

fn options(args: &TailArgs) -> ConsumerOptions {
    ConsumerOptions {
        group: args.group.clone(),
        start: Some(start(args.from)),
        tags: args.tags.clone(),
        ..ConsumerOptions::default()
    }
}

async fn print_each(server: &Server, args: &TailArgs, output: &Output) -> Result<(), Failure> {
    let mut consumer = server.streams().consume(&args.name, options(args));
    while let Some(found) = next(&mut consumer, args).await? {
        let document = json::Entry::from(found.clone());
        output.print(&document, |_| entry(&document).join("  "))?;
        if args.group.is_some() {
            let committed = consumer.commit(&found).await;
            committed.map_err(failed("commit in", &args.name))?;
        }
    }
    Ok(())
}

async fn next(consumer: &mut Consumer, args: &TailArgs) -> Result<Option<v1::Entry>, Failure> {
    let found = match args.follow {
        true => consumer.next().await.map(Some),
        false => consumer.next_there_is().await,
    };
    found.map_err(failed("follow", &args.name))
}

async fn execute_each(server: &Server, args: &TailArgs, command: &str) -> Result<(), Failure> {
    let client = server.client().await?;
    let mut reader = client.read_stream(&args.name, options(args), LEASES_AHEAD);
    loop {
        let found = match args.follow {
            true => reader.next().await.map(Some),
            false => reader.next_there_is().await,
        };
        let Some((found, lease)) = found.map_err(failed("follow", &args.name))? else {
            return Ok(());
        };
        let what = format!("run the command for offset {} of {}", found.offset, args.name);
        let lease = lease.map_err(|error| Failure::new(&what, &error))?;
        let printed = execute(&what, command, &found, &lease, args).await?;
        // The payload may go as soon as its entry is committed.
        drop(lease);
        let done = match &args.to {
            Some(to) => publish(&client, to, &printed, &found, reader.progress(&found)).await,
            None if args.group.is_some() => reader.commit(&found).await.map(drop),
            None => Ok(()),
        };
        done.map_err(failed("commit in", &args.name))?;
    }
}

/// Runs the command with the payload on its standard input; gives what it prints, if that is wanted.
async fn execute(
    what: &str,
    command: &str,
    found: &v1::Entry,
    lease: &Lease,
    args: &TailArgs,
) -> Result<Vec<u8>, Failure> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("PAYLOAD_ID", &found.payload_id)
        .env("PAYLOAD_SIZE", found.size.to_string())
        .env("STREAM", args.name.as_str())
        .env("STREAM_OFFSET", found.offset.to_string())
        .env("STREAM_TAGS", found.tags.join(" "))
        .stdin(whole(lease).map_err(|error| Failure::io(what, &error))?)
        .stdout(if args.to.is_some() {
            Stdio::piped()
        } else {
            Stdio::inherit()
        })
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::io(what, &error))?;
    let mut printed = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        let read = stdout.read_to_end(&mut printed).await;
        read.map_err(|error| Failure::io(what, &error))?;
    }
    let ended = child.wait().await.map_err(|error| Failure::io(what, &error))?;
    match ended.success() {
        true => Ok(printed),
        false => Err(Failure::command(what, ended.to_string())),
    }
}

/// The payload as a file. Through a pipe a command that outlives this program would get a part of it, and take that for all.
fn whole(lease: &Lease) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(lease)?;
    file.rewind()?;
    Ok(file)
}

/// Commits what was made together with how far the group has come by making it.
async fn publish(
    client: &Client,
    to: &StreamName,
    made: &[u8],
    from: &v1::Entry,
    progress: payload_client::Result<v1::CommitOffsetRequest>,
) -> payload_client::Result<()> {
    let publish = v1::Publish {
        stream: to.to_string(),
        tags: from.tags.clone(),
        progress: Some(progress?),
        ..v1::Publish::default()
    };
    let options = PutOptions {
        publish: Some(publish),
        ..PutOptions::default()
    };
    client.put(made, options).await.map(drop)
}
