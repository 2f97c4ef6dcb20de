//! Allocations that find RAM full of payloads with copies on disk, next to those that find it empty.

use anyhow::Result;
use payload_client::{
    AllocateOptions, Client, CommitOptions, DeleteOptions, Durability, ListOptions, PayloadId, Tier, Writer, v1,
};
use payload_core::Span;
use tokio::runtime::Runtime;

use crate::clock::Moment;
use crate::crew::runtime;
use crate::kill_loop::stats;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::server::Server;

const CAPACITY: u64 = 512 << 20;
const SIZE: u64 = 4 << 20;
/// Allocations of a round: a quarter of RAM, so that most of them need room that somebody has to leave.
const COUNT: usize = 32;

struct World {
    server: Server,
    runtime: Runtime,
    client: Client,
}

pub(crate) fn measure(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let world = World::start(settings, scratch.path())?;
    let subjects = vec![
        Subject::new("RAM is empty", || {
            world.empty()?;
            world.allocate()
        }),
        Subject::new("RAM is full, all of it has copies", || {
            world.fill()?;
            world.allocate()
        }),
    ];
    compare("allocate 4 MiB", settings.rounds, subjects)
}

impl World {
    /// It may be filled to the brim, and nothing is made ready ahead.
    fn start(settings: &Settings, directory: &std::path::Path) -> Result<Self> {
        let config = format!("[tiers.ram]\ncapacity = \"{CAPACITY}B\"\npool = \"0B\"\n");
        let server = Server::start_with(&settings.payloadd()?, &directory.join("data"), &config)?;
        let runtime = runtime()?;
        let client = runtime.block_on(Client::connect(server.endpoint()))?;
        Ok(Self {
            server,
            runtime,
            client,
        })
    }

    fn used(&self) -> Result<u64> {
        let tiers = stats(&self.server)?.tiers;
        Ok(tiers
            .iter()
            .filter(|tier| tier.tier() == v1::Tier::Ram)
            .map(|tier| tier.used_bytes)
            .sum())
    }

    fn empty(&self) -> Result<()> {
        self.runtime.block_on(async {
            let active = ListOptions {
                state: v1::State::Active,
                page_size: 1_000,
                ..ListOptions::default()
            };
            loop {
                let page = self.client.catalog().list(&active, "").await?;
                if page.payloads.is_empty() {
                    return Ok(());
                }
                for payload in page.payloads {
                    let id: PayloadId = payload.payload_id.parse()?;
                    self.client.catalog().delete(id, DeleteOptions::default()).await?;
                }
            }
        })
    }

    /// Until the high watermark is near: what comes next needs what is there to leave.
    fn fill(&self) -> Result<()> {
        while self.used()? + 2 * SIZE < CAPACITY / 10 * 9 {
            self.runtime.block_on(async {
                let options = AllocateOptions {
                    durability: Some(Durability::Host),
                    tier: Some(Tier::Ram),
                    ..AllocateOptions::default()
                };
                let writer = self.client.allocate(SIZE, options).await?;
                writer.commit(CommitOptions::default()).await?;
                anyhow::Ok(())
            })?;
        }
        Ok(())
    }

    /// Allocates, and keeps all of it until the round is over.
    fn allocate(&self) -> Result<Round> {
        let mut writers: Vec<Writer> = Vec::with_capacity(COUNT);
        let round = Round::of(Some(self.server.addresses()?.pid), || {
            (0..COUNT)
                .map(|_| {
                    let options = AllocateOptions {
                        tier: Some(Tier::Ram),
                        ..AllocateOptions::default()
                    };
                    let began = Moment::now();
                    writers.push(self.runtime.block_on(self.client.allocate(SIZE, options))?);
                    Ok(began.elapsed())
                })
                .collect::<Result<Vec<Span>>>()
        })?;
        for writer in writers {
            self.runtime.block_on(writer.abort("measured"))?;
        }
        Ok(round)
    }
}
