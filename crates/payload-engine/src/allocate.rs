//! Allocate: reserve room, write down that it is reserved, hand out the means to fill it.

use std::sync::Arc;

use payload_core::lease::HolderKind;
use payload_core::placement::{self, Fallback, Place};
use payload_core::port::Placed;
use payload_core::{
    AllocationToken, Change, ChangeSet, CommitOutcome, Durability, Error, EventKind, EventRecord, Label, Location,
    Namespace, Operation, OverQuota, Payload, Policy, Principal, Reason, Replica, ReplicaState, RequestId,
    RequestRecord, Result, Span, State, StateKind, Tier, Version, limits,
};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::filling::Filling;
use crate::holder::Holder;
use crate::placement::say_when;
use crate::transition::{Along, Cause, Request};

/// What a producer asks for.
#[derive(Clone, Debug)]
pub struct AllocateRequest {
    /// Whose payload it will be.
    pub namespace: Namespace,
    /// Makes a retry safe.
    pub request_id: Option<RequestId>,
    /// Bytes.
    pub size: u64,
    /// RAM if open.
    pub tier: Option<Tier>,
    /// What happens if that tier has no room; see [`placement`] for what is usual.
    pub fallback: Option<Fallback>,
    /// What the tier gives by itself if open.
    pub durability: Option<Durability>,
    /// How it is kept when room is short.
    pub policy: Policy,
    /// How long the payload lives after its commit.
    pub ttl: Option<Span>,
    /// Labels, in order.
    pub labels: Vec<Label>,
    /// How long the allocation may take.
    pub timeout: Option<Span>,
}

/// Room that waits to be filled.
#[derive(Debug)]
pub struct Allocation {
    /// The row.
    pub row: Arc<Payload>,
    /// Proves the right to finish it.
    pub token: AllocationToken,
    /// What to write with.
    pub filling: Filling,
}

/// What became of a request for room.
enum Made {
    Now(Allocation),
    /// The request had been answered before; this is what it did.
    Before(RequestRecord),
}

/// A new payload before it has a row.
pub(crate) struct Draft<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) owner: &'a Principal,
    pub(crate) place: &'a Place,
    pub(crate) size: u64,
    pub(crate) ttl: Option<Span>,
    pub(crate) labels: &'a [Label],
}

impl Engine {
    /// Reserves room for a payload. The room is charged, and really there, before this returns.
    pub fn allocate(&self, holder: &Arc<Holder>, request: &AllocateRequest) -> Result<Allocation> {
        check_span(request.ttl, "ttl_ms")?;
        check_span(request.timeout, "timeout_ms")?;
        let identity = request.identity();
        match self.allocate_once(holder, request, identity.as_ref()) {
            Ok(Made::Now(allocation)) => Ok(allocation),
            Ok(Made::Before(record)) => {
                let request = identity.expect("only a request with an id can be a duplicate");
                self.first_allocation(holder, &self.first_answer(&request, &record)?)
            }
            // A retry needs no second room, and is not refused for want of it.
            Err(error) => match self.answered(&holder.principal, identity.as_ref())? {
                Some(entry) => self.first_allocation(holder, &entry),
                None => Err(say_when(error)),
            },
        }
    }

    fn allocate_once(
        &self,
        holder: &Arc<Holder>,
        request: &AllocateRequest,
        identity: Option<&Request>,
    ) -> Result<Made> {
        holder.account.allocations.add(
            self.settings.caps.allocations_per_principal,
            Reason::TooManyAllocations,
            "open allocations",
        )?;
        let result = self.allocate_counted(holder, request, identity);
        if !matches!(result, Ok(Made::Now(_))) {
            holder.account.allocations.sub();
        }
        result
    }

