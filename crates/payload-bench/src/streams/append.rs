//! Appends: one by one and in batches, next to insertions through the same driver with the same durability.

use std::cell::RefCell;
use std::path::Path;

use anyhow::{Context, Result};
use payload_client::{Client, PayloadId, PutOptions, StreamName, Streams, v1};
use payload_core::Span;
use tokio::task::JoinSet;

use super::pgbench::Pgbench;
use super::{fill, name};
use crate::clock::Moment;
use crate::crew::runtime;
use crate::floor::transaction::Database;
use crate::measure::{Figure, Round, Subject, compare};
use crate::metrics::Scrape;
use crate::report::Settings;
use crate::server::Server;

/// Entries of a batch.
pub(super) const BATCH: usize = 100;
const IN_FLIGHT: usize = 32;
const WARM_UP: usize = 20;

pub(super) fn sqlite(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let server = Server::start(&settings.payloadd()?, &scratch.path().join("data"))?;
    let database = RefCell::new(Database::create(&scratch.path().join("floor.db"))?);
    let floor = |rows: usize| {
        let database = &database;
        let operations = settings.operations;
        move || {
            let mut database = database.borrow_mut();
            Round::of(None, || {
                let mut latencies = Vec::with_capacity(operations);
                while latencies.len() < operations {
                    let took = database.insert_many(rows)?;
                    latencies.extend(std::iter::repeat_n(took / rows as u32, rows));
                }
                Ok(latencies)
            })
        }
    };
    let own = Appender::new(&server)?;
    let mut figures = compare(
        "append 1, SQLite",
        settings.rounds,
        vec![
            Subject::new("insert, 1 in flight", floor(1)),
            Subject::new("append, 1 in flight", own.appends(1, 1, settings.operations)),
            Subject::new("append, 32 in flight", own.appends(1, IN_FLIGHT, settings.operations)),
        ],
    )?;
    figures.extend(compare(
        "append 100, SQLite, for each row",
        settings.rounds,
        vec![
            Subject::new("insert of 100, 1 in flight", floor(BATCH)),
            Subject::new("append, 1 in flight", own.appends(BATCH, 1, settings.operations * 10)),
            Subject::new(
                "append, 32 in flight",
                own.appends(BATCH, IN_FLIGHT, settings.operations * 10),
            ),
        ],
    )?);
    Ok(figures)
}

pub(super) fn postgres(settings: &Settings, url: &str, program: &Path) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let config = format!("repository.url = {url:?}\n");
    let server = Server::start_with(&settings.payloadd()?, &scratch.path().join("data"), &config)?;
    let floor = Pgbench::new(program, url, scratch.path())?;
    let own = Appender::new(&server)?;
    let mut figures = compare(
        "append 1, PostgreSQL",
        settings.rounds,
        vec![
            Subject::new("pgbench insert, 1 client", || floor.run(1, 1, settings.operations)),
            Subject::new("pgbench insert, 32 clients", || {
                floor.run(1, IN_FLIGHT, settings.operations)
            }),
            Subject::new("append, 1 in flight", own.appends(1, 1, settings.operations)),
            Subject::new("append, 32 in flight", own.appends(1, IN_FLIGHT, settings.operations)),
        ],
    )?;
    figures.extend(compare(
        "append 100, PostgreSQL, for each row",
        settings.rounds,
        vec![
            Subject::new("pgbench insert of 100, 1 client", || {
                floor.run(BATCH, 1, settings.operations * 10)
            }),
            Subject::new("append, 1 in flight", own.appends(BATCH, 1, settings.operations * 10)),
            Subject::new(
                "append, 32 in flight",
                own.appends(BATCH, IN_FLIGHT, settings.operations * 10),
            ),
        ],
    )?);
    Ok(figures)
}

