//! A server whose payloads are moved by hand, so that it is known when a move began and when it was done.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use payload_client::{AllocateOptions, Client, CommitOptions, DeleteOptions, PayloadId, Tier};
use payload_core::limits::BATCH_ITEMS_MAX;
use rustix::fs::{Advice, fadvise};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::clock::Moment;
use crate::crew::runtime;
use crate::report::Settings;
use crate::server::Server;

/// Calls at a time, each of as many payloads as one may name.
const IN_FLIGHT: usize = 8;

/// Payloads of one size.
#[derive(Debug)]
pub(crate) struct Load {
    source: Vec<u8>,
    count: usize,
}

/// A server, and a client of it.
pub(crate) struct World {
    below: Tier,
    server: Server,
    runtime: Runtime,
    client: Client,
}

/// Which way.
#[derive(Clone, Copy)]
enum Way {
    Down(Tier),
    Up,
}

impl Load {
    /// So many of `size` that they are about `bytes` together. What is in them does not compress.
    pub(crate) fn new(size: usize, bytes: u64) -> Self {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        Self {
            source: (0..size / 8).flat_map(|_| next().to_le_bytes()).collect(),
            count: usize::try_from(bytes).map_or(1, |bytes| (bytes / size).max(1)),
        }
    }

    /// How many payloads.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn bytes(&self) -> f64 {
        (self.source.len() * self.count) as f64
    }
}

impl World {
    /// RAM for twice what is moved, so that nothing moves by itself but to the tier `below`, which `section` may configure.
    pub(crate) fn start(settings: &Settings, directory: &Path, bytes: u64, below: Tier, section: &str) -> Result<Self> {
        let capacity = bytes * 2 + (512 << 20);
        let config = format!(
            "[tiers.ram]\ncapacity = \"{capacity}B\"\npool = \"0B\"\nlow_watermark = 98\nhigh_watermark = 99\n{section}"
        );
        let server = Server::start_with(&settings.payloadd()?, &directory.join("data"), &config)?;
        let runtime = runtime()?;
        let client = runtime.block_on(Client::connect(server.endpoint()))?;
        Ok(Self {
            below,
            server,
            runtime,
            client,
        })
    }

    /// Fills RAM, spills it all, fetches it back out of a cold cache, and deletes it. Returns the bytes in a second of the
    /// way down and of the way up.
    pub(crate) fn down_and_up(&self, load: &Load) -> Result<(f64, f64)> {
        let (ids, down) = self.down(load)?;
        let up = self.up(load, &ids)?;
        self.delete(ids)?;
        Ok((down, up))
    }

    /// Fills RAM and spills it all; the bytes in a second of the spill alone.
    pub(crate) fn down(&self, load: &Load) -> Result<(Vec<PayloadId>, f64)> {
        self.runtime.block_on(async {
            let ids = self.fill(load).await?;
            let down = self.timed(load, &ids, Way::Down(self.below)).await?;
            Ok((ids, down))
        })
    }

    /// Fetches it all; the bytes in a second.
    pub(crate) fn up(&self, load: &Load, ids: &[PayloadId]) -> Result<f64> {
        if self.below == Tier::Disk {
            forget_pages(&self.server.data().join("disk"))?;
        }
        self.runtime.block_on(self.timed(load, ids, Way::Up))
    }

    pub(crate) fn delete(&self, ids: Vec<PayloadId>) -> Result<()> {
        self.runtime.block_on(async {
            for id in ids {
                self.client.catalog().delete(id, DeleteOptions::default()).await?;
            }
            Ok(())
        })
    }

    async fn fill(&self, load: &Load) -> Result<Vec<PayloadId>> {
        let mut ids = Vec::with_capacity(load.count);
        for number in 0..load.count {
            let size = load.source.len() as u64;
            let mut writer = self.client.allocate(size, AllocateOptions::default()).await?;
            writer.write_at(0, &load.source)?;
            // No two are the same.
            writer.write_at(0, &number.to_le_bytes())?;
            ids.push(writer.payload_id());
            writer.commit(CommitOptions::default()).await?;
        }
        Ok(ids)
    }

    async fn timed(&self, load: &Load, ids: &[PayloadId], way: Way) -> Result<f64> {
        let began = Moment::now();
        move_all(&self.client, ids, way).await?;
        Ok(load.bytes() / began.elapsed().as_secs_f64())
    }
}

async fn move_all(client: &Client, ids: &[PayloadId], way: Way) -> Result<()> {
    let mut calls: JoinSet<Result<()>> = JoinSet::new();
    for batch in ids.chunks(BATCH_ITEMS_MAX) {
        if calls.len() == IN_FLIGHT {
            done(calls.join_next().await)?;
        }
        let (client, batch) = (client.clone(), batch.to_vec());
        calls.spawn(async move {
            let catalog = client.catalog();
            let moved = match way {
                Way::Down(below) => catalog.spill(&batch, below).await?,
                Way::Up => catalog.promote(&batch, Tier::Ram).await?,
            };
            for payload in moved {
                payload?;
            }
            Ok(())
        });
    }
    while !calls.is_empty() {
        done(calls.join_next().await)?;
    }
    Ok(())
}

fn done(call: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    call.context("no call was under way")?.context("a call panicked")?
}

/// Gives the pages of all files back to the kernel.
fn forget_pages(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            forget_pages(&path)?;
            continue;
        }
        let file = File::open(&path)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
