//! Put of 4 KiB, next to one fsynced transaction through the same driver on the same file system.

use std::cell::RefCell;

use anyhow::{Context, Result};
use payload_client::{Client, PutOptions, Tier};
use payload_core::Span;
use tokio::task::JoinSet;

use crate::clock::Moment;
use crate::crew::runtime;
use crate::floor::transaction::Database;
use crate::measure::{Figure, Round, Subject, compare};
use crate::metrics::Scrape;
use crate::report::Settings;
use crate::server::Server;

const SIZE: usize = 4 << 10;
const WARM_UP: usize = 20;

pub(crate) fn run(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let server = Server::start(&settings.payloadd()?, &scratch.path().join("data"))?;
    let database = RefCell::new(Database::create(&scratch.path().join("floor.db"))?);
    let operations = settings.operations;
    let put = |tier, in_flight| {
        let server = &server;
        move || round(server, tier, in_flight, operations)
    };
    let subjects = vec![
        Subject::new("transaction, 1 in flight", || {
            let mut database = database.borrow_mut();
            Round::of(None, || (0..operations).map(|_| database.insert()).collect())
        }),
        Subject::new("volatile, 1 in flight", put(Tier::Ram, 1)),
        Subject::new("host, 1 in flight", put(Tier::Disk, 1)),
        Subject::new("host, 32 in flight", put(Tier::Disk, 32)),
    ];
    compare("4 KiB, SQLite", settings.rounds, subjects)
}

/// One client, one connection, so many calls at a time.
fn round(server: &Server, tier: Tier, in_flight: usize, operations: usize) -> Result<Round> {
    let addresses = server.addresses()?;
    let runtime = runtime()?;
    let client = runtime.block_on(async {
        let client = Client::connect(server.endpoint()).await?;
        puts(client.clone(), tier, WARM_UP).await?;
        anyhow::Ok(client)
    })?;
    let before = Scrape::of(&addresses.http)?;
    let mut round = Round::of(Some(addresses.pid), || {
        runtime.block_on(async {
            let mut tasks: JoinSet<Result<Vec<Span>>> = JoinSet::new();
            for _ in 0..in_flight {
                tasks.spawn(puts(client.clone(), tier, operations / in_flight));
            }
            let mut latencies = Vec::with_capacity(operations);
            while let Some(done) = tasks.join_next().await {
                latencies.extend(done.context("a task panicked")??);
            }
            Ok(latencies)
        })
    })?;
    let after = Scrape::of(&addresses.http)?;
    round.commits = after.host_commits() - before.host_commits();
    round.syncs = after.synced_transactions() - before.synced_transactions();
    Ok(round)
}

async fn puts(client: Client, tier: Tier, count: usize) -> Result<Vec<Span>> {
    let mut latencies = Vec::with_capacity(count);
    for _ in 0..count {
        let options = PutOptions {
            tier: Some(tier),
            ..PutOptions::default()
        };
        let began = Moment::now();
        client.put(&[7; SIZE], options).await?;
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}
