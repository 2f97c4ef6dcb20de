//! Metadata on the wire.

use payload_core::{ContentType, Document, MetadataRevision, Result, Revision, RevisionInfo};

use crate::v1;

/// A document; its type may be left open.
pub fn document(document: v1::Document) -> Result<Document> {
    Document::new(content_type(&document.content_type)?, document.body)
}

fn content_type(text: &str) -> Result<ContentType> {
    match text {
        "" => Ok(ContentType::default()),
        text => text.parse(),
    }
}

/// A condition on the latest revision: zero stands for none.
pub fn if_revision(number: Option<u64>) -> Option<Option<Revision>> {
    number.map(Revision::from_u64)
}

/// A revision with its bytes.
pub fn revision(found: MetadataRevision) -> v1::GetMetadataResponse {
    v1::GetMetadataResponse {
        info: Some(info(&found.about)),
        body: found.body,
    }
}

/// A revision without its bytes.
pub fn info(info: &RevisionInfo) -> v1::RevisionInfo {
    v1::RevisionInfo {
        revision: info.revision.as_u64(),
        version: info.version.as_u64(),
        content_type: info.content_type.to_string(),
        size: info.size,
        actor: info.actor.to_string(),
        reason: info.reason.as_deref().unwrap_or_default().to_owned(),
        at_us: info.at.as_micros(),
    }
}
