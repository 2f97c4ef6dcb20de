//! Commits of one row each through the repository, next to single-row inserts: `pgbench` on the same cluster, and one
//! prepared writer on the same file system.
//!
//! The floor of many commits in flight is many writers that each insert one row in a transaction of their own, which the
//! database flushes together as well as it can; the floor of one in flight is one such writer.

mod pgbench;
mod rows;

use std::cell::RefCell;
use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Args;
use payload_core::port::{Clock, Repository};
use payload_core::{Durability, Span};
use payload_repo::{
    Database as PostgresDatabase, PostgresOptions, PostgresRepository, SqliteOptions, SqliteRepository,
};

use self::pgbench::Pgbench;
use self::rows::{Counted, Rows, Still};
use crate::clock::Moment;
use crate::floor::transaction::Database;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::{self, Settings};

/// How many commits are in flight where it is not one.
const MANY: usize = 32;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// An empty database, as a postgres:// URL; without one SQLite alone is measured
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Where `pgbench` and `psql` are [default: in the path]
    #[arg(long, value_name = "DIR", default_value = "")]
    programs: std::path::PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    options
        .settings
        .report(|settings| measure(settings, options), report::figures)
}

fn measure(settings: &Settings, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = sqlite(settings)?;
    if let Some(url) = &options.postgres {
        let pgbench = Pgbench::new(&options.programs, url, settings.scratch()?)?;
        figures.extend(postgres(settings, url, &pgbench, MANY)?);
        figures.extend(postgres(settings, url, &pgbench, 1)?);
    }
    Ok(figures)
}

fn sqlite(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let floor = RefCell::new(Database::create(&scratch.path().join("floor.db"))?);
    let counted = Arc::new(Counted::default());
    let clock: Arc<dyn Clock> = Arc::new(Still);
    let file = scratch.path().join("catalog.db");
    let repository = SqliteRepository::open(
        &file,
        SqliteOptions::default(),
        clock,
        Arc::clone(&counted) as _,
        &|_| Ok(()),
    )?;
    let rows = Rows::claim(&repository)?;
    let operations = settings.operations;
    let subjects = vec![
        Subject::new("transaction, 1 in flight", || {
            let mut floor = floor.borrow_mut();
            Round::of(None, || (0..operations).map(|_| floor.insert()).collect())
        }),
        Subject::new("repository, 1 in flight", || {
            round(&repository, &rows, &counted, 1, operations)
        }),
        Subject::new("repository, 32 in flight", || {
            round(&repository, &rows, &counted, MANY, operations)
        }),
    ];
    compare("one row, SQLite, synchronous = FULL", settings.rounds, subjects)
}

fn postgres(settings: &Settings, url: &str, pgbench: &Pgbench, in_flight: usize) -> Result<Vec<Figure>> {
    let operations = settings.operations;
    let subjects = vec![
        Subject::new("pgbench, insert", || pgbench.round(in_flight, operations)),
        Subject::new("repository", || {
            let before = pgbench.syncs()?;
            let mut round = in_postgres(url, in_flight, operations)?;
            // The database counts a connection's work when the connection ends.
            round.syncs = pgbench.syncs()? - before;
            Ok(round)
        }),
    ];
    let case = format!("one row, PostgreSQL, {in_flight} in flight");
    compare(&case, settings.rounds, subjects)
}

/// One round of a repository that is closed in the end.
fn in_postgres(url: &str, in_flight: usize, operations: usize) -> Result<Round> {
    let database = PostgresDatabase::parse(url, None)?;
    let counted = Arc::new(Counted::default());
    let clock: Arc<dyn Clock> = Arc::new(Still);
    let observer = Arc::clone(&counted) as _;
    let repository = PostgresRepository::open(&database, PostgresOptions::default(), clock, observer)?;
    let rows = Rows::claim(&repository)?;
    round(&repository, &rows, &counted, in_flight, operations)
}

/// So many threads commit one row after the other.
fn round(
    repository: &dyn Repository,
    rows: &Rows,
    counted: &Counted,
    in_flight: usize,
    operations: usize,
) -> Result<Round> {
    let one_after_the_other = || -> Result<Vec<Span>> {
        let each = (0..operations / in_flight).map(|_| {
            let set = rows.next(Durability::Host);
            let began = Moment::now();
            let outcome = repository.commit(set)?;
            let took = began.elapsed();
            ensure!(outcome.is_applied(), "a row was not written: {outcome:?}");
            Ok(took)
        });
        each.collect()
    };
    let before = counted.synced();
    let mut round = Round::of(None, || {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..in_flight).map(|_| scope.spawn(one_after_the_other)).collect();
            let mut latencies = Vec::with_capacity(operations);
            for thread in threads {
                let part = thread.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
                latencies.extend(part?);
            }
            Ok(latencies)
        })
    })?;
    let after = counted.synced();
    (round.commits, round.syncs) = (after.0 - before.0, after.1 - before.1);
    Ok(round)
}
