//! Metadata in PostgreSQL: a row for each revision, written with the change that it comes with.

use payload_core::{Change, Document, MetadataRevision, PayloadId, Revision, RevisionInfo};

use super::connect::Session;
use super::fault::Fault;
use super::row::int;
use super::{row, sql};

/// The revisions that come with changes.
pub(super) fn made<'a>(changes: &[&'a Change]) -> Vec<(&'a Change, &'a Document, Revision)> {
    let made = |change: &&'a Change| Some((*change, change.metadata.as_ref()?, change.after.metadata?));
    changes.iter().filter_map(made).collect()
}

/// Those that are the latest no more.
pub(super) fn superseded<'a>(changes: &[&'a Change]) -> Vec<(&'a Change, Revision)> {
    let changes = changes.iter().filter(|change| change.metadata.is_some());
    let old = |change: &&'a Change| Some((*change, change.before.as_ref()?.metadata?));
    changes.filter_map(old).collect()
}

/// See the port.
pub(super) async fn get(
    session: &Session,
    id: PayloadId,
    revision: Option<Revision>,
) -> Result<Option<MetadataRevision>, Fault> {
    let id = row::uuid(id.as_bytes());
    match revision {
        Some(revision) => {
            let revision = int(revision.as_u64());
            session.one(sql::METADATA, &[&id, &revision], row::metadata).await
        }
        None => session.one(sql::METADATA_LATEST, &[&id], row::metadata).await,
    }
}

/// See the port.
pub(super) async fn history(
    session: &Session,
    id: PayloadId,
    after: Option<Revision>,
    limit: u32,
) -> Result<Vec<RevisionInfo>, Fault> {
    let after = after.map_or(0, |revision| int(revision.as_u64()));
    let params: super::connect::Params<'_> = &[&row::uuid(id.as_bytes()), &after, &i64::from(limit)];
    session.all(sql::METADATA_HISTORY, params, row::revision).await
}
