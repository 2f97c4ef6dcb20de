//! Update: change what of a committed payload may change – its labels and its expiry – from the version that was seen.

use std::sync::Arc;

use payload_core::{
    Error, EventKind, Label, LifecycleEvent, Namespace, Operation, Payload, PayloadRef, Principal, Reason, RequestId,
    Result, Span, State, Timestamp, Version, limits,
};

use crate::allocate::{check_span, label_text};
use crate::engine::Engine;
use crate::transition::{Applied, Cause, Request};

/// What is to change. What is not named stays.
#[derive(Clone, Debug)]
pub struct UpdateRequest {
    /// Of the payload.
    pub namespace: Namespace,
    /// Which.
    pub payload: PayloadRef,
    /// Makes a retry safe.
    pub request_id: Option<RequestId>,
    /// Only if the payload is at this version.
    pub if_version: Option<Version>,
    /// What becomes of its labels.
    pub labels: LabelEdit,
    /// When it expires, if that is to change.
    pub expiry: Option<Expiry>,
    /// Kept in the event.
    pub reason: Arc<str>,
}

/// What becomes of a payload's labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelEdit {
    /// They are these, and no others.
    Replace(Vec<Label>),
    /// Some are set and some are removed; removing what is not there is fine. With neither, they stay.
    Change {
        /// New ones, and new values of old ones.
        set: Vec<Label>,
        /// Keys.
        remove: Vec<Arc<str>>,
    },
}

/// When a payload is to expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At this moment; at once if it is past.
    At(Timestamp),
    /// So long after the update.
    In(Span),
    /// Not at all.
    Never,
}

impl Engine {
    /// Changes a committed payload, with one event. One that has expired or ended is changed no more.
    pub fn update(&self, principal: &Principal, request: &UpdateRequest) -> Result<Arc<Payload>> {
        let identity = request.identity();
        match self.unless_overtaken(|| self.update_once(principal, request, identity.as_ref())) {
            Ok(row) => Ok(row),
            Err(error) => match self.answered(principal, identity.as_ref())? {
                Some(entry) => Ok(entry.row()),
                None => Err(error),
            },
        }
    }

    fn update_once(
        &self,
        principal: &Principal,
        request: &UpdateRequest,
        identity: Option<&Request>,
    ) -> Result<Arc<Payload>> {
        let now = self.wall();
        let expiry = request.expiry.map(|expiry| expiry.moment(now)).transpose()?;
        let payload = self.resolve(&request.namespace, &request.payload)?;
        let entry = self.entry(&request.namespace, payload)?;
        let gate = entry.gate();
        let row = entry.row();
        if let Some(wanted) = request.if_version.filter(|wanted| *wanted != row.version) {
            let message = format!("payload is at version {}, not {wanted}", row.version);
            return Err(Error::new(Reason::Conflict, message).field("if_version"));
        }
        let expires_at = match (expiry, row.state) {
            (Some(moment), _) => moment,
            (None, State::Active { expires_at }) => expires_at,
            (None, _) => None,
        };
        let state = payload_core::step(row.state, LifecycleEvent::Reschedule { expires_at }, now)?;
        let mut after = Payload::clone(&row);
        after.state = state;
        after.labels = request.labels.apply(&row.labels)?;
        if expiry.is_some() {
            // The time to live that it was given no longer tells when it expires.
            after.ttl = None;
        }
        let cause = Cause::principal(principal).because(Arc::clone(&request.reason));
        let change = self.change(&row, after, EventKind::Updated, &cause);
        match self.apply(&gate, vec![change], row.durability, principal, identity)? {
            Applied::Done(_) => {}
            Applied::Before(record) => {
                let request = identity.expect("only a request with an id can be a duplicate");
                return Ok(self.first_answer(request, &record)?.row());
            }
        }
        if let Some(at) = expires_at {
            self.note_deadline(at);
        }
        Ok(entry.row())
    }
}

impl Expiry {
    fn moment(self, now: Timestamp) -> Result<Option<Timestamp>> {
        let latest = now.after(limits::TTL_MAX);
        match self {
            Self::Never => Ok(None),
            Self::In(span) => {
                check_span(Some(span), "expires_in_ms")?;
                Ok(Some(now.after(span)))
            }
            Self::At(at) if at > latest || at < Timestamp::from_micros(0) => Err(Error::invalid(
                Reason::BadDuration,
                format!(
                    "a payload expires between 1970 and {} ms from now",
                    limits::TTL_MAX.as_millis()
                ),
            )
            .field("expires_at_us")),
            Self::At(at) => Ok(Some(at)),
        }
    }
}

impl LabelEdit {
    fn apply(&self, labels: &[Label]) -> Result<Vec<Label>> {
        let (set, remove) = match self {
            Self::Replace(labels) => return Ok(labels.clone()),
            Self::Change { set, remove } => (set, remove),
        };
        let goes = |label: &&Label| remove.contains(&label.key) || set.iter().any(|new| new.key == label.key);
        let kept = labels.iter().filter(|label| !goes(label));
        payload_core::name::labels(kept.chain(set).map(|label| (&*label.key, &*label.value)))
    }
}

impl UpdateRequest {
    fn identity(&self) -> Option<Request> {
        let id = self.request_id.clone()?;
        let words = format!(
            "{} {:?} {:?} {}",
            self.payload, self.if_version, self.expiry, self.reason
        );
        let labels = match &self.labels {
            LabelEdit::Replace(labels) => format!("replace {}", label_text(labels)),
            LabelEdit::Change { set, remove } => format!("change {} {remove:?}", label_text(set)),
        };
        let parts = [self.namespace.as_str().as_bytes(), words.as_bytes(), labels.as_bytes()];
        Some(Request::new(id, Operation::Update, &parts))
    }
}
