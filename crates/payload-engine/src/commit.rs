//! Commit: make an allocation immutable, durable as asked, and visible.

use std::sync::Arc;

use payload_core::lineage::Derivation;
use payload_core::placement::writes_through;
use payload_core::port::{Placed, Sealed};
use payload_core::{
    AllocationToken, Digest, Document, Durability, Error, LifecycleEvent, Location, Namespace, Naming, Operation,
    Payload, PayloadId, Reason, ReplicaState, RequestId, Result, Revision, StateKind, Tier, limits,
};

use crate::engine::Engine;
use crate::entry::{Entry, Gate};
use crate::holder::Holder;
use crate::lineage::fingerprint;
use crate::metadata;
use crate::placement::say_when;
use crate::put::check_digest;
use crate::room::is_shortage;
use crate::streams::{self, Publish, Published};
use crate::transition::{Along, Applied, Cause, Decision, Request};

/// What a producer says when it is done writing.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// Of the payload.
    pub namespace: Namespace,
    /// Makes a retry safe.
    pub request_id: Option<RequestId>,
    /// Which allocation.
    pub payload: PayloadId,
    /// Needed if the allocation was not made in this session.
    pub token: Option<AllocationToken>,
    /// Bytes of content; everything allocated if open.
    pub size: Option<u64>,
    /// Checked against the bytes if given.
    pub digest: Option<Digest>,
    /// What the payload was made from.
    pub lineage: Option<Derivation>,
    /// A name to point at the payload, with the commit or not at all.
    pub naming: Option<Naming>,
    /// Where it is to be appended in the same moment.
    pub publish: Option<Publish>,
    /// The first revision of its metadata.
    pub metadata: Option<Document>,
}

/// The bytes as the commit found them, sealed and, if need be, written through.
struct Finished {
    location: Location,
    charged: u64,
    digest: Option<Digest>,
    /// Places that no row names yet: where the bytes were moved to, and the durable copy.
    moved: Option<Placed>,
    durable: Option<Placed>,
}

impl Engine {
    /// Makes an allocation visible and returns when it is as durable as was asked.
    pub fn commit(&self, holder: &Arc<Holder>, request: &CommitRequest) -> Result<Arc<Payload>> {
        Ok(self.publish(holder, request)?.row)
    }

    /// The same, and says where the payload was appended if the request publishes it.
    pub fn publish(&self, holder: &Arc<Holder>, request: &CommitRequest) -> Result<Published> {
        let identity = request.identity();
        match self.commit_once(holder, request, identity.as_ref()) {
            Ok(published) => Ok(published),
            Err(error) => match self.answered_with(&holder.principal, identity.as_ref())? {
                Some((entry, appended)) => Ok(Published {
                    row: entry.row(),
                    appended,
                }),
                None => Err(say_when(error)),
            },
        }
    }

    fn commit_once(
        &self,
        holder: &Arc<Holder>,
        request: &CommitRequest,
        identity: Option<&Request>,
    ) -> Result<Published> {
        let entry = self.entry(&request.namespace, request.payload)?;
        let gate = entry.gate();
        let row = entry.row();
        let expires_at = row.ttl.map(|ttl| self.wall().after(ttl));
        let event = LifecycleEvent::Commit { expires_at };
        payload_core::step(row.state, event, self.wall())?;
        self.check_owner(holder, &entry, request.token)?;
        check_not_uploading(&entry)?;
        let size = request.content_size(&row)?;
        let edges = self.edges(row.id, request.lineage.as_ref(), &holder.principal)?;

        let promised = self.promise_now(row.policy, row.durability, size);
        let finished = self.finish(&row, size, promised, request.digest)?;
        let durable = finished
            .durable
            .as_ref()
            .map(|placed| self.replica(placed, ReplicaState::Ready));
        let change = self.decide(&row, event, &Cause::principal(&holder.principal), |after| {
            after.size = size;
            after.durability = promised;
            after.digest = finished.digest;
            after.committed_at = Some(self.wall());
            after.replicas[0].state = ReplicaState::Ready;
            after.replicas[0].node = self.owner_of(row.tier, ReplicaState::Ready);
            after.replicas[0].location = finished.location;
            after.replicas[0].charged = finished.charged;
            after.replicas.extend(durable);
            after.metadata = request.metadata.as_ref().map(|_| Revision::FIRST);
        })?;
        let (streams, durability) = self.publication(request.publish.as_ref(), &row);
        let durability = durability.max(promised);
        let durability = self.durability_with(durability, request.metadata.as_ref());
        let decision = Decision {
            along: Along {
                edges,
                name: self.naming_of(&row, request.naming.as_ref(), &holder.principal),
                streams,
                metadata: request.metadata.clone(),
                ..Along::default()
            },
            ..vec![change].into()
        };
        let appended = match self.apply(&gate, decision, durability, &holder.principal, identity) {
            Ok(Applied::Done(appended)) => appended,
            Ok(Applied::Before(record)) => {
                finished.places().for_each(|placed| self.discard(placed));
                let request = identity.expect("only a request with an id can be a duplicate");
                return Ok(Published {
                    row: self.first_answer(request, &record)?.row(),
                    appended: record.appended,
                });
            }
            Err(error) => {
                finished
                    .places()
                    .for_each(|placed| self.discard_unless_unknown(placed, &error));
                return Err(error);
            }
        };

        if finished.moved.is_some() {
            let reserved = &row.replicas[0];
            self.remove_bytes(&reserved.location, reserved.charged);
        }
        self.disown(&entry);
        let row = self.entry_committed(gate, expires_at);
        self.metrics.committed(row.durability, row.size);
        Ok(Published { row, appended })
    }

