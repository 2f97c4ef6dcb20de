//! Reading a large catalog: payloads by their ids out of a cold cache, and pages of a listing.
//!
//! The floor of the first is the same SELECTs by primary key through the bare driver, that of the second the same page of a
//! small catalog. Before each round of the first, the file's pages are given back to the kernel and the file is opened
//! anew, so that neither cache has any of it.

mod postgres;

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use payload_core::listing::{Filter, ListQuery, Position};
use payload_core::port::Repository;
use payload_core::{Label, Namespace, PayloadId, Span};
use rusqlite::Connection;
use rustix::fs::{Advice, fadvise};

use crate::clock::Moment;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::{self, Settings};
use crate::rows;

/// The smaller catalog of the listings.
const FEW: u64 = 1_000;
/// How many of a page are asked for.
const PAGE: u32 = 50;
/// One payload in so many has the label that is asked for.
const LABELLED: u64 = 10;

/// What a row needs, and what hangs on it.
const SELECTS: [&str; 3] = [
    "SELECT * FROM payloads WHERE id = ?1",
    "SELECT key, value FROM labels WHERE payload = ?1 ORDER BY key",
    "SELECT * FROM replicas WHERE payload = ?1 ORDER BY id",
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Payloads in the catalog
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    payloads: u64,
    /// An empty database to measure too; its user must be allowed to make another one
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// The directory of that database's server, whose pages are given back to the kernel before each round
    #[arg(long, value_name = "DIR", requires = "postgres")]
    postgres_data: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    options
        .settings
        .report(|settings| measure(settings, options), report::figures)
}

fn measure(settings: &Settings, options: &Options) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let (few, many) = (scratch.path().join("few.db"), scratch.path().join("many.db"));
    rows::fill(&rows::open(&few)?, FEW, labels)?;
    rows::fill(&rows::open(&many)?, options.payloads, labels)?;
    // All of it goes from the log into the file.
    drop(rows::open(&many)?);
    let mut figures = get(settings, &many, options.payloads)?;
    let (few, many) = (rows::open(&few)?, rows::open(&many)?);
    figures.extend(list(settings, "SQLite", &few, &many, options.payloads)?);
    if let Some(url) = &options.postgres {
        let data = options.postgres_data.as_deref();
        figures.extend(postgres::measure(settings, url, data, options.payloads)?);
    }
    Ok(figures)
}

fn labels(number: u64) -> Vec<Label> {
    let label = |key: &str, value: u64| Label {
        key: key.into(),
        value: value.to_string().into(),
    };
    vec![
        label("camera", rows::mix(number) % LABELLED),
        label("run", number / 1_000),
    ]
}

fn get(settings: &Settings, file: &Path, payloads: u64) -> Result<Vec<Figure>> {
    let case = format!("get by id, {payloads} payloads, cold cache, SQLite");
    let ids = Ids::new(settings, payloads);
    let subjects = vec![
        Subject::new("three SELECTs by primary key", || {
            forget(file)?;
            let connection = Connection::open(file)?;
            timed(ids.next(), |id| select(&connection, id))
        }),
        Subject::new("repository", || {
            forget(file)?;
            let repository = rows::open(file)?;
            timed(ids.next(), |id| {
                let found = repository.get(id)?;
                ensure!(std::hint::black_box(found).is_some(), "a payload is gone");
                Ok(())
            })
        }),
    ];
    compare(&case, settings.rounds, subjects)
}

fn list(
    settings: &Settings,
    engine: &str,
    few: &dyn Repository,
    many: &dyn Repository,
    payloads: u64,
) -> Result<Vec<Figure>> {
    let case = format!("page of {PAGE} with a label, {engine}");
    // From anywhere in the first half, so that the page is full.
    let pages = |repository: &dyn Repository, payloads: u64| {
        let starts = (0..settings.operations as u64).map(|number| rows::id(rows::mix(number) % (payloads / 2)));
        timed(starts, |start| page(repository, start))
    };
    let subjects = vec![
        Subject::new(&format!("{FEW} payloads"), || pages(few, FEW / 5)),
        Subject::new(&format!("{payloads} payloads"), || pages(many, payloads)),
    ];
    compare(&case, settings.rounds, subjects)
}

fn page(repository: &dyn Repository, start: PayloadId) -> Result<()> {
    let page = repository.list(&ListQuery {
        filter: Filter {
            labels: labels(0)[..1].to_vec(),
            ..Filter::default()
        },
        after: Some(Position::by_creation(start)),
        ..ListQuery::all(Namespace::default(), PAGE)
    })?;
    ensure!(page.rows.len() == PAGE as usize, "a page has {} rows", page.rows.len());
    Ok(())
}

fn timed(ids: impl Iterator<Item = PayloadId>, ask: impl Fn(PayloadId) -> Result<()>) -> Result<Round> {
    let one = |id| {
        let began = Moment::now();
        ask(id)?;
        Ok(began.elapsed())
    };
    Round::of(None, || ids.map(one).collect::<Result<Vec<Span>>>())
}

/// The same ids for both subjects of a round, others in each round.
struct Ids {
    turn: Cell<u64>,
    operations: u64,
    payloads: u64,
}

impl Ids {
    fn new(settings: &Settings, payloads: u64) -> Self {
        Self {
            turn: Cell::new(0),
            operations: settings.operations as u64,
            payloads,
        }
    }

    fn next(&self) -> impl Iterator<Item = PayloadId> + use<> {
        let (turn, payloads) = (self.turn.get(), self.payloads);
        self.turn.set(turn + 1);
        let first = turn / 2 * self.operations;
        (first..first + self.operations).map(move |number| rows::id(rows::mix(number) % payloads))
    }
}

/// Reads every column of every row.
fn select(connection: &Connection, id: PayloadId) -> Result<()> {
    let mut found = 0;
    for sql in SELECTS {
        let mut statement = connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query([id.as_bytes()])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                std::hint::black_box(row.get::<_, rusqlite::types::Value>(column)?);
            }
            found += 1;
        }
    }
    ensure!(found > 0, "a payload is gone");
    Ok(())
}

/// Gives the pages of a catalog back to the kernel. Nobody has it open.
fn forget(file: &Path) -> Result<()> {
    let file = File::open(file)?;
    file.sync_all()?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(())
}
