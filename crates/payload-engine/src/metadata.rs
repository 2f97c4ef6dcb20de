//! Metadata: replaced or patched by a new revision, read as of any.

use std::sync::Arc;

use payload_core::page;
use payload_core::{
    ContentType, Document, Durability, Error, EventKind, MetadataRevision, Namespace, Operation, Payload, PayloadId,
    PayloadRef, Principal, Reason, RequestId, Result, Revision, RevisionInfo, Version, limits,
};

use bytes::Bytes;

use crate::engine::{Engine, not_found};
use crate::merge_patch;
use crate::transition::{Along, Applied, Cause, Decision, Request};

/// What a new revision is made of.
#[derive(Clone, Debug)]
pub enum MetadataChange {
    /// This takes the place of what there was.
    Replace(Document),
    /// A JSON merge patch to what there was.
    Patch(Bytes),
}

/// What somebody says who changes metadata.
#[derive(Clone, Debug)]
pub struct PutMetadataRequest {
    /// Of the payload.
    pub namespace: Namespace,
    /// Which.
    pub payload: PayloadRef,
    /// Makes a retry safe.
    pub request_id: Option<RequestId>,
    /// The new revision.
    pub change: MetadataChange,
    /// Only if this is the latest revision; `Some(None)`: only if there is none.
    pub if_revision: Option<Option<Revision>>,
    /// Kept with the revision.
    pub reason: Arc<str>,
}

/// The revision that a change has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRevision {
    /// Of which payload.
    pub payload: PayloadId,
    /// Which.
    pub revision: Revision,
    /// The version of the payload that it came with.
    pub version: Version,
}

/// A page of the history of metadata.
#[derive(Clone, Debug)]
pub struct MetadataPage {
    /// The first first.
    pub revisions: Vec<RevisionInfo>,
    /// Lists on from here; absent on the last page.
    pub next_token: Option<String>,
}

impl Engine {
    /// Makes a new revision; it is as durable as the repository can make it.
    pub fn put_metadata(&self, principal: &Principal, request: &PutMetadataRequest) -> Result<NewRevision> {
        let identity = request.identity();
        match self.unless_overtaken(|| self.put_metadata_once(principal, request, identity.as_ref())) {
            Ok(new) => Ok(new),
            Err(error) => match self.answer_before(principal, identity.as_ref())? {
                Some(record) => self.revision_of(record.payload, record.version),
                None => Err(error),
            },
        }
    }

    fn put_metadata_once(
        &self,
        principal: &Principal,
        request: &PutMetadataRequest,
        identity: Option<&Request>,
    ) -> Result<NewRevision> {
        let payload = self.resolve(&request.namespace, &request.payload)?;
        let entry = self.entry(&request.namespace, payload)?;
        let gate = entry.gate();
        let row = entry.row();
        row.state.check_leasable(self.wall())?;
        check_revision(&row, request.if_revision)?;
        let document = match &request.change {
            MetadataChange::Replace(document) => document.clone(),
            MetadataChange::Patch(patch) => self.patched(&row, patch)?,
        };

        let cause = Cause::principal(principal).because(Arc::clone(&request.reason));
        let mut after = Payload::clone(&row);
        let revision = Revision::after(row.metadata);
        after.metadata = Some(revision);
        let change = self.change(&row, after, EventKind::MetadataChanged, &cause);
        let version = change.after.version;
        let decision = Decision {
            along: Along {
                metadata: Some(document),
                ..Along::default()
            },
            ..vec![change].into()
        };
        match self.apply(&gate, decision, self.repository().strongest(), principal, identity)? {
            Applied::Done(_) => Ok(NewRevision {
                payload,
                revision,
                version,
            }),
            Applied::Before(record) => {
                let request = identity.expect("only a request with an id can be a duplicate");
                self.first_answer(request, &record)?;
                self.revision_of(record.payload, record.version)
            }
        }
    }

    /// What a commit promises that brings metadata with it, which is as durable as the repository can make it.
    pub(crate) fn durability_with(&self, promised: Durability, metadata: Option<&Document>) -> Durability {
        match metadata {
            None => promised,
            Some(_) => promised.max(self.repository().strongest()),
        }
    }

    /// What a patch makes of the latest revision.
    fn patched(&self, row: &Payload, patch: &[u8]) -> Result<Document> {
        let latest = match row.metadata {
            None => None,
            Some(revision) => Some(self.revision(row, revision)?),
        };
        if let Some(MetadataRevision { about, .. }) = &latest
            && !about.content_type.is_json()
        {
            return Err(merge_patch::not_json(&format!("it is {}", about.content_type)));
        }
        let merged = merge_patch::merge(latest.as_ref().map(|latest| &latest.body[..]), patch)?;
        if merged.len() > limits::DOCUMENT_SIZE_MAX {
            return Err(Error::invalid(
                Reason::BadSize,
                format!(
                    "a document has at most {} bytes, and the patch makes it {}",
                    limits::DOCUMENT_SIZE_MAX,
                    merged.len()
                ),
            )
            .field("merge_patch"));
        }
        let content_type = latest.map_or_else(ContentType::json, |latest| latest.about.content_type);
        Document::new(content_type, merged.into())
    }