    /// What everybody else learns of a commit.
    fn entry_committed(&self, gate: Gate<'_>, expires_at: Option<payload_core::Timestamp>) -> Arc<Payload> {
        let entry = Arc::clone(gate.entry);
        drop(gate);
        if let Some(at) = expires_at {
            self.note_deadline(at);
        }
        self.answer_waiters(&entry);
        self.consider(&entry);
        entry.row()
    }

    /// Seals the bytes, digests them if somebody wants that, and writes them through if that is promised.
    fn finish(&self, row: &Payload, size: u64, promised: Durability, named: Option<Digest>) -> Result<Finished> {
        let mut finished = self.seal(row, size)?;
        if let Err(error) = self.digest_and_write_through(row, size, promised, named, &mut finished) {
            finished.places().for_each(|placed| self.discard(placed));
            return Err(error);
        }
        Ok(finished)
    }

    fn seal(&self, row: &Payload, size: u64) -> Result<Finished> {
        let replica = &row.replicas[0];
        let mut finished = Finished {
            location: replica.location,
            charged: replica.charged,
            digest: None,
            moved: None,
            durable: None,
        };
        if row.size == 0 {
            return Ok(finished);
        }
        let store = self.tier(row.tier)?;
        let seal = || store.seal(&row.namespace, &replica.location, size);
        // Tried before anybody's turn: mostly it needs no room, and what is committed can make some.
        let sealed = match seal() {
            Err(error) if is_shortage(&error) => self.in_tier(row.tier, &row.namespace, size, seal)?,
            done => done?,
        };
        self.note_freed(row.tier);
        self.prepare_later(store);
        match sealed {
            Sealed::InPlace { charged } if charged < size => Err(Error::invalid(
                Reason::BadSize,
                "an earlier commit, which was refused, has given the rest of the bytes back",
            )
            .field("size")),
            Sealed::InPlace { charged } => {
                finished.charged = charged;
                Ok(finished)
            }
            Sealed::Moved { placed, digest } => {
                finished.location = placed.location;
                finished.charged = placed.charged;
                finished.digest = Some(digest);
                finished.moved = Some(placed);
                Ok(finished)
            }
        }
    }

    fn digest_and_write_through(
        &self,
        row: &Payload,
        size: u64,
        promised: Durability,
        named: Option<Digest>,
        finished: &mut Finished,
    ) -> Result<()> {
        if let Some(below) = writes_through(row.tier, promised) {
            let copy = || self.copy_bytes(&row.namespace, &finished.location, size, below);
            let (placed, digest) = self.in_tier(below, &row.namespace, size, copy)?;
            finished.durable = Some(placed);
            finished.digest = Some(digest);
        }
        // Bytes that stay where they were written are read again only if that is cheap, asked for, or must last.
        let wanted = named.is_some() || row.tier > Tier::Ram || size <= limits::INLINE_SIZE_MAX;
        if finished.digest.is_none() && wanted {
            finished.digest = Some(self.tier(row.tier)?.digest(&finished.location, size)?);
        }
        finished.digest.map_or(Ok(()), |digest| check_digest(named, digest))
    }

    /// Whether this holder may finish the allocation. One without an owner belongs to whoever of its principal proves it.
    pub(crate) fn check_owner(
        &self,
        holder: &Arc<Holder>,
        entry: &Arc<Entry>,
        token: Option<AllocationToken>,
    ) -> Result<()> {
        let mut live = entry.live();
        live.elsewhere()?;
        match &live.owner {
            Some(owner) if Arc::ptr_eq(owner, holder) => Ok(()),
            None if token.is_some_and(|token| self.mint.is_allocation(token, &holder.principal, entry.id)) => {
                self.take_ownership(holder, entry, &mut live)
            }
            _ => Err(Error::new(
                Reason::AllocationNotOwned,
                "the allocation belongs to another session",
            )),
        }
    }
}

impl Finished {
    fn places(self) -> impl Iterator<Item = Placed> {
        self.moved.into_iter().chain(self.durable)
    }
}

/// Bytes that the server is being sent are not all there yet.
fn check_not_uploading(entry: &Entry) -> Result<()> {
    match entry.live().uploading {
        false => Ok(()),
        true => Err(Error::new(
            Reason::WriterMapped,
            "an upload into the allocation is under way",
        )),
    }
}

impl CommitRequest {
    fn identity(&self) -> Option<Request> {
        let id = self.request_id.clone()?;
        let numbers = format!("{:?} {:?} {:?}", self.size, self.digest, self.naming);
        Some(Request::new(
            id,
            Operation::Commit,
            &[
                self.payload.as_bytes(),
                numbers.as_bytes(),
                &fingerprint(self.lineage.as_ref()),
                streams::fingerprint(self.publish.as_ref()).as_bytes(),
                &metadata::fingerprint(self.metadata.as_ref()),
            ],
        ))
    }

    fn content_size(&self, row: &Payload) -> Result<u64> {
        debug_assert_eq!(row.state.kind(), StateKind::Allocated);
        let size = self.size.unwrap_or(row.size);
        if size > row.size {
            return Err(Error::invalid(
                Reason::BadSize,
                format!("{} bytes were allocated, {size} cannot be committed", row.size),
            )
            .field("size"));
        }
        Ok(size)
    }
}
