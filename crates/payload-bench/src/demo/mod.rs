//! What it is like: a server, a process that publishes real files, another one that reads them without a copy.

pub(crate) mod publish;
pub(crate) mod read;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use payload_core::Span;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};

use self::publish::Manifest;
use self::read::Reading;
use crate::crew::runtime;
use crate::report::{align, new_table};
use crate::server::{Server, own_payloadd};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The files to publish are below this directory
    path: PathBuf,
    /// The server's data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// End after the table instead of leaving the server running
    #[arg(long)]
    exit: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let directory = options.path.canonicalize();
    let directory = directory.with_context(|| format!("cannot find {}", options.path.display()))?;
    // Else Ctrl-C between here and the end of the table would leave the server behind.
    let runtime = runtime()?;
    let (mut interrupt, mut terminate) = {
        let _enter = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let mut server = Server::start(&own_payloadd()?, &options.data_dir)?;
    let shown = show(&directory, &server);
    if shown.is_ok() && !options.exit {
        invite(&server);
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        println!("\nstopping the server");
    }
    shown.and(server.stop())
}

fn show(directory: &Path, server: &Server) -> Result<()> {
    let file = server.data().join("manifest.json");
    println!("publishing the files below {} from one process", directory.display());
    let text = process("publish", directory, server)?;
    std::fs::write(&file, &text)?;
    let manifest: Manifest = parse(&text)?;
    println!("reading them in another, mapped read-only, and comparing them with the files\n");
    let reading: Reading = parse(&process("read", &file, server)?)?;
    ensure!(reading.verified == manifest.files.len(), "not every file was verified");
    println!("{}\n", table(&manifest, &reading));
    Ok(())
}

fn process(role: &str, argument: &Path, server: &Server) -> Result<Vec<u8>> {
    let output = Command::new(std::env::current_exe()?)
        .arg(role)
        .arg(argument)
        .arg("--endpoint")
        .arg(server.endpoint_file())
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the process that should {role} failed");
    Ok(output.stdout)
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    Ok(serde_json::from_slice(text)?)
}

fn table(manifest: &Manifest, reading: &Reading) -> comfy_table::Table {
    let bytes: u64 = manifest.files.iter().map(|file| file.size).sum();
    let rate = |took: Span| format!("{:.0} MB/s", bytes as f64 / 1e6 / took.as_secs_f64());
    let mut table = new_table(&[]);
    table.add_rows([
        ["files".to_owned(), manifest.files.len().to_string()],
        ["bytes".to_owned(), format!("{:.1} MB", bytes as f64 / 1e6)],
        ["written, one call after the other".to_owned(), rate(manifest.took)],
        ["leased, mapped and digested".to_owned(), rate(reading.took)],
        [
            "digests equal to the files'".to_owned(),
            format!("{} of {}", reading.verified, manifest.files.len()),
        ],
        [
            "lease taken and released, median".to_owned(),
            format!("{:.0} µs", reading.lease.as_secs_f64() * 1e6),
        ],
    ]);
    align(&mut table, 1);
    table
}

fn invite(server: &Server) {
    let payloadctl = std::env::current_exe().map_or("payloadctl".into(), |path| path.with_file_name("payloadctl"));
    println!("The server goes on until Ctrl-C. Look around from another terminal:\n");
    println!("  export PAYLOAD_ENDPOINT={}", server.endpoint_file().display());
    for words in ["stats", "ls", "leases"] {
        println!("  {} {words}", payloadctl.display());
    }
    println!();
}
