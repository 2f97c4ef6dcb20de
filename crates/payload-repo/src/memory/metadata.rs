//! Metadata in memory: every revision of every payload.

use payload_core::{Change, MetadataRevision, PayloadId, Revision, RevisionInfo, Timestamp};

use super::Tables;

/// The revision that is the latest no more, and from when on.
fn superseded(change: &Change) -> Option<(Timestamp, PayloadId, Revision)> {
    let old = change.before.as_ref()?.metadata?;
    Some((change.event.at, change.after.id, old))
}

impl Tables {
    /// The revision that comes with a change.
    pub(super) fn add_revision(&mut self, change: &Change) {
        let (Some(document), Some(revision)) = (&change.metadata, change.after.metadata) else {
            return;
        };
        let row = MetadataRevision {
            about: RevisionInfo {
                revision,
                version: change.after.version,
                content_type: document.content_type.clone(),
                size: document.body.len() as u64,
                actor: change.event.actor.clone(),
                reason: change.event.reason.clone(),
                at: change.event.at,
            },
            body: document.body.clone(),
        };
        self.metadata.insert((change.after.id, revision), row);
        self.superseded.extend(superseded(change));
    }

    /// Takes the revision of a change back.
    pub(super) fn remove_revision(&mut self, change: &Change) {
        if let (Some(_), Some(revision)) = (&change.metadata, change.after.metadata) {
            self.metadata.remove(&(change.after.id, revision));
            if let Some(over) = superseded(change) {
                self.superseded.remove(&over);
            }
        }
    }

    pub(super) fn revision(&self, id: PayloadId, revision: Option<Revision>) -> Option<MetadataRevision> {
        let latest = || self.payloads.get(&id).and_then(|row| row.metadata);
        let revision = revision.or_else(latest)?;
        self.metadata.get(&(id, revision)).cloned()
    }

    pub(super) fn revisions(&self, id: PayloadId, after: Option<Revision>, limit: u32) -> Vec<RevisionInfo> {
        let rows = self.metadata.range((id, Revision::after(after))..);
        rows.take_while(|((payload, _), _)| *payload == id)
            .take(limit as usize)
            .map(|(_, row)| row.about.clone())
            .collect()
    }
}
