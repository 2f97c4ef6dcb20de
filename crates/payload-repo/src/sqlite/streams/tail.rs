//! A page of a stream: what the tables have of it, and behind that what only the journal has.

use payload_core::StreamId;
use payload_core::stream::{EntryRead, Offset};
use rusqlite::{Connection, params};

use super::super::fault::Fault;
use super::super::journal::Tail;
use super::super::read::all;
use super::super::row::int;
use super::{row, sql};

/// At most `limit` entries from `from` on. The tail was looked at before the tables are read: so nothing is between them.
pub(super) fn read(
    conn: &Connection,
    stream: StreamId,
    from: Offset,
    limit: u32,
    tail: Tail,
) -> Result<Vec<EntryRead>, Fault> {
    let Tail {
        begins,
        entries,
        states,
    } = tail;
    let until = begins.map_or(i64::MAX, |begins| int(begins.as_u64()));
    let mut page = Vec::new();
    if int(from.as_u64()) < until {
        let params = params![stream.as_bytes(), int(from.as_u64()), limit, until];
        page = all(conn, sql::READ_ENTRIES, params, row::entry_read)?;
    }
    for read in &mut page {
        if let Some(state) = states.get(&read.entry.payload) {
            read.state = Some(*state);
        }
    }
    let room = limit as usize - page.len();
    page.extend(entries.into_iter().take(room));
    Ok(page)
}
