//! From a decision to a row: the one path by which the engine changes a payload.

use std::sync::Arc;

use payload_core::placement::Place;
use payload_core::stream::{Appended, StreamChange};
use payload_core::{
    Actor, Carried, Change, ChangeSet, CommitOutcome, Digest, Document, Durability, Edge, Error, EventKind,
    EventRecord, LifecycleEvent, NameChange, Outcome, OverQuota, Payload, Principal, Reason, RequestId, RequestRecord,
    Result, StateKind, step,
};

use crate::engine::{Engine, not_found};
use crate::entry::{Entry, Gate};

/// Who caused a change, and why.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) actor: Actor,
    pub(crate) reason: Option<Arc<str>>,
}

impl Cause {
    /// A part of the server.
    pub(crate) fn server(part: &'static str) -> Self {
        Self {
            actor: Actor::server(part),
            reason: None,
        }
    }

    /// A client, without words.
    pub(crate) fn principal(principal: &Principal) -> Self {
        Self {
            actor: principal.into(),
            reason: None,
        }
    }

    /// The same, with words.
    pub(crate) fn because(mut self, reason: Arc<str>) -> Self {
        self.reason = (!reason.is_empty()).then_some(reason);
        self
    }
}

/// A mutation's request id with what makes a retry the same request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) fingerprint: Digest,
    pub(crate) operation: payload_core::Operation,
}

impl Request {
    /// Fingerprints everything else that the request says.
    pub(crate) fn new(id: RequestId, operation: payload_core::Operation, parts: &[&[u8]]) -> Self {
        let mut hasher = payload_core::digest::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self {
            id,
            fingerprint: hasher.digest(),
            operation,
        }
    }
}

impl Request {
    /// Whether the record is of this very request.
    pub(crate) fn is_the_request_of(&self, record: &RequestRecord) -> bool {
        record.operation == self.operation && record.fingerprint == self.fingerprint
    }
}

/// The answer to a request id that was used for another request.
pub(crate) fn request_id_reused() -> Error {
    Error::new(
        Reason::RequestIdReused,
        "request id was used before, for another request",
    )
    .field("request_id")
}

/// What is to be true together.
pub(crate) struct Decision {
    /// Of one payload, one after the other.
    pub(crate) changes: Vec<Change>,
    /// What comes with them.
    pub(crate) along: Along,
    /// Whether it may only be done while the payload has no live descendants.
    pub(crate) without_dependents: bool,
    /// Whether it may bring the namespace above its quota.
    pub(crate) over_quota: OverQuota,
}

/// What is to be true together with a payload's change.
#[derive(Default)]
pub(crate) struct Along {
    /// What it was made from.
    pub(crate) edges: Vec<Edge>,
    /// A name that is pointed at it.
    pub(crate) name: Option<NameChange>,
    /// What happens to streams.
    pub(crate) streams: Vec<StreamChange>,
    /// The revision of its metadata that the last change makes.
    pub(crate) metadata: Option<Document>,
    /// The bytes of replicas that nobody has waited for.
    pub(crate) contents: Vec<Carried>,
    /// Why a new payload is where it is, if it is not where it was meant to be.
    pub(crate) why: Option<Arc<str>>,
}

impl From<&Place> for Along {
    fn from(place: &Place) -> Self {
        Self {
            why: place.why_not_preferred().map(Into::into),
            ..Self::default()
        }
    }
}

impl From<Vec<Change>> for Decision {
    fn from(changes: Vec<Change>) -> Self {
        Self {
            changes,
            along: Along::default(),
            without_dependents: false,
            over_quota: OverQuota::Allow,
        }
    }
}

/// What became of the changes that were asked for.
pub(crate) enum Applied {
    /// They are true now, and the entry shows them; this is where the payload was appended, if it was.
    Done(Option<Appended>),
    /// The request had been answered before; this is what it did.
    Before(RequestRecord),
}

