//! Reading 64 MiB through a lease: the pages of a mapping cost more than the lease, so each of them is touched.

use anyhow::{Context, Result};
use payload_client::{AcquireOptions, AllocateOptions, Client, CommitOptions, Endpoint, PayloadId};
use payload_core::Span;

use crate::clock::Moment;
use crate::crew::runtime;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::server::Server;

const SIZE: usize = 64 << 20;
const PAGE: usize = 4 << 10;
/// Different payloads, each of which a client maps once.
const PAYLOADS: usize = 12;

pub(crate) fn run(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let server = Server::start(&settings.payloadd()?, &scratch.path().join("data"))?;
    let ids = runtime()?.block_on(publish(server.endpoint()))?;
    let subjects = vec![
        Subject::new("warm mapping", || round(&server, &ids[..1], PAYLOADS, Mapped::Before)),
        Subject::new("lease, mapped before", || {
            round(&server, &ids, 2, Mapped::SinceTheFirst)
        }),
        Subject::new("first lease", || round(&server, &ids, 1, Mapped::Never)),
    ];
    compare("a byte of each 4 KiB of 64 MiB", settings.rounds, subjects)
}

async fn publish(endpoint: Endpoint) -> Result<Vec<PayloadId>> {
    let client = Client::connect(endpoint).await?;
    let mut ids = Vec::with_capacity(PAYLOADS);
    for _ in 0..PAYLOADS {
        let mut writer = client.allocate(SIZE as u64, AllocateOptions::default()).await?;
        writer.as_mut_slice()?.fill(7);
        ids.push(writer.payload_id());
        writer.commit(CommitOptions::default()).await?;
    }
    Ok(ids)
}

/// What the client that is measured has done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapped {
    /// It holds the lease and has read all of it: what is measured is reading alone.
    Before,
    /// It had a lease, read, and released it.
    SinceTheFirst,
    /// Nothing.
    Never,
}

/// A new client takes each payload `times` times; the last of them count.
fn round(server: &Server, ids: &[PayloadId], times: usize, mapped: Mapped) -> Result<Round> {
    let runtime = runtime()?;
    let client = runtime.block_on(Client::connect(server.endpoint()))?;
    let options = AcquireOptions::default();
    if mapped == Mapped::Before {
        let lease = runtime.block_on(client.acquire(ids[0], options))?;
        touch(&lease)?;
        return Round::of(Some(server.addresses()?.pid), || {
            (0..times).map(|_| touch(&lease)).collect()
        });
    }
    let pass = || -> Result<Vec<Span>> {
        runtime.block_on(async {
            let mut latencies = Vec::with_capacity(ids.len());
            for id in ids {
                let began = Moment::now();
                let lease = client.acquire(*id, options).await?;
                touch(&lease)?;
                latencies.push(began.elapsed());
                lease.release().await?;
            }
            Ok(latencies)
        })
    };
    for _ in 1..times {
        pass()?;
    }
    Round::of(Some(server.addresses()?.pid), pass)
}

/// Reads a byte of each page.
fn touch(bytes: &[u8]) -> Result<Span> {
    let began = Moment::now();
    let sum: u64 = bytes.iter().step_by(PAGE).map(|byte| u64::from(*byte)).sum();
    (std::hint::black_box(sum) > 0)
        .then_some(())
        .context("the payload is empty")?;
    Ok(began.elapsed())
}
