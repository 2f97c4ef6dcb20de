//! The documents about metadata and about what applications note.

use payload_client::v1;
use payload_core::name;
use serde::Serialize;

use crate::base64;

/// `meta get`.
#[derive(Debug, Serialize)]
pub(crate) struct Metadata {
    pub(crate) info: Revision,
    /// In base64, as bytes are in the JSON form of protos.
    pub(crate) body: String,
    /// The same for people, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

/// `meta history`.
#[derive(Debug, Serialize)]
pub(crate) struct MetadataHistory {
    pub(crate) revisions: Vec<Revision>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Revision {
    pub(crate) revision: u64,
    pub(crate) version: u64,
    pub(crate) content_type: String,
    pub(crate) size: u64,
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) at_us: i64,
}

/// `meta set` and `meta patch`.
#[derive(Debug, Serialize)]
pub(crate) struct NewRevision {
    pub(crate) payload_id: String,
    pub(crate) revision: u64,
    pub(crate) version: u64,
}

/// `event append`.
#[derive(Debug, Serialize)]
pub(crate) struct Appended {
    pub(crate) payload_id: String,
    pub(crate) version: u64,
}

/// What an application noted.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    pub(crate) content_type: String,
    /// In base64, as bytes are in the JSON form of protos.
    pub(crate) body: String,
    /// The same for people, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

impl From<v1::GetMetadataResponse> for Metadata {
    fn from(found: v1::GetMetadataResponse) -> Self {
        Self {
            info: found.info.unwrap_or_default().into(),
            body: base64::encode(&found.body),
            text: text(&found.body),
        }
    }
}

impl From<v1::RevisionInfo> for Revision {
    fn from(info: v1::RevisionInfo) -> Self {
        let v1::RevisionInfo {
            revision,
            version,
            content_type,
            size,
            actor,
            reason,
            at_us,
        } = info;
        Self {
            revision,
            version,
            content_type,
            size,
            actor,
            reason,
            at_us,
        }
    }
}

impl From<v1::Document> for Document {
    fn from(document: v1::Document) -> Self {
        Self {
            content_type: document.content_type,
            body: base64::encode(&document.body),
            text: text(&document.body),
        }
    }
}

/// Text that cannot do anything to a terminal.
fn text(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let harmless = |c: char| !name::is_deceptive(c) || matches!(c, '\n' | '\t');
    text.chars().all(harmless).then(|| text.to_owned())
}
