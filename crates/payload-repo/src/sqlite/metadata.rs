//! Metadata in SQLite: a row for each revision, written with the change that it comes with.

use payload_core::{Change, MetadataRevision, PayloadId, Revision, RevisionInfo};
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::row::int;
use super::{read, row, sql};

/// Writes the revision that comes with a change, and notes that the one before is the latest no more.
pub(super) fn write(conn: &Connection, change: &Change) -> Result<(), Fault> {
    let (Some(document), Some(revision)) = (&change.metadata, change.after.metadata) else {
        return Ok(());
    };
    let (after, event) = (&change.after, &change.event);
    conn.prepare_cached(sql::INSERT_METADATA)?.execute(params![
        after.id.as_bytes(),
        int(revision.as_u64()),
        int(after.version.as_u64()),
        document.content_type.as_str(),
        event.actor.as_str(),
        event.reason,
        event.at.as_micros(),
        &document.body[..],
    ])?;
    if let Some(old) = change.before.as_ref().and_then(|before| before.metadata) {
        conn.prepare_cached(sql::SUPERSEDE_METADATA)?.execute(params![
            event.at.as_micros(),
            after.id.as_bytes(),
            int(old.as_u64()),
        ])?;
    }
    Ok(())
}

/// See the port.
pub(super) fn get(
    conn: &Connection,
    id: PayloadId,
    revision: Option<Revision>,
) -> Result<Option<MetadataRevision>, Fault> {
    let read = |found: &rusqlite::Row<'_>| {
        Ok(MetadataRevision {
            about: row::revision(found)?,
            body: bytes::Bytes::from(found.get::<_, Vec<u8>>(7)?),
        })
    };
    match revision {
        Some(revision) => read::one(
            conn,
            sql::METADATA,
            params![id.as_bytes(), int(revision.as_u64())],
            read,
        ),
        None => read::one(conn, sql::METADATA_LATEST, [id.as_bytes()], read),
    }
}

/// See the port.
pub(super) fn history(
    conn: &Connection,
    id: PayloadId,
    after: Option<Revision>,
    limit: u32,
) -> Result<Vec<RevisionInfo>, Fault> {
    let after = after.map_or(0, |revision| int(revision.as_u64()));
    read::all(
        conn,
        sql::METADATA_HISTORY,
        params![id.as_bytes(), after, limit],
        row::revision,
    )
}