impl Engine {
    /// One step of a payload's life as a change of its row; `edit` does what else changes with it.
    pub(crate) fn decide(
        &self,
        row: &Arc<Payload>,
        event: LifecycleEvent,
        cause: &Cause,
        edit: impl FnOnce(&mut Payload),
    ) -> Result<Change> {
        let now = self.wall();
        let state = step(row.state, event, now)?;
        let mut after = Payload::clone(row);
        after.state = state;
        edit(&mut after);
        Ok(self.change(row, after, event.into(), cause))
    }

    /// Any change of a row, with its event.
    pub(crate) fn change(&self, row: &Arc<Payload>, mut after: Payload, kind: EventKind, cause: &Cause) -> Change {
        after.version = row.version.next();
        after.replicas.sort_unstable_by_key(|replica| replica.id);
        let event = EventRecord {
            kind,
            actor: cause.actor.clone(),
            reason: cause.reason.clone(),
            at: self.wall(),
            from: Some(row.state.kind()),
            to: after.state.kind(),
            note: None,
        };
        Change {
            before: Some(Arc::clone(row)),
            after: Arc::new(after),
            event,
            metadata: None,
        }
    }

    /// Makes changes of one payload true, one after the other and all or nothing.
    pub(crate) fn apply(
        &self,
        gate: &Gate<'_>,
        decision: impl Into<Decision>,
        durability: Durability,
        principal: &Principal,
        request: Option<&Request>,
    ) -> Result<Applied> {
        let entry = gate.entry;
        let mut decision = decision.into();
        let change = decision.changes.last_mut().expect("there is at least one change");
        change.metadata = decision.along.metadata;
        let last = Arc::clone(&change.after);
        let set = ChangeSet {
            edges: decision.along.edges,
            name: decision.along.name,
            streams: decision.along.streams,
            over_quota: decision.over_quota,
            without_dependents: decision.without_dependents.then_some(entry.id),
            request: request.map(|r| self.record(principal, r, &last)),
            ..ChangeSet::new(decision.changes, durability)
        };
        match self.commit_set(set) {
            Ok(outcome @ (CommitOutcome::Applied | CommitOutcome::Appended(_))) => {
                self.show(entry, &last);
                self.tell_followers(&outcome);
                Ok(Applied::Done(outcome.appended()))
            }
            Ok(CommitOutcome::Duplicate(record)) => Ok(Applied::Before(record)),
            Ok(CommitOutcome::StreamRefused(refusal)) => Err(refusal.into()),
            Ok(CommitOutcome::Conflict) => {
                self.reread_or_warn(gate);
                Err(Error::new(
                    Reason::Conflict,
                    "somebody else changed the payload at the same time; try again",
                ))
            }
            Ok(CommitOutcome::Refused(refusal)) => Err(refusal.into()),
            Err(error) => {
                if error.outcome() == Outcome::Unknown {
                    self.reread_or_warn(gate);
                }
                Err(error)
            }
        }
    }

    /// Has the entry show what is true now.
    fn show(&self, entry: &Entry, row: &Arc<Payload>) {
        let before = std::mem::replace(&mut entry.live().row, Arc::clone(row));
        self.note_pins(&before, row);
        self.note_owed(row);
    }

    /// Commits a change set; a server that has been replaced stops here.
    pub(crate) fn commit_set(&self, set: ChangeSet) -> Result<CommitOutcome> {
        let entries = set.entries();
        let suspected = self.suspect_objects(&set)?;
        let outcome = self.stop_if_fenced(self.repository().commit(set))?;
        drop(suspected);
        if let CommitOutcome::Appended(_) = &outcome {
            self.metrics.appended(entries);
        }
        Ok(outcome)
    }

    /// Wakes those who follow the stream that was appended to. By now what they will ask for must be in memory as it is in the
    /// repository: they may want a lease on it at once.
    pub(crate) fn tell_followers(&self, outcome: &CommitOutcome) {
        if let Some(place) = outcome.appended() {
            self.streams.moved(place.stream);
        }
    }

