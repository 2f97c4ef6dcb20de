//! Append event: an application notes something of its own in a payload's history.

use std::sync::Arc;

use payload_core::{
    EventKind, Namespace, Note, Operation, Payload, PayloadId, PayloadRef, Principal, RequestId, RequestRecord, Result,
    Version,
};

use crate::engine::Engine;
use crate::metadata;
use crate::transition::{Applied, Cause, Request};

/// What an application has to note.
#[derive(Clone, Debug)]
pub struct AppendEventRequest {
    /// Of the payload.
    pub namespace: Namespace,
    /// Which.
    pub payload: PayloadRef,
    /// Makes a retry safe.
    pub request_id: Option<RequestId>,
    /// In the application's words.
    pub note: Arc<Note>,
    /// Kept in the event.
    pub reason: Arc<str>,
}

/// The event that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// In the history of which payload.
    pub payload: PayloadId,
    /// The version of the payload that it made.
    pub version: Version,
}

impl Engine {
    /// Adds an event, which changes nothing but the version. A payload that has ended has a history
    /// too. The event is as durable as the repository can make it.
    pub fn append_event(&self, principal: &Principal, request: &AppendEventRequest) -> Result<Appended> {
        let identity = request.identity();
        match self.unless_overtaken(|| self.append_event_once(principal, request, identity.as_ref())) {
            Ok(appended) => Ok(appended),
            Err(error) => match self.answer_before(principal, identity.as_ref())? {
                Some(record) => Ok(Appended::from(&record)),
                None => Err(error),
            },
        }
    }

    fn append_event_once(
        &self,
        principal: &Principal,
        request: &AppendEventRequest,
        identity: Option<&Request>,
    ) -> Result<Appended> {
        let payload = self.resolve(&request.namespace, &request.payload)?;
        let entry = self.entry(&request.namespace, payload)?;
        let gate = entry.gate();
        let row = entry.row();
        let cause = Cause::principal(principal).because(Arc::clone(&request.reason));
        let mut change = self.change(&row, Payload::clone(&row), EventKind::Application, &cause);
        change.event.note = Some(Arc::clone(&request.note));
        let version = change.after.version;
        let durability = self.repository().strongest();
        match self.apply(&gate, vec![change], durability, principal, identity)? {
            Applied::Done(_) => Ok(Appended { payload, version }),
            Applied::Before(record) => {
                let request = identity.expect("only a request with an id can be a duplicate");
                self.first_answer(request, &record)?;
                Ok(Appended::from(&record))
            }
        }
    }
}

impl From<&RequestRecord> for Appended {
    fn from(record: &RequestRecord) -> Self {
        Self {
            payload: record.payload,
            version: record.version,
        }
    }
}

impl AppendEventRequest {
    fn identity(&self) -> Option<Request> {
        let id = self.request_id.clone()?;
        let words = format!("{} {} {}", self.payload, self.note.event_type, self.reason);
        let parts: [&[u8]; 3] = [
            self.namespace.as_str().as_bytes(),
            words.as_bytes(),
            &metadata::fingerprint(Some(&self.note.document)),
        ];
        Some(Request::new(id, Operation::AppendEvent, &parts))
    }
}
