//! `payload-bench`: measures a server next to the floors of its machine, kills it at random, and shows what it does.

#![allow(clippy::print_stdout, reason = "results go to standard output")]

mod acquire;
mod bytes;
mod clock;
mod content;
mod crew;
mod demo;
mod floor;
mod kill_loop;
mod link;
mod machine;
mod many;
mod mapping;
mod measure;
mod metrics;
mod put;
mod report;
mod restart;
mod server;
mod wait;
mod write;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::report::Settings;

/// Measures Payload Manager next to the floors of the machine, in the same run.
#[derive(Debug, Parser)]
#[command(name = "payload-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Acquire and release on the local socket, next to two bare round trips
    Acquire(Settings),
    /// Put of 4 KiB, next to one fsynced transaction
    Put(Settings),
    /// Allocate, write and commit, next to copying the same bytes
    Write(Settings),
    /// Contents over the byte endpoint, next to a bare `sendfile`
    Bytes(Settings),
    /// Restarts with few and with many payloads
    Restart(restart::Options),
    /// Many payloads in RAM, over a killed server
    Many(many::Options),
    /// Kills server, clients and keeper at random, and checks what was acknowledged
    KillLoop(kill_loop::Options),
    /// A server, a process that publishes files, another one that reads them
    Demo(demo::Options),
    /// Write the files of a directory into a server and print a manifest
    Publish {
        directory: PathBuf,
        /// An http:// address or an endpoint file [default: $PAYLOAD_ENDPOINT, else the default data directory]
        #[arg(long)]
        endpoint: Option<String>,
    },
    /// Read back what a manifest names, and compare it with the files
    Read {
        manifest: PathBuf,
        /// An http:// address or an endpoint file [default: $PAYLOAD_ENDPOINT, else the default data directory]
        #[arg(long)]
        endpoint: Option<String>,
    },
    /// A client of the kill loop
    #[command(hide = true)]
    Victim { endpoint: PathBuf, name: String, seed: u64 },
    /// The other process of the floor
    #[command(hide = true)]
    Echo { socket: PathBuf, size: u64 },
    /// The same for contents over TCP
    #[command(hide = true)]
    SendFile { size: u64 },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("payload-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Acquire(settings) => settings.report(acquire::run, report::figures),
        Command::Put(settings) => settings.report(put::run, report::figures),
        Command::Write(settings) => settings.report(write::run, report::figures),
        Command::Bytes(settings) => settings.report(bytes::run, report::figures),
        Command::Restart(options) => restart::run(&options),
        Command::Many(options) => many::run(&options),
        Command::KillLoop(options) => kill_loop::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Publish { directory, endpoint } => demo::publish::run(&directory, endpoint.as_deref()),
        Command::Read { manifest, endpoint } => demo::read::run(&manifest, endpoint.as_deref()),
        Command::Victim { endpoint, name, seed } => kill_loop::victim::run(&endpoint, &name, seed),
        Command::Echo { socket, size } => floor::echo::serve(&socket, size),
        Command::SendFile { size } => floor::sendfile::serve(size),
    }
}
