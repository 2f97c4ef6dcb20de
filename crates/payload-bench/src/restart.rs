//! Restarts with few and with many payloads: the time until calls are answered again, and the memory that rows cost.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use payload_client::{Client, PutOptions, Tier};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::crew::runtime;
use crate::machine::kib_of;
use crate::measure::median;
use crate::report::{Settings, align, new_table};
use crate::server::Server;

/// Puts that fill a server, at a time.
const IN_FLIGHT: usize = 64;
const SIZE: usize = 1 << 10;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Payloads on disk of the larger server
    #[arg(long, default_value_t = 100_000)]
    disk: usize,
    /// Payloads in RAM of both servers
    #[arg(long, default_value_t = 1_000)]
    ram: usize,
    /// Payloads on disk of the smaller server
    #[arg(long, default_value_t = 1_000)]
    few: usize,
}

/// What a server with so many payloads needed. Medians over the rounds.
#[derive(Debug, Serialize)]
struct Restart {
    disk: usize,
    ram: usize,
    /// From the start of the program until the server greeted a client.
    ready_ms: f64,
    spread_ms: (f64, f64),
    ratio: f64,
    /// Resident memory without shared pages: of the server that wrote the payloads, and of one just restarted.
    grown_kib: f64,
    restarted_kib: f64,
}

struct Subject {
    disk: usize,
    ram: usize,
    server: Server,
    grown_kib: f64,
    restarted_kib: Vec<f64>,
    ready_ms: Vec<f64>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    options.settings.report(|settings| measure(settings, options), table)
}

fn measure(settings: &Settings, options: &Options) -> Result<Vec<Restart>> {
    let scratch = settings.scratch()?;
    let payloadd = settings.payloadd()?;
    let subject = |name: &str, disk, ram| Subject::new(&payloadd, &scratch.path().join(name), disk, ram);
    let mut subjects = [
        subject("few", options.few, options.ram)?,
        subject("many", options.disk, options.ram)?,
    ];
    for _ in 0..settings.rounds {
        for subject in &mut subjects {
            subject.restart()?;
        }
    }
    let mut restarts: Vec<Restart> = Vec::new();
    for subject in subjects {
        let mut restart = subject.result();
        restart.ratio = restart.ready_ms / restarts.first().map_or(restart.ready_ms, |few| few.ready_ms);
        restarts.push(restart);
    }
    Ok(restarts)
}

impl Subject {
    fn new(payloadd: &Path, data: &Path, disk: usize, ram: usize) -> Result<Self> {
        let server = Server::start(payloadd, data)?;
        runtime()?.block_on(async {
            let client = Client::connect(server.endpoint()).await?;
            fill(&client, Tier::Disk, disk).await?;
            fill(&client, Tier::Ram, ram).await
        })?;
        Ok(Self {
            disk,
            ram,
            grown_kib: resident(server.addresses()?.pid),
            server,
            restarted_kib: Vec::new(),
            ready_ms: Vec::new(),
        })
    }

    fn restart(&mut self) -> Result<()> {
        let took = self.server.restart()?;
        self.ready_ms.push(took.as_secs_f64() * 1e3);
        self.restarted_kib.push(resident(self.server.addresses()?.pid));
        Ok(())
    }

    fn result(self) -> Restart {
        let least = self.ready_ms.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.ready_ms.iter().copied().fold(0.0, f64::max);
        Restart {
            disk: self.disk,
            ram: self.ram,
            ready_ms: median(self.ready_ms),
            spread_ms: (least, most),
            ratio: 1.0,
            grown_kib: self.grown_kib,
            restarted_kib: median(self.restarted_kib),
        }
    }
}

async fn fill(client: &Client, tier: Tier, count: usize) -> Result<()> {
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for task in 0..IN_FLIGHT {
        let client = client.clone();
        // The remainder is shared out one by one.
        let share = count / IN_FLIGHT + usize::from(task < count % IN_FLIGHT);
        tasks.spawn(async move {
            for _ in 0..share {
                let options = PutOptions {
                    tier: Some(tier),
                    ..PutOptions::default()
                };
                client.put(&[7; SIZE], options).await?;
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a task panicked")??;
    }
    Ok(())
}

fn resident(pid: u32) -> f64 {
    kib_of(&format!("/proc/{pid}/status"), "RssAnon").unwrap_or(0.0)
}

fn table(restarts: &Vec<Restart>) -> comfy_table::Table {
    let mut table = new_table(&[
        "on disk",
        "in RAM",
        "ready ms",
        "spread",
        "×",
        "anonymous KiB, grown",
        "restarted",
        "bytes a payload",
    ]);
    let base = restarts.first();
    for restart in restarts {
        let payloads = base.map_or(0, |few| restart.disk + restart.ram - few.disk - few.ram);
        let more = base.map_or(0.0, |few| restart.grown_kib - few.grown_kib);
        table.add_row([
            restart.disk.to_string(),
            restart.ram.to_string(),
            format!("{:.1}", restart.ready_ms),
            format!("{:.1}–{:.1}", restart.spread_ms.0, restart.spread_ms.1),
            format!("{:.2}", restart.ratio),
            format!("{:.0}", restart.grown_kib),
            format!("{:.0}", restart.restarted_kib),
            match payloads {
                0 => String::new(),
                count => format!("{:.0}", more * 1024.0 / count as f64),
            },
        ]);
    }
    align(&mut table, 0);
    table
}
