//! Fills the RAM tier with many payloads, kills the server, and reads every one of them back from the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use clap::Args;
use payload_client::{AcquireOptions, Client, PayloadId, PutOptions, v1};
use payload_core::Span;
use rustix::process::{Resource, Signal, getrlimit};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::clock::Moment;
use crate::content::Content;
use crate::crew::runtime;
use crate::machine::kib_of;
use crate::report::{Settings, align, new_table};
use crate::server::Server;
use crate::wait;

/// Calls at a time.
const IN_FLIGHT: usize = 64;
/// Leases that one call asks for.
const BATCH: usize = 64;

/// How long the next server may take, which reads a row for each payload.
const PATIENCE: Span = Span::from_secs(600);

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// How many payloads
    #[arg(long, default_value_t = 100_000)]
    count: usize,
    /// Bytes of each
    #[arg(long, default_value_t = 100 << 10)]
    size: u64,
    /// What the RAM tier may take up [default: a quarter more than the payloads]
    #[arg(long)]
    capacity: Option<u64>,
}

/// What so many payloads needed.
#[derive(Debug, Serialize)]
struct Many {
    count: usize,
    size: u64,
    descriptors_max: u64,
    put_per_second: f64,
    read_per_second: f64,
    /// From the kill until the next server greeted a client.
    recovered_ms: f64,
    /// Memfds, and descriptors that the server has open.
    segments: u64,
    descriptors: usize,
    used_bytes: u64,
    charged_bytes: u64,
    /// Anonymous memory of the server that took them in, and of the next one.
    grown_kib: f64,
    restarted_kib: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    options.settings.report(|settings| measure(settings, options), table)
}

fn measure(settings: &Settings, options: &Options) -> Result<Many> {
    let scratch = settings.scratch()?;
    let bytes = options.size * options.count as u64;
    let capacity = options.capacity.unwrap_or(bytes + bytes / 4 + (64 << 20));
    let config = format!("[tiers.ram]\ncapacity = \"{capacity}B\"\n");
    let mut server = Server::start_with(&settings.payloadd()?, &scratch.path().join("data"), &config)?;

    let (ids, put) = timed(|| runtime()?.block_on(put_all(&server, options)))?;
    let first = server.addresses()?.pid;
    let grown_kib = resident(first);
    let (_, recovered) = timed(|| {
        ensure!(wait::signal(first, Signal::KILL), "the server died by itself");
        server.wait_ready_within(Some(first), PATIENCE)
    })?;
    let second = server.addresses()?.pid;
    let restarted_kib = resident(second);
    let ram = ram(&server)?;
    ensure!(
        ram.replicas == options.count as u64,
        "{} replicas are left of {}",
        ram.replicas,
        options.count
    );
    let descriptors = std::fs::read_dir(format!("/proc/{second}/fd"))?.count();
    let ((), read) = timed(|| runtime()?.block_on(read_all(&server, options, ids)))?;
    Ok(Many {
        count: options.count,
        size: options.size,
        descriptors_max: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
        put_per_second: options.count as f64 / put.as_secs_f64(),
        read_per_second: options.count as f64 / read.as_secs_f64(),
        recovered_ms: recovered.as_secs_f64() * 1e3,
        segments: ram.containers,
        descriptors,
        used_bytes: ram.used_bytes,
        charged_bytes: ram.charged_bytes,
        grown_kib,
        restarted_kib,
    })
}

/// Puts all payloads; the one at a place has the place as its seed.
async fn put_all(server: &Server, options: &Options) -> Result<Vec<PayloadId>> {
    let client = Client::connect(server.endpoint()).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks: JoinSet<Result<Vec<(usize, PayloadId)>>> = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (client, next, count, size) = (client.clone(), Arc::clone(&next), options.count, options.size);
        tasks.spawn(async move {
            let mut own = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(own);
                }
                let seed = index as u64;
                let payload = client
                    .put(&Content { seed, size }.bytes(), PutOptions::default())
                    .await?;
                own.push((index, payload.payload_id.parse()?));
            }
        });
    }
    let mut all = Vec::with_capacity(options.count);
    while let Some(own) = tasks.join_next().await {
        all.extend(own.context("a task panicked")??);
    }
    all.sort_unstable_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, id)| id).collect())
}

/// Reads all payloads and compares every byte.
async fn read_all(server: &Server, options: &Options, ids: Vec<PayloadId>) -> Result<()> {
    let client = Client::connect(server.endpoint()).await?;
    for (batch, ids) in ids.chunks(BATCH).enumerate() {
        let leases = client.acquire_many(ids, AcquireOptions::default()).await?;
        for (index, lease) in leases.into_iter().enumerate() {
            let (lease, seed) = (lease?, (batch * BATCH + index) as u64);
            let size = options.size;
            ensure!(
                lease[..] == Content { seed, size }.bytes(),
                "{} has other bytes",
                ids[index]
            );
        }
    }
    Ok(())
}

fn ram(server: &Server) -> Result<v1::TierStats> {
    let stats = crate::kill_loop::stats(server)?;
    let ram = stats.tiers.into_iter().find(|tier| tier.tier() == v1::Tier::Ram);
    ram.context("the server has no RAM tier")
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Span)> {
    let began = Moment::now();
    Ok((work()?, began.elapsed()))
}

fn resident(pid: u32) -> f64 {
    kib_of(&format!("/proc/{pid}/status"), "RssAnon").unwrap_or(0.0)
}

fn table(many: &Many) -> comfy_table::Table {
    let mut table = new_table(&[]);
    let rows = [
        ("payloads", format!("{} of {} bytes", many.count, many.size)),
        ("descriptors allowed", many.descriptors_max.to_string()),
        ("put per s", format!("{:.0}", many.put_per_second)),
        ("recovered in", format!("{:.0} ms", many.recovered_ms)),
        ("read and compared per s", format!("{:.0}", many.read_per_second)),
        ("segments", many.segments.to_string()),
        ("descriptors open", many.descriptors.to_string()),
        (
            "used / charged bytes",
            format!("{:.3}", many.used_bytes as f64 / many.charged_bytes as f64),
        ),
        ("anonymous KiB, grown", format!("{:.0}", many.grown_kib)),
        ("anonymous KiB, restarted", format!("{:.0}", many.restarted_kib)),
    ];
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    align(&mut table, 1);
    table
}
