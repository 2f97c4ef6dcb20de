//! Metadata of payloads with few and with many revisions: making one more, next to one fsynced row; reading a page of the
//! history, next to the same query alone.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Args;
use payload_core::port::Repository;
use payload_core::{
    Actor, Change, ChangeSet, CommitOutcome, ContentType, Document, Durability, EventKind, EventRecord, Payload,
    PayloadId, Revision, Span,
};
use rusqlite::Connection;

use crate::clock::Moment;
use crate::floor::transaction::Database;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::{self, Settings};
use crate::rows;

/// What a revision says, in bytes.
const BODY: usize = 1_024;
/// Revisions on a page, and of a payload that has few of them.
const PAGE: u32 = 100;
/// Beyond the numbers of those that are written.
const READERS: u64 = 1 << 40;
/// The columns that a page shows.
const BARE: &str = "
    SELECT revision, version, content_type, length(body), actor, reason, at
    FROM metadata WHERE payload = ?1 AND revision > ?2 ORDER BY revision LIMIT ?3";

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Revisions of the payload that has many
    #[arg(long, default_value_t = 1_000)]
    revisions: u64,
    /// Revisions made, and pages read, in a round
    #[arg(long, default_value_t = 200)]
    count: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    options
        .settings
        .report(|settings| measure(settings, options), report::figures)
}

fn measure(settings: &Settings, options: &Options) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let file = scratch.path().join("catalog.db");
    let repository = rows::open(&file)?;
    let mut figures = put(settings, options, &repository, scratch.path())?;
    figures.extend(read(settings, options, &repository, &file)?);
    Ok(figures)
}

/// Each operation on a payload that has few revisions, and on the one that has many.
fn put(settings: &Settings, options: &Options, repository: &dyn Repository, directory: &Path) -> Result<Vec<Figure>> {
    let mut rows = rows::payloads(repository, 0..=options.count)?;
    let mut many = rows.pop().expect("one more than needed");
    fill(repository, &mut many, options.revisions)?;
    let mut floor = Database::create(&directory.join("floor.db"))?;
    let subjects = vec![
        Subject::new("one row", || {
            Round::of(None, || (0..options.count).map(|_| floor.insert()).collect())
        }),
        Subject::new("payloads with few revisions", || {
            let each = |row: &mut Payload| timed(|| add(repository, row, Durability::Host));
            Round::of(None, || rows.iter_mut().map(each).collect())
        }),
        Subject::new("a payload with many", || {
            let each = |_| timed(|| add(repository, &mut many, Durability::Host));
            Round::of(None, || (0..options.count).map(each).collect())
        }),
    ];
    let case = format!("put {BODY} bytes after {} revisions, SQLite", options.revisions);
    compare(&case, settings.rounds, subjects)
}

fn read(settings: &Settings, options: &Options, repository: &dyn Repository, file: &Path) -> Result<Vec<Figure>> {
    let mut rows = rows::payloads(repository, READERS..=READERS + 1)?;
    let (mut many, mut few) = (rows.remove(0), rows.remove(0));
    fill(repository, &mut few, u64::from(PAGE))?;
    fill(repository, &mut many, options.revisions.max(u64::from(PAGE)))?;
    let connection = Connection::open(file)?;
    let middle = options.revisions.saturating_sub(u64::from(PAGE)) / 2;
    let pages = |page: &dyn Fn() -> Result<usize>| {
        let one = |_| {
            timed(|| {
                ensure!(page()? == PAGE as usize, "a page is not full");
                Ok(())
            })
        };
        Round::of(None, || (0..options.count).map(one).collect())
    };
    let history = |row: &Payload, after: u64| {
        let page = repository.metadata_history(row.id, Revision::from_u64(after), PAGE)?;
        Ok(std::hint::black_box(page).len())
    };
    let subjects = vec![
        Subject::new("the query alone", || pages(&|| bare(&connection, many.id, middle))),
        Subject::new("of few revisions", || pages(&|| history(&few, 0))),
        Subject::new("in the middle of many", || pages(&|| history(&many, middle))),
    ];
    let case = format!("page of {PAGE} of {} revisions, SQLite", options.revisions);
    compare(&case, settings.rounds, subjects)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Span> {
    let began = Moment::now();
    work()?;
    Ok(began.elapsed())
}

fn fill(repository: &dyn Repository, row: &mut Payload, revisions: u64) -> Result<()> {
    (0..revisions).try_for_each(|_| add(repository, row, Durability::Volatile))
}

/// Makes one more revision.
fn add(repository: &dyn Repository, row: &mut Payload, durability: Durability) -> Result<()> {
    let after = Payload {
        version: row.version.next(),
        metadata: Some(Revision::after(row.metadata)),
        ..row.clone()
    };
    let event = EventRecord {
        kind: EventKind::MetadataChanged,
        actor: Actor::from(&row.owner),
        reason: None,
        at: row.created_at,
        from: Some(row.state.kind()),
        to: row.state.kind(),
        note: None,
    };
    let change = Change {
        before: Some(Arc::new(row.clone())),
        after: Arc::new(after.clone()),
        event,
        metadata: Some(Document::new(ContentType::default(), vec![7; BODY].into())?),
    };
    let outcome = repository.commit(ChangeSet::new(vec![change], durability))?;
    ensure!(
        outcome == CommitOutcome::Applied,
        "a revision was not made: {outcome:?}"
    );
    *row = after;
    Ok(())
}

/// Runs the query to its end and reads every column of every row.
fn bare(connection: &Connection, id: PayloadId, after: u64) -> Result<usize> {
    let mut statement = connection.prepare_cached(BARE)?;
    let columns = statement.column_count();
    let mut rows = statement.query((id.as_bytes(), i64::try_from(after)?, PAGE))?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            std::hint::black_box(row.get::<_, rusqlite::types::Value>(column)?);
        }
        count += 1;
    }
    Ok(count)
}