    /// The caller has counted the allocation; the count stands if it is made now.
    fn allocate_counted(
        &self,
        holder: &Arc<Holder>,
        request: &AllocateRequest,
        identity: Option<&Request>,
    ) -> Result<Made> {
        // Only a session can keep what it puts payloads together in.
        let producer = (holder.kind == HolderKind::Local).then_some(holder.session);
        let (place, placed) = self.in_place(&request.namespace, &request.placement(), |place| {
            let store = self.tier(place.tier)?;
            match request.size {
                0 => store.store(&request.namespace, &[]),
                size => store.reserve(&request.namespace, size, producer),
            }
        })?;
        self.prepare_later(self.tier(place.tier)?);
        let draft = Draft {
            namespace: &request.namespace,
            owner: &holder.principal,
            place: &place,
            size: request.size,
            ttl: request.ttl,
            labels: &request.labels,
        };
        let until = self
            .wall()
            .after(request.timeout.unwrap_or(self.settings.allocation_timeout));
        let replicas = vec![self.replica(&placed, ReplicaState::Copying)];
        let row = self.draft(&draft, State::Allocated { until }, replicas);
        let filling = match self.filling(holder, &row) {
            Ok(filling) => filling,
            Err(error) => {
                self.discard(placed);
                return Err(error);
            }
        };
        let _making = self.table.make(row.id);
        match self.create(&row, &holder.principal, identity, Durability::Volatile, (&place).into()) {
            Ok(CommitOutcome::Applied | CommitOutcome::Appended(_)) => {
                let entry = self.table.insert(Arc::clone(&row), false);
                let mine = self.own(holder, &entry);
                self.note_deadline(until);
                let token = self.mint.allocation(&holder.principal, row.id);
                let filling = if mine { filling } else { Filling::Nothing };
                Ok(Made::Now(Allocation { row, token, filling }))
            }
            Ok(CommitOutcome::Duplicate(record)) => {
                self.discard(placed);
                Ok(Made::Before(record))
            }
            Ok(CommitOutcome::StreamRefused(refusal)) => {
                self.discard(placed);
                Err(refusal.into())
            }
            Ok(CommitOutcome::Refused(refusal)) => {
                self.discard(placed);
                Err(refusal.into())
            }
            Ok(CommitOutcome::Conflict) => {
                self.discard(placed);
                Err(Error::new(Reason::Internal, "a new payload id exists already"))
            }
            Err(error) => {
                self.discard_unless_unknown(placed, &error);
                Err(error)
            }
        }
    }

