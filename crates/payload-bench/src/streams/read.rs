//! All entries of a long stream, in pages, next to a bare query of the same rows.

use anyhow::{Result, ensure};
use payload_client::{ClientOptions, Streams, v1};
use rusqlite::Connection;

use super::{fill, name};
use crate::clock::Moment;
use crate::crew::runtime;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::server::Server;

/// Entries in a page.
const PAGE: u32 = 1_000;
/// What a page shows of each entry.
const ROWS: &str = "
    SELECT e.position, e.payload, e.size, e.bytes_through, e.at, e.tags, e.held, p.state
    FROM stream_entries e LEFT JOIN payloads p ON p.id = e.payload
    WHERE e.stream = (SELECT id FROM streams) ORDER BY e.position";

pub(super) fn pages(settings: &Settings, entries: u64) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let data = scratch.path().join("data");
    fill::entries(&data, &name(), entries)?;
    let server = Server::start(&settings.payloadd()?, &data)?;
    let connection = Connection::open(data.join("catalog.db"))?;
    let streams = Streams::new(server.endpoint(), &ClientOptions::default());
    let runtime = runtime()?;
    let all = |found: u64| {
        ensure!(found == entries, "{found} of {entries} entries were read");
        Ok(())
    };
    compare(
        &format!("read {entries} entries, SQLite, for each"),
        settings.rounds,
        vec![
            Subject::new("one query", || shared(None, entries, || all(query(&connection)?))),
            Subject::new("pages of 1,000", || {
                shared(Some(server.addresses()?.pid), entries, || {
                    all(runtime.block_on(read(&streams))?)
                })
            }),
        ],
    )
}

/// The time of one run, shared by the entries that it reads.
fn shared(peer: Option<u32>, entries: u64, run: impl FnOnce() -> Result<()>) -> Result<Round> {
    Round::of(peer, || {
        let began = Moment::now();
        run()?;
        Ok(vec![
            began.elapsed() / u32::try_from(entries)?;
            usize::try_from(entries)?
        ])
    })
}

fn query(connection: &Connection) -> Result<u64> {
    let mut statement = connection.prepare_cached(ROWS)?;
    let columns = statement.column_count();
    let mut rows = statement.query(())?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            std::hint::black_box(row.get_ref(column)?);
        }
        count += 1;
    }
    Ok(count)
}

async fn read(streams: &Streams) -> Result<u64> {
    let request = v1::ReadStreamRequest {
        limit: PAGE,
        ..v1::ReadStreamRequest::default()
    };
    let (mut pages, mut found) = (streams.pages(&name(), request), 0);
    while let Some(page) = pages.next().await? {
        found += std::hint::black_box(page.entries).len() as u64;
    }
    Ok(found)
}
