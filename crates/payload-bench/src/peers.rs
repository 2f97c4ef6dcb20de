//! One round of the work that `peers/measure.py` gives to every store, in a server that is fresh: `peers/work.py` says
//! the same in Python.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use payload_client::{AcquireOptions, AllocateOptions, Client, ClientOptions, CommitOptions, DeleteOptions};
use payload_client::{DigestChoice, PayloadId, PutOptions};
use payload_core::Span;
use serde::Serialize;

use crate::clock::Moment;
use crate::crew::runtime;
use crate::handover::{From, Reader};
use crate::machine::Machine;
use crate::report::Settings;
use crate::server::Server;

const SMALL: usize = 4 << 10;
const LARGE: usize = 64 << 20;

/// Microseconds of every operation, by what was done.
type Micros = BTreeMap<&'static str, Vec<f64>>;

/// What is printed.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    micros: Micros,
}

pub(crate) fn run(settings: &Settings) -> Result<()> {
    let scratch = settings.scratch()?;
    let machine = Machine::describe(scratch.path());
    let server = Server::start(&settings.payloadd()?, &scratch.path().join("data"))?;
    let mut micros = Micros::new();
    runtime()?.block_on(alone(&server, &mut micros))?;
    micros.insert("hand over 64 MiB", hand_over(&server, scratch.path())?);
    println!("{}", serde_json::to_string(&Report { machine, micros })?);
    Ok(())
}

async fn alone(server: &Server, micros: &mut Micros) -> Result<()> {
    let client = Client::connect_with(server.endpoint(), ClientOptions::default()).await?;
    let source: Vec<u8> = (0..LARGE).map(|n| n as u8).collect();
    for (what, count) in [("put 64 MiB, first", 1), ("put 64 MiB", 8)] {
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Moment::now();
            let id = put_large(&client, &source).await?;
            took.push(in_micros(began.elapsed()));
            drop_it(&client, id).await?;
        }
        micros.insert(what, took);
    }
    let large = put_large(&client, &source).await?;
    micros.insert("get 64 MiB", gets(&client, large, 20).await?);
    drop_it(&client, large).await?;

    let mut took = Vec::new();
    for _ in 0..300 {
        let began = Moment::now();
        let id = put_small(&client, &source[..SMALL]).await?;
        took.push(in_micros(began.elapsed()));
        drop_it(&client, id).await?;
    }
    micros.insert("put 4 KiB", took);
    let small = put_small(&client, &source[..SMALL]).await?;
    micros.insert("get 4 KiB", gets(&client, small, 1_000).await?);
    Ok(())
}

/// Without a digest, because no peer computes one.
async fn put_large(client: &Client, source: &[u8]) -> Result<PayloadId> {
    let mut writer = client.allocate(source.len() as u64, AllocateOptions::default()).await?;
    writer.write_at(0, source)?;
    let id = writer.payload_id();
    let commit = CommitOptions {
        digest: DigestChoice::Skip,
        ..CommitOptions::default()
    };
    writer.commit(commit).await?;
    Ok(id)
}

async fn put_small(client: &Client, source: &[u8]) -> Result<PayloadId> {
    let options = PutOptions {
        digest: DigestChoice::Skip,
        ..PutOptions::default()
    };
    Ok(client.put(source, options).await?.payload_id.parse()?)
}

/// The first one, which maps, does not count.
async fn gets(client: &Client, id: PayloadId, count: usize) -> Result<Vec<f64>> {
    let mut took = Vec::with_capacity(count);
    for n in 0..=count {
        let began = Moment::now();
        let lease = client.acquire(id, AcquireOptions::default()).await?;
        std::hint::black_box(lease.first().context("the payload is empty")?);
        lease.release().await?;
        if n > 0 {
            took.push(in_micros(began.elapsed()));
        }
    }
    Ok(took)
}

async fn drop_it(client: &Client, id: PayloadId) -> Result<()> {
    client.catalog().delete(id, DeleteOptions::default()).await?;
    Ok(())
}

fn hand_over(server: &Server, directory: &Path) -> Result<Vec<f64>> {
    let reader = Reader::start(&directory.join("reader.sock"), &server.endpoint_file())?;
    let round = reader.lease(server, From::Answer)?;
    Ok(round.latencies.into_iter().map(in_micros).collect())
}

fn in_micros(span: Span) -> f64 {
    span.as_secs_f64() * 1e6
}