    /// The answer to a retry: the same allocation, with a fresh descriptor as long as it is open and not somebody else's.
    /// One that nobody owns, because nobody heard the first answer, is the caller's from now on.
    fn first_allocation(&self, holder: &Arc<Holder>, entry: &Arc<Entry>) -> Result<Allocation> {
        let mut live = entry.live();
        let row = Arc::clone(&live.row);
        let open = row.state.kind() == StateKind::Allocated;
        if open && live.owner.is_none() {
            self.take_ownership(holder, entry, &mut live)?;
        }
        let mine = live.owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, holder));
        drop(live);
        let token = self.mint.allocation(&holder.principal, row.id);
        let filling = match open && mine {
            true => self.filling(holder, &row)?,
            false => Filling::Nothing,
        };
        Ok(Allocation { row, token, filling })
    }

    /// The row of a new payload.
    pub(crate) fn draft(&self, draft: &Draft<'_>, state: State, mut replicas: Vec<Replica>) -> Arc<Payload> {
        let now = self.wall();
        replicas.sort_unstable_by_key(|replica| replica.id);
        Arc::new(Payload {
            id: self.ports.ids.payload(now),
            namespace: draft.namespace.clone(),
            state,
            version: Version::FIRST,
            size: draft.size,
            digest: None,
            tier: draft.place.tier,
            durability: draft.place.durability,
            policy: draft.place.policy,
            labels: draft.labels.to_vec(),
            owner: draft.owner.clone(),
            created_at: now,
            committed_at: (state.kind() == StateKind::Active).then_some(now),
            ttl: draft.ttl,
            metadata: None,
            replicas,
        })
    }

    pub(crate) fn replica(&self, placed: &Placed, state: ReplicaState) -> Replica {
        Replica {
            id: self.ports.ids.replica(),
            node: self.owner_of(placed.location.tier(), state),
            state,
            location: placed.location,
            charged: placed.charged,
            pin: None,
        }
    }

    /// Writes down a payload that was not there before.
    pub(crate) fn create(
        &self,
        row: &Arc<Payload>,
        principal: &Principal,
        request: Option<&Request>,
        durability: Durability,
        along: Along,
    ) -> Result<CommitOutcome> {
        let cause = Cause::principal(principal);
        let event = EventRecord {
            kind: match row.state.kind() {
                StateKind::Allocated => EventKind::Allocated,
                _ => EventKind::Committed,
            },
            actor: cause.actor,
            reason: along.why,
            at: row.created_at,
            from: None,
            to: row.state.kind(),
            note: None,
        };
        let change = Change {
            before: None,
            after: Arc::clone(row),
            event,
            metadata: along.metadata,
        };
        let outcome = self.commit_set(ChangeSet {
            over_quota: OverQuota::Refuse,
            edges: along.edges,
            name: along.name,
            streams: along.streams,
            contents: along.contents,
            request: request.map(|request| self.record(principal, request, row)),
            ..ChangeSet::new(vec![change], durability)
        });
        if let Err(error) = &outcome
            && error.reason() == Reason::NamespaceNotFound
        {
            self.known_namespaces.forget(&row.namespace);
        }
        outcome
    }

    /// Gives back room that no row names.
    pub(crate) fn discard(&self, placed: Placed) {
        self.remove_bytes(&placed.location, placed.charged);
        // A sweep that came before the claim's end saw nothing to free.
        drop(placed.claim);
        self.sweep_signal.raise();
    }

    /// The same, unless a row may name it after all; then the sweep decides.
    pub(crate) fn discard_unless_unknown(&self, placed: Placed, error: &Error) {
        match error.outcome() {
            payload_core::Outcome::NotApplied => self.discard(placed),
            payload_core::Outcome::Unknown => {
                drop(placed.claim);
                self.sweep_later(placed.location.container());
            }
        }
    }

    pub(crate) fn remove_bytes(&self, location: &Location, charged: u64) {
        let removed = self
            .tier(location.tier())
            .and_then(|store| store.remove(location, charged));
        match removed {
            Ok(()) => {
                self.sweep_signal.raise();
                self.note_freed(location.tier());
            }
            Err(error) => {
                tracing::warn!(?location, %error, "could not free bytes; the sweep will try again");
                self.sweep_later(location.container());
            }
        }
    }
}

impl AllocateRequest {
    fn placement(&self) -> placement::Request {
        placement::Request {
            size: self.size,
            tier: self.tier,
            fallback: self.fallback,
            durability: self.durability,
            policy: self.policy,
        }
    }

    fn identity(&self) -> Option<Request> {
        let id = self.request_id.clone()?;
        let numbers = format!(
            "{} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.size, self.tier, self.fallback, self.durability, self.policy, self.ttl, self.timeout
        );
        let labels = label_text(&self.labels);
        Some(Request::new(
            id,
            Operation::Allocate,
            &[
                self.namespace.as_str().as_bytes(),
                numbers.as_bytes(),
                labels.as_bytes(),
            ],
        ))
    }
}

pub(crate) fn label_text(labels: &[Label]) -> String {
    labels
        .iter()
        .map(|label| format!("{}\0{}\0", label.key, label.value))
        .collect()
}

/// Refuses durations beyond the calendar.
pub(crate) fn check_span(span: Option<Span>, field: &'static str) -> Result<()> {
    match span {
        Some(span) if span > limits::TTL_MAX => Err(Error::invalid(
            Reason::BadDuration,
            format!("a duration is at most {} ms", limits::TTL_MAX.as_millis()),
        )
        .field(field)),
        Some(Span::ZERO) => Err(Error::invalid(Reason::BadDuration, "a duration must be above zero").field(field)),
        _ => Ok(()),
    }
}
