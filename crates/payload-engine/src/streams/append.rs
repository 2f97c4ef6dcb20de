//! Append: references to committed payloads at the end of a stream, dense and in order.

use payload_core::stream::{Append, Appended, EntryDraft, Offset, ProducerBatch, StreamChange, StreamRef};
use payload_core::{Error, Operation, Principal, Reason, RequestId, RequestRecord, Result, Version};

use super::{Done, OffsetRequest};
use crate::engine::Engine;
use crate::transition::Request;

/// What a producer asks for.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// To which stream.
    pub stream: StreamRef,
    /// Makes a retry safe.
    pub request_id: Option<RequestId>,
    /// What to append.
    pub entries: Vec<EntryDraft>,
    /// The offset that the first entry must get.
    pub expected: Option<Offset>,
    /// Makes a retry safe too, for as long as the stream remembers the producer.
    pub producer: Option<ProducerBatch>,
    /// How far a group has come by making what is appended: consuming and producing in one.
    pub progress: Option<OffsetRequest>,
}

/// Where entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// In which incarnation, and where the first is.
    pub appended: Appended,
    /// How many there are.
    pub count: u32,
}

impl Engine {
    /// Appends all of it or nothing, and returns when it is as durable as it can be.
    pub fn append(&self, principal: &Principal, request: &AppendRequest) -> Result<Placed> {
        let Some(first) = request.entries.first() else {
            return Err(Error::invalid(Reason::BadRequest, "entries must name at least one item").field("entries"));
        };
        let identity = request.identity();
        let record = identity.as_ref().map(|identity| RequestRecord {
            principal: principal.clone(),
            request_id: identity.id.clone(),
            fingerprint: identity.fingerprint,
            operation: identity.operation,
            payload: first.payload,
            version: Version::FIRST,
            appended: None,
            at: self.wall(),
        });
        match self.change_streams(request.changes(self), record) {
            Ok(Done::Now(Some(appended))) => Ok(request.placed(appended)),
            Ok(Done::Now(None)) => Err(Error::new(
                Reason::Internal,
                "an append was applied, but nobody knows where",
            )),
            Ok(Done::Before(record)) => request.placed_before(identity.as_ref(), &record),
            Err(error) => match self.appended_before(principal, identity.as_ref())? {
                Some(record) => request.placed_before(identity.as_ref(), &record),
                None => Err(error),
            },
        }
    }

    /// What the request did before, if it came before: a retry is not refused for what has changed since.
    fn appended_before(&self, principal: &Principal, identity: Option<&Request>) -> Result<Option<RequestRecord>> {
        match identity {
            Some(identity) => self.repository().find_request(principal, &identity.id),
            None => Ok(None),
        }
    }
}

impl AppendRequest {
    fn changes(&self, engine: &Engine) -> Vec<StreamChange> {
        let append = Append {
            stream: self.stream.clone(),
            entries: self.entries.clone(),
            expected: self.expected,
            producer: self.producer.clone(),
            at: engine.wall(),
        };
        let progress = self.progress.as_ref();
        let progress = progress.map(|progress| StreamChange::CommitOffset(progress.change(engine)));
        std::iter::once(StreamChange::Append(append)).chain(progress).collect()
    }

    fn identity(&self) -> Option<Request> {
        let id = self.request_id.clone()?;
        let place = format!(
            "{} {} {:?} {:?} {:?} {:?}",
            self.stream.namespace,
            self.stream.name,
            self.stream.incarnation,
            self.expected,
            self.producer,
            self.progress
        );
        let mut parts = vec![place.into_bytes()];
        for draft in &self.entries {
            parts.push(draft.payload.as_bytes().to_vec());
            parts.push(format!("{:?}", draft.tags).into_bytes());
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Some(Request::new(id, Operation::Append, &parts))
    }

    fn placed(&self, appended: Appended) -> Placed {
        Placed {
            appended,
            count: self.entries.len() as u32,
        }
    }

    fn placed_before(&self, identity: Option<&Request>, record: &RequestRecord) -> Result<Placed> {
        let same = identity.is_some_and(|identity| identity.is_the_request_of(record));
        match record.appended {
            Some(appended) if same => Ok(self.placed(appended)),
            _ => Err(crate::transition::request_id_reused()),
        }
    }
}