/// The same appends with few streams and with many, spread over all of them.
pub(super) fn many_streams(settings: &Settings, many: u64) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let few = 100;
    let open = |count: u64| -> Result<(Server, PayloadId)> {
        let data = scratch.path().join(count.to_string());
        let payload = fill::streams(&data, count)?;
        Ok((Server::start(&settings.payloadd()?, &data)?, payload))
    };
    let (with_few, with_many) = (open(few)?, open(many)?);
    let spread = |(server, payload): &(Server, PayloadId), count: u64| -> Result<Round> {
        let names = move |number: usize| fill::name(number as u64 * 7_919 % count);
        append_round(server, *payload, 1, IN_FLIGHT, settings.operations, names)
    };
    compare(
        "append 1, SQLite, 32 in flight",
        settings.rounds,
        vec![
            Subject::new(&format!("over {few} streams"), || spread(&with_few, few)),
            Subject::new(&format!("over {many} streams"), || spread(&with_many, many)),
        ],
    )
}

/// Appends to one stream of a server.
struct Appender<'a> {
    server: &'a Server,
    payload: PayloadId,
}

impl<'a> Appender<'a> {
    fn new(server: &'a Server) -> Result<Self> {
        let payload = runtime()?.block_on(async {
            let client = Client::connect(server.endpoint()).await?;
            client
                .streams()
                .create(&name(), v1::CreateStreamRequest::default())
                .await?;
            let payload = client.put(&[7; 100], PutOptions::default()).await?;
            anyhow::Ok(payload.payload_id.parse()?)
        })?;
        Ok(Self { server, payload })
    }

    /// So many entries in all.
    fn appends(&self, batch: usize, in_flight: usize, entries: usize) -> impl FnMut() -> Result<Round> + use<'a> {
        let (server, payload) = (self.server, self.payload);
        move || append_round(server, payload, batch, in_flight, entries, |_| name())
    }
}

/// One client, one connection, so many appends at a time. A batch's time is shared by its entries.
fn append_round(
    server: &Server,
    payload: PayloadId,
    batch: usize,
    in_flight: usize,
    entries: usize,
    stream: impl Fn(usize) -> StreamName + Clone + Send + 'static,
) -> Result<Round> {
    let addresses = server.addresses()?;
    let runtime = runtime()?;
    let client = runtime.block_on(async {
        let client = Client::connect(server.endpoint()).await?;
        append(client.streams().clone(), payload, 1, 0..WARM_UP, stream.clone()).await?;
        anyhow::Ok(client)
    })?;
    let before = Scrape::of(&addresses.http)?;
    let mut round = Round::of(Some(addresses.pid), || {
        runtime.block_on(async {
            let mut tasks: JoinSet<Result<Vec<Span>>> = JoinSet::new();
            let each = (entries / batch / in_flight).max(1);
            for task in 0..in_flight {
                let numbers = task * each..(task + 1) * each;
                tasks.spawn(append(
                    client.streams().clone(),
                    payload,
                    batch,
                    numbers,
                    stream.clone(),
                ));
            }
            let mut latencies = Vec::with_capacity(entries);
            while let Some(done) = tasks.join_next().await {
                latencies.extend(done.context("a task panicked")??);
            }
            Ok(latencies)
        })
    })?;
    let after = Scrape::of(&addresses.http)?;
    round.commits = round.latencies.len() as f64 / batch as f64;
    round.syncs = after.synced_transactions() - before.synced_transactions();
    Ok(round)
}

async fn append(
    streams: Streams,
    payload: PayloadId,
    batch: usize,
    numbers: std::ops::Range<usize>,
    stream: impl Fn(usize) -> StreamName,
) -> Result<Vec<Span>> {
    let payloads = vec![payload; batch];
    let mut latencies = Vec::with_capacity(numbers.len() * batch);
    for number in numbers {
        let stream = stream(number);
        let began = Moment::now();
        streams.append(&stream, &payloads).await?;
        latencies.extend(std::iter::repeat_n(began.elapsed() / batch as u32, batch));
    }
    Ok(latencies)
}