    /// Looks at what became of any write.
    pub(crate) fn stop_if_fenced<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.reason() == Reason::Fenced
        {
            (self.ports.on_fenced)(error);
        }
        result
    }

    pub(crate) fn record(&self, principal: &Principal, request: &Request, row: &Payload) -> RequestRecord {
        RequestRecord {
            principal: principal.clone(),
            request_id: request.id.clone(),
            fingerprint: request.fingerprint,
            operation: request.operation,
            payload: row.id,
            version: row.version,
            appended: None,
            at: self.wall(),
        }
    }

    /// What this request did before, if it came before. Looked up before any other refusal reaches a retry.
    pub(crate) fn answered(&self, principal: &Principal, request: Option<&Request>) -> Result<Option<Arc<Entry>>> {
        Ok(self.answered_with(principal, request)?.map(|(entry, _)| entry))
    }

    /// The same, and where the request appended.
    pub(crate) fn answered_with(
        &self,
        principal: &Principal,
        request: Option<&Request>,
    ) -> Result<Option<(Arc<Entry>, Option<Appended>)>> {
        let Some(request) = request else { return Ok(None) };
        match self.repository().find_request(principal, &request.id)? {
            Some(record) => Ok(Some((self.first_answer(request, &record)?, record.appended))),
            None => Ok(None),
        }
    }

    /// The same for an answer that does not depend on what the payload is now.
    pub(crate) fn answer_before(
        &self,
        principal: &Principal,
        request: Option<&Request>,
    ) -> Result<Option<RequestRecord>> {
        let Some(request) = request else { return Ok(None) };
        let record = self.repository().find_request(principal, &request.id)?;
        if let Some(record) = &record {
            self.first_answer(request, record)?;
        }
        Ok(record)
    }

    /// The payload that an earlier request under the same id made, if it was the same request.
    pub(crate) fn first_answer(&self, request: &Request, record: &RequestRecord) -> Result<Arc<Entry>> {
        if !request.is_the_request_of(record) {
            return Err(request_id_reused());
        }
        self.table
            .get_or_load(record.payload, self.repository())?
            .ok_or_else(not_found)
    }

    /// Takes over what the repository says, after a change whose basis or outcome is in doubt, or that somebody else made.
    /// If it says nothing, the entry stays in doubt: dropping it would forget who holds leases on the payload.
    pub(crate) fn reread(&self, gate: &Gate<'_>) -> Result<()> {
        let entry = gate.entry;
        let (before, era) = (entry.row(), self.table.era());
        let row = match self.repository().get(entry.id) {
            Ok(Some(row)) => Arc::new(row),
            Ok(None) if before.state.kind().has_ended() => {
                // Its retention time is over; what it was is history.
                self.table.remove(entry);
                return Err(not_found());
            }
            Ok(None) => return Err(Error::new(Reason::Internal, "a payload has vanished from the catalog")),
            Err(error) => {
                entry.live().in_doubt = true;
                return Err(error);
            }
        };
        let mut live = entry.live();
        live.row = Arc::clone(&row);
        live.in_doubt = false;
        drop(live);
        self.note_pins(&before, &row);
        self.note_owed(&row);
        entry.read_in(era);
        self.settle(gate, &before, &row);
        Ok(())
    }

    fn reread_or_warn(&self, gate: &Gate<'_>) {
        if let Err(error) = self.reread(gate) {
            tracing::warn!(payload = %gate.entry.id, %error, "could not find out what became of a payload");
        }
    }

    /// Asks the repository again about a payload that is in doubt.
    pub(crate) fn resolve_doubt(&self, entry: &Arc<Entry>) -> Result<()> {
        let gate = entry.gate();
        if self.is_known(entry) {
            return Ok(());
        }
        self.reread(&gate)
    }

    /// Does what follows from a change that was found out about only afterwards.
    fn settle(&self, gate: &Gate<'_>, before: &Payload, row: &Payload) {
        let entry = gate.entry;
        for replica in before.replicas_of(self.settings.node) {
            let stays = row
                .replica(replica.id)
                .is_some_and(|after| after.location == replica.location);
            if !stays {
                self.vacate(entry, replica.clone());
            }
        }
        if row.state.kind() != StateKind::Allocated {
            self.disown(entry);
            // Waiters are answered there too: that may need the gate, which is held here.
            self.drain_later(Arc::clone(entry));
        }
        if !self.table.keeps(row) {
            self.table.remove(entry);
        }
        if let Some(at) = row.state.deadline() {
            self.note_deadline(at);
        }
    }
}