    /// One revision of a payload's metadata; the latest, if none is named. Tombstones have theirs too.
    pub fn metadata(
        &self,
        namespace: &Namespace,
        id: PayloadId,
        revision: Option<Revision>,
    ) -> Result<MetadataRevision> {
        let row = self.get(namespace, id)?;
        match revision.or(row.metadata) {
            Some(revision) => self.revision(&row, revision),
            None => Err(Error::new(Reason::MetadataNotFound, "the payload has no metadata")),
        }
    }

    /// A page of the revisions that are kept, without what they say.
    pub fn metadata_history(
        &self,
        namespace: &Namespace,
        id: PayloadId,
        size: u32,
        token: &str,
    ) -> Result<MetadataPage> {
        let limit = page::page_size(size)?;
        let of = id.to_string();
        let words = ["metadata", namespace.as_str(), &of];
        let after = page::position(token, &words)?.and_then(Revision::from_u64);
        self.get(namespace, id)?;
        let revisions = self.repository().metadata_history(id, after, limit + 1)?;
        if let (Some(after), Some(first)) = (after, revisions.first())
            && first.revision != Revision::after(Some(after))
        {
            return Err(removed_before(first.revision, "page_token"));
        }
        let (revisions, more) = page::page_of(revisions, limit);
        let next_token = revisions
            .last()
            .filter(|_| more)
            .map(|last| page::token(last.revision, &words));
        Ok(MetadataPage { revisions, next_token })
    }

    /// A revision that the row knows of, unless its time is over.
    fn revision(&self, row: &Payload, revision: Revision) -> Result<MetadataRevision> {
        if let Some(found) = self.repository().metadata(row.id, Some(revision))? {
            return Ok(found);
        }
        if row.metadata.is_none_or(|latest| latest < revision) {
            return Err(Error::new(
                Reason::MetadataNotFound,
                format!("the metadata has no revision {revision}"),
            )
            .field("revision"));
        }
        let kept = self.repository().metadata_history(row.id, None, 1)?;
        match kept.first() {
            Some(earliest) => Err(removed_before(earliest.revision, "revision")),
            // Purged, just now.
            None => Err(not_found()),
        }
    }

    /// The revision that came with a version: what a retry is told. Both rise together, so half of them is ruled out at
    /// each look.
    fn revision_of(&self, id: PayloadId, version: Version) -> Result<NewRevision> {
        let row = self.repository().get(id)?.ok_or_else(not_found)?;
        let (mut low, mut high) = (0, row.metadata.map_or(0, Revision::as_u64));
        while low < high {
            let middle = Revision::from_u64(low + (high - low) / 2);
            let after_middle = self.repository().metadata_history(id, middle, 1)?;
            match after_middle.first() {
                Some(found) if found.version == version => {
                    let revision = found.revision;
                    return Ok(NewRevision {
                        payload: id,
                        revision,
                        version,
                    });
                }
                Some(found) if found.version < version => low = found.revision.as_u64(),
                _ => high = middle.map_or(0, Revision::as_u64),
            }
        }
        Err(Error::new(
            Reason::HistoryRemoved,
            format!(
                "the request was done before, and its revision of payload {} was removed since",
                row.id
            ),
        ))
    }
}

fn removed_before(earliest: Revision, field: &'static str) -> Error {
    let message = format!("revisions were removed when their retention time was over; the earliest is {earliest}");
    Error::new(Reason::HistoryRemoved, message).field(field)
}

fn check_revision(row: &Payload, wanted: Option<Option<Revision>>) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != row.metadata => {
            let number = |revision: Option<Revision>| revision.map_or(0, Revision::as_u64);
            Err(Error::new(
                Reason::Conflict,
                format!(
                    "the metadata is at revision {}, not {} as the request says",
                    number(row.metadata),
                    number(wanted)
                ),
            )
            .field("if_revision"))
        }
        _ => Ok(()),
    }
}

/// What a document adds to the fingerprint of the request that it comes with.
pub(crate) fn fingerprint(document: Option<&Document>) -> Vec<u8> {
    document.map_or_else(Vec::new, |document| {
        let digest = payload_core::Digest::of(&document.body);
        [document.content_type.as_str().as_bytes(), b"\0", digest.as_bytes()].concat()
    })
}

impl PutMetadataRequest {
    fn identity(&self) -> Option<Request> {
        let id = self.request_id.clone()?;
        let (how, what) = match &self.change {
            MetadataChange::Replace(document) => ("replace", fingerprint(Some(document))),
            MetadataChange::Patch(patch) => ("patch", patch.to_vec()),
        };
        let words = format!("{} {how} {:?} {}", self.payload, self.if_revision, self.reason);
        let parts: [&[u8]; 3] = [self.namespace.as_str().as_bytes(), words.as_bytes(), &what];
        Some(Request::new(id, Operation::PutMetadata, &parts))
    }
}
