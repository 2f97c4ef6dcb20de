//! Leases on payloads that stay, while a gibibyte of others is spilled as fast as the disk takes it.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow};
use payload_client::{AllocateOptions, Client, CommitOptions, DeleteOptions, PayloadId, Tier};
use payload_core::Span;
use payload_core::limits::BATCH_ITEMS_MAX;
use tokio::runtime::Runtime;

use crate::clock::Moment;
use crate::crew::runtime;
use crate::link::Link;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::server::Server;

const SIZE: u64 = 16 << 20;
const COUNT: usize = 64;
/// What is leased meanwhile, in turn.
const OTHERS: usize = 16;
const OTHER_SIZE: u64 = 4 << 20;

struct World {
    server: Server,
    runtime: Runtime,
    client: Client,
    others: Vec<String>,
}

pub(crate) fn measure(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let world = World::start(settings, scratch.path())?;
    let operations = settings.operations;
    let subjects = vec![
        Subject::new("nothing moves", || {
            world.round(|lease| (0..operations).map(|_| lease()).collect())
        }),
        Subject::new("1 GiB is spilled", || world.while_spilling()),
    ];
    compare("lease on another payload", settings.rounds, subjects)
}

impl World {
    /// RAM for everything, so that nothing moves by itself.
    fn start(settings: &Settings, directory: &std::path::Path) -> Result<Self> {
        let config = "[tiers.ram]\ncapacity = \"3GiB\"\npool = \"0B\"\nlow_watermark = 98\nhigh_watermark = 99\n";
        let server = Server::start_with(&settings.payloadd()?, &directory.join("data"), config)?;
        let runtime = runtime()?;
        let client = runtime.block_on(Client::connect(server.endpoint()))?;
        let others = runtime.block_on(publish(&client, OTHERS, OTHER_SIZE))?;
        Ok(Self {
            server,
            runtime,
            client,
            others: others.iter().map(PayloadId::to_string).collect(),
        })
    }

    /// What `work` makes of leases, of which each is on the next of the others; descriptors and mappings are known.
    fn round(&self, work: impl FnOnce(&mut dyn FnMut() -> Result<Span>) -> Result<Vec<Span>>) -> Result<Round> {
        let addresses = self.server.addresses()?;
        let mut link = Link::connect(&addresses.socket)?;
        let mut next = 0;
        let mut lease = || {
            next = (next + 1) % OTHERS;
            let began = Moment::now();
            let lease = link.acquire(&self.others[next], 0)?;
            link.release(lease.lease_id)?;
            Ok(began.elapsed())
        };
        for _ in 0..OTHERS {
            lease()?;
        }
        Round::of(Some(addresses.pid), || work(&mut lease))
    }

    fn while_spilling(&self) -> Result<Round> {
        let ids = self.runtime.block_on(publish(&self.client, COUNT, SIZE))?;
        let done = AtomicBool::new(false);
        let round = std::thread::scope(|scope| {
            let spilling = scope.spawn(|| {
                let spilled = spill(&self.server, &ids);
                done.store(true, Ordering::Release);
                spilled
            });
            let round = self.round(|lease| {
                let mut latencies = Vec::new();
                while !done.load(Ordering::Acquire) {
                    latencies.push(lease()?);
                }
                Ok(latencies)
            });
            spilling.join().map_err(|_| anyhow!("the spilling thread panicked"))??;
            round
        })?;
        self.runtime.block_on(async {
            for id in ids {
                self.client.catalog().delete(id, DeleteOptions::default()).await?;
            }
            anyhow::Ok(())
        })?;
        Ok(round)
    }
}

/// With a client of its own, which nobody else waits for.
fn spill(server: &Server, ids: &[PayloadId]) -> Result<()> {
    runtime()?.block_on(async {
        let client = Client::connect(server.endpoint()).await?;
        for batch in ids.chunks(BATCH_ITEMS_MAX) {
            for moved in client.catalog().spill(batch, Tier::Disk).await? {
                moved.context("a payload could not be spilled")?;
            }
        }
        Ok(())
    })
}

/// So many payloads of one size.
pub(super) async fn publish(client: &Client, count: usize, size: u64) -> Result<Vec<PayloadId>> {
    let mut ids = Vec::with_capacity(count);
    for number in 0..count {
        let mut writer = client.allocate(size, AllocateOptions::default()).await?;
        writer.as_mut_slice()?.fill(number as u8);
        ids.push(writer.payload_id());
        writer.commit(CommitOptions::default()).await?;
    }
    Ok(ids)
}
