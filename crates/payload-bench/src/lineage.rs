//! Ten steps through a random lineage graph of a million edges, next to the recursive query alone.
//!
//! Floor and subject read the same catalog. The floor is one query through the bare driver that gives the same answer:
//! every edge with all its columns, and the state and size of every node. The subject is the repository, which goes
//! step by step and keeps count of what it may look at.

mod graph;

use std::ops::RangeInclusive;

use anyhow::{Result, bail, ensure};
use clap::Args;
use payload_core::lineage::{LineageQuery, Scope};
use payload_core::port::Repository;
use payload_core::{PayloadId, Span};
use rusqlite::Connection;

use self::graph::Graph;
use crate::clock::Moment;
use crate::floor::postgres::{Bare, uuid};
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::{self, Settings};
use crate::rows;

/// Steps from where a query starts.
const DEPTH: u32 = 10;
/// How many nodes a query reaches that is measured.
const REACHED: RangeInclusive<usize> = 8_000..=12_000;
/// More edges than so many nodes have.
const EDGES_MAX: u32 = 50_000;

/// What one query alone finds.
const RECURSIVE: &str = "
    WITH RECURSIVE walk (id, depth) AS (
        SELECT ?1, 0 UNION
        SELECT edges.parent, walk.depth + 1 FROM walk JOIN edges ON edges.child = walk.id WHERE walk.depth < ?2)";
/// Only which nodes there are.
const IDS: &str = "SELECT DISTINCT id FROM walk";
/// The edges with their columns, and the ends with theirs.
const ROWS: &str = "
    SELECT edges.child, edges.parent, edges.operation, edges.role, edges.parameters, edges.actor, edges.at,
           payloads.state, payloads.size
    FROM (SELECT DISTINCT id FROM walk WHERE depth < ?2) AS reached
    JOIN edges ON edges.child = reached.id JOIN payloads ON payloads.id = edges.parent";

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Edges of the graph
    #[arg(long, default_value_t = 1_000_000)]
    edges: usize,
    /// Queries in a round
    #[arg(long, default_value_t = 20)]
    queries: usize,
    /// An empty database, as a postgres:// URL, to measure too
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    options
        .settings
        .report(|settings| measure(settings, options), report::figures)
}

fn measure(settings: &Settings, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = sqlite(settings, options)?;
    if let Some(url) = &options.postgres {
        figures.extend(postgres(settings, options, url)?);
    }
    Ok(figures)
}

fn sqlite(settings: &Settings, options: &Options) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let file = scratch.path().join("catalog.db");
    let repository = rows::open(&file)?;
    let graph = Graph::random(&repository, options.edges)?;
    let connection = Connection::open(&file)?;
    let bare = |rest: &str| {
        let (connection, sql) = (&connection, format!("{RECURSIVE}{rest}"));
        move |start| query(connection, &sql, start)
    };
    against(
        settings,
        options,
        "SQLite",
        &repository,
        &graph,
        &bare(ROWS),
        &bare(IDS),
    )
}

fn postgres(settings: &Settings, options: &Options, url: &str) -> Result<Vec<Figure>> {
    let repository = rows::open_postgres(url)?;
    let graph = Graph::random(&repository, options.edges)?;
    let driver = Bare::connect(url)?;
    // Its plan follows statistics, where the repository's statements do not.
    driver.batch("ANALYZE")?;
    let bare = |rest: &str| -> Result<_> {
        let sql = format!("{RECURSIVE}{rest}")
            .replace("?1", "$1::uuid")
            .replace("?2", "$2::int");
        let (driver, statement) = (&driver, driver.prepare(&sql)?);
        Ok(move |start| driver.count(&statement, &[&uuid(start), &DEPTH.cast_signed()]))
    };
    against(
        settings,
        options,
        "PostgreSQL",
        &repository,
        &graph,
        &bare(ROWS)?,
        &bare(IDS)?,
    )
}

/// A query through the bare driver; gives how many rows it has.
type Ask<'a> = &'a dyn Fn(PayloadId) -> Result<usize>;

fn against(
    settings: &Settings,
    options: &Options,
    engine: &str,
    repository: &dyn Repository,
    graph: &Graph,
    bare: Ask<'_>,
    ids: Ask<'_>,
) -> Result<Vec<Figure>> {
    let (starts, reached) = starts(ids, graph, options.queries)?;
    for start in &starts {
        let (edges, found) = (bare(*start)?, walk(repository, *start)?);
        ensure!(edges == found, "the query finds {edges} edges, the repository {found}");
    }
    let case = format!(
        "{} edges, depth {DEPTH}, {reached} nodes reached, {engine}",
        options.edges
    );
    let each = |query: &dyn Fn(PayloadId) -> Result<usize>| {
        let timed = |start: &PayloadId| {
            let began = Moment::now();
            query(*start)?;
            Ok(began.elapsed())
        };
        Round::of(None, || starts.iter().map(timed).collect::<Result<Vec<Span>>>())
    };
    let subjects = vec![
        Subject::new("recursive query, edges and nodes", || each(bare)),
        Subject::new("recursive query, ids only", || each(ids)),
        Subject::new("repository", || each(&|start| walk(repository, start))),
    ];
    compare(&case, settings.rounds, subjects)
}

/// The youngest payloads from which a query reaches about as many nodes as it should, and how many that is.
fn starts(ids: Ask<'_>, graph: &Graph, count: usize) -> Result<(Vec<PayloadId>, usize)> {
    let (mut starts, mut reached) = (Vec::new(), 0);
    for start in graph.youngest_first() {
        let found = ids(start)?;
        if REACHED.contains(&found) {
            starts.push(start);
            reached += found;
        }
        if starts.len() == count {
            return Ok((starts, reached / count));
        }
    }
    bail!("too few payloads reach {REACHED:?} others")
}

/// Runs a query to its end and reads every column of every row.
fn query(connection: &Connection, sql: &str, start: PayloadId) -> Result<usize> {
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query((start.as_bytes(), DEPTH))?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            std::hint::black_box(row.get::<_, rusqlite::types::Value>(column)?);
        }
        count += 1;
    }
    Ok(count)
}

fn walk(repository: &dyn Repository, root: PayloadId) -> Result<usize> {
    let page = repository.lineage(&LineageQuery {
        root,
        scope: Scope::Up,
        depth: DEPTH,
        limit: EDGES_MAX,
        after: None,
    })?;
    ensure!(page.next.is_none(), "there is more than one page");
    Ok(std::hint::black_box(page).edges.len())
}
