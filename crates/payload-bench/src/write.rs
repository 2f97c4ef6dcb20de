//! Allocate, write and commit, next to copying the same bytes in memory that is there already.

use std::path::PathBuf;

use anyhow::{Context, Result};
use payload_client::{AllocateOptions, Client, CommitOptions, DeleteOptions, PayloadId, v1};
use payload_core::Span;

use crate::clock::Moment;
use crate::crew::runtime;
use crate::floor::echo::{Caller, Echo};
use crate::kill_loop::stats;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::server::Server;
use crate::wait;

/// How long the server may take to have its pool full again.
const PATIENCE: Span = Span::from_secs(60);
/// Writes of a large payload before the pool is given time: as many as it has ready.
const LARGE_AT_ONCE: usize = 3;

/// How much is held at a time, in bytes; what is older is deleted, which costs processor time too.
const HELD_MAX: usize = 1 << 30;

/// How the bytes get into the payload.
#[derive(Clone, Copy, Debug)]
enum How {
    /// Copied into the mapping.
    InPlace,
    /// Handed to `pwrite`.
    Pwrite,
}

/// Everything a round needs to know.
struct Bench {
    server: Server,
    _echo: Echo,
    echo_socket: PathBuf,
    source: Vec<u8>,
}

pub(crate) fn run(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let server = Server::start(&settings.payloadd()?, &scratch.path().join("data"))?;
    let echo_socket = scratch.path().join("echo.sock");
    let bench = Bench {
        server,
        _echo: Echo::start(&echo_socket, 1)?,
        echo_socket,
        source: (0..64 << 20).map(|n: u32| n as u8).collect(),
    };
    // A sustained round writes twenty times what the pool can have ready.
    let pool = bench.settled()?;
    let many = usize::try_from((20 * pool) >> 26)
        .unwrap_or(0)
        .clamp(LARGE_AT_ONCE, 200);
    let mut figures = bench.large(settings.rounds, many)?;
    figures.extend(bench.smaller("1 MiB", 1 << 20, settings.rounds, settings.operations.min(200))?);
    figures.extend(bench.smaller("100 KiB", 100 << 10, settings.rounds, settings.operations.min(1_000))?);
    Ok(figures)
}

impl Bench {
    fn large(&self, rounds: usize, many: usize) -> Result<Vec<Figure>> {
        let ready = move |how| {
            move || {
                self.settled()?;
                self.round(how, 64 << 20, LARGE_AT_ONCE)
            }
        };
        let subjects = vec![
            Subject::new("memcpy", || {
                let mut target = self.source.clone();
                Round::of(None, || {
                    Ok((0..LARGE_AT_ONCE).map(|_| copy(&self.source, &mut target)).collect())
                })
            }),
            Subject::new("in place, pool full", ready(How::InPlace)),
            Subject::new("pwrite, pool full", ready(How::Pwrite)),
            Subject::new("in place, sustained", move || self.round(How::InPlace, 64 << 20, many)),
        ];
        compare("64 MiB, volatile", rounds, subjects)
    }

    fn smaller(&self, what: &str, size: usize, rounds: usize, operations: usize) -> Result<Vec<Figure>> {
        let subjects = vec![
            Subject::new("two memcpy, two round trips", || {
                let mut caller = Caller::connect(&self.echo_socket)?;
                let source = &self.source[..size];
                let mut targets = [source.to_vec(), source.to_vec()];
                Round::of(None, || {
                    let mut once = || {
                        let trips = caller.two()?;
                        Ok(targets.iter_mut().fold(trips, |sum, target| sum + copy(source, target)))
                    };
                    (0..operations).map(|_| once()).collect()
                })
            }),
            // A payload's memory is its own, so that no cache has it yet.
            Subject::new("one of them to where no cache is", || {
                let mut caller = Caller::connect(&self.echo_socket)?;
                let (mut warm, mut wide) = (self.source[..size].to_vec(), self.source.clone());
                let mut places = (0..wide.len() / size).cycle().map(|place| place * size);
                Round::of(None, || {
                    let mut once = || {
                        let place = places.next().context("a cycle has no end")?;
                        let trips = caller.two()?;
                        let first = copy(&self.source[..size], &mut warm);
                        Ok(trips + first + copy(&warm, &mut wide[place..place + size]))
                    };
                    (0..operations).map(|_| once()).collect()
                })
            }),
            Subject::new("in place", || self.round(How::InPlace, size, operations)),
            Subject::new("pwrite", || self.round(How::Pwrite, size, operations)),
        ];
        compare(&format!("{what}, volatile"), rounds, subjects)
    }

    /// Waits until the server has nothing left to make ready, and says how much it has.
    fn settled(&self) -> Result<u64> {
        let pool = || {
            let tiers = stats(&self.server)?.tiers;
            let ram = tiers.iter().find(|tier| tier.tier() == v1::Tier::Ram);
            anyhow::Ok(ram.context("there is no RAM tier")?.pool_bytes)
        };
        let mut last = pool()?;
        let mut same = 0;
        wait::until("the pool to be full", PATIENCE, || {
            let now = pool()?;
            same = if now == last { same + 1 } else { 0 };
            last = now;
            // A piece takes some milliseconds, a look about as long.
            Ok((same > 50).then_some(now))
        })
    }

    fn round(&self, how: How, size: usize, operations: usize) -> Result<Round> {
        let runtime = runtime()?;
        let client = runtime.block_on(Client::connect(self.server.endpoint()))?;
        let mut made = Vec::with_capacity(operations);
        let round = Round::of(Some(self.server.addresses()?.pid), || {
            runtime.block_on(async {
                let mut latencies = Vec::with_capacity(operations);
                for _ in 0..operations {
                    let (took, id) = self.write(&client, how, size).await?;
                    latencies.push(took);
                    made.push(id);
                    // The tier must not fill up.
                    if made.len() * size > HELD_MAX {
                        delete(&client, made.remove(0)).await?;
                    }
                }
                Ok(latencies)
            })
        })?;
        runtime.block_on(async {
            for id in made {
                delete(&client, id).await?;
            }
            Ok(round)
        })
    }

    async fn write(&self, client: &Client, how: How, size: usize) -> Result<(Span, PayloadId)> {
        let source = &self.source[..size];
        let began = Moment::now();
        let mut writer = client.allocate(size as u64, AllocateOptions::default()).await?;
        match how {
            How::InPlace => writer.as_mut_slice()?.copy_from_slice(source),
            How::Pwrite => writer.write_at(0, source)?,
        }
        let id = writer.payload_id();
        writer.commit(CommitOptions::default()).await?;
        Ok((began.elapsed(), id))
    }
}

async fn delete(client: &Client, id: PayloadId) -> Result<()> {
    client.catalog().delete(id, DeleteOptions::default()).await?;
    Ok(())
}

fn copy(source: &[u8], target: &mut [u8]) -> Span {
    let began = Moment::now();
    target.copy_from_slice(source);
    std::hint::black_box(target);
    began.elapsed()
}
