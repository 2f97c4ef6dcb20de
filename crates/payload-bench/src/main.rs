//! `payload-bench`: measures a server next to the floors of its machine, kills it at random, and shows what it does.

#![allow(clippy::print_stdout, reason = "results go to standard output")]

mod acquire;
mod bytes;
mod catalog;
mod clock;
mod commit;
mod content;
mod crew;
mod demo;
mod floor;
mod grpc;
mod handover;
mod kill_loop;
mod lineage;
mod link;
mod machine;
mod many;
mod mapping;
mod measure;
mod metadata;
mod metrics;
mod object;
mod overflow;
mod pages;
mod peers;
mod pressure;
mod put;
mod report;
mod restart;
mod rows;
mod server;
mod stream_loop;
mod streams;
mod tiers;
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
    /// Acquire and release over gRPC, next to two empty calls
    Grpc(Settings),
    /// Put of 4 KiB, next to one fsynced transaction
    Put(Settings),
    /// Allocate, write and commit, next to copying the same bytes
    Write(Settings),
    /// Lease and read every page, next to reading what is mapped already
    Pages(Settings),
    /// From the commit to the first byte in another process, next to one message and a mapping
    Handover(Settings),
    /// Contents over the byte endpoint, next to a bare `sendfile`
    Bytes(Settings),
    /// One round of what peers/measure.py asks of other stores, as JSON
    Peer(Settings),
    /// Restarts with few and with many payloads
    Restart(restart::Options),
    /// Many payloads in RAM, over a killed server
    Many(many::Options),
    /// Payloads by their ids and pages of a listing in a large catalog, next to bare SELECTs and a small catalog
    Catalog(catalog::Options),
    /// Ten steps through a random lineage graph, next to the recursive query alone
    Lineage(lineage::Options),
    /// Appends, deliveries and reads of streams, next to insertions, calls and queries
    Streams(streams::Options),
    /// Spills and promotions, next to `fio` on the same disk
    Tiers(tiers::Options),
    /// Spills to a bucket of SeaweedFS and promotions from it, next to the same bytes straight through `object_store`
    Object(object::Options),
    /// Leases, allocations and reads while RAM is too small, next to when it is not
    Pressure(pressure::Options),
    /// Commits of one row each, next to single-row inserts, on SQLite and on PostgreSQL
    Commit(commit::Options),
    /// Metadata of payloads with few and with many revisions, next to one fsynced row and the query alone
    Metadata(metadata::Options),
    /// Kills server, clients and keeper at random, and checks what was acknowledged
    KillLoop(kill_loop::Options),
    /// Kills server, keeper, producers and consumers of streams at random, and checks what came through
    StreamLoop(stream_loop::Options),
    /// Writes and reads back more than RAM holds while readers hold leases, and tells what moved and why
    Overflow(overflow::Options),
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
    /// A producer or a consumer of the stream loop
    #[command(hide = true)]
    StreamWorker {
        endpoint: PathBuf,
        role: stream_loop::worker::Role,
        slot: u64,
        life: u64,
        from: u64,
    },
    /// The other process of the floor
    #[command(hide = true)]
    Echo { socket: PathBuf, size: u64 },
    /// The same for contents over TCP
    #[command(hide = true)]
    SendFile { size: u64 },
    /// The same for calls over gRPC
    #[command(hide = true)]
    Unary,
    /// The process that payloads are handed over to
    #[command(hide = true)]
    Reader { socket: PathBuf, endpoint: PathBuf },
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
        Command::Grpc(settings) => settings.report(grpc::run, report::figures),
        Command::Put(settings) => settings.report(put::run, report::figures),
        Command::Write(settings) => settings.report(write::run, report::figures),
        Command::Pages(settings) => settings.report(pages::run, report::figures),
        Command::Handover(settings) => settings.report(handover::run, report::figures),
        Command::Bytes(settings) => settings.report(bytes::run, report::figures),
        Command::Peer(settings) => peers::run(&settings),
        Command::Restart(options) => restart::run(&options),
        Command::Many(options) => many::run(&options),
        Command::Catalog(options) => catalog::run(&options),
        Command::Lineage(options) => lineage::run(&options),
        Command::Streams(options) => streams::run(&options),
        Command::Tiers(options) => tiers::run(&options),
        Command::Object(options) => object::run(&options),
        Command::Pressure(options) => pressure::run(&options),
        Command::Commit(options) => commit::run(&options),
        Command::Metadata(options) => metadata::run(&options),
        Command::KillLoop(options) => kill_loop::run(&options),
        Command::StreamLoop(options) => stream_loop::run(&options),
        Command::Overflow(options) => overflow::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Publish { directory, endpoint } => demo::publish::run(&directory, endpoint.as_deref()),
        Command::Read { manifest, endpoint } => demo::read::run(&manifest, endpoint.as_deref()),
        Command::Victim { endpoint, name, seed } => kill_loop::victim::run(&endpoint, &name, seed),
        Command::StreamWorker {
            endpoint,
            role,
            slot,
            life,
            from,
        } => stream_loop::worker::run(&endpoint, stream_loop::worker::Post { role, slot, life, from }),
        Command::Echo { socket, size } => floor::echo::serve(&socket, size),
        Command::SendFile { size } => floor::sendfile::serve(size),
        Command::Unary => floor::unary::serve(),
        Command::Reader { socket, endpoint } => handover::read(&socket, &endpoint),
    }
}
