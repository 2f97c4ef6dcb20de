//! Commit: make an allocation immutable, durable as asked, and visible.

use std::os::fd::AsFd;
use std::sync::Arc;

use payload_core::port::{Placed, Source};
use payload_core::{
    AllocationToken, Digest, Error, LifecycleEvent, Namespace, Operation, Payload, PayloadId, Reason, Replica,
    ReplicaState, RequestId, Result, StateKind, Tier, limits,
};

use crate::engine::Engine;
use crate::entry::{Entry, Gate};
use crate::holder::Holder;
use crate::placement::{Place, say_when};
use crate::put::check_digest;
use crate::transition::{Applied, Cause, Request};

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
}

/// The bytes as the commit found them, sealed and, if need be, written through.
struct Finished {
    charged: u64,
    digest: Option<Digest>,
    durable: Option<Placed>,
}

impl Engine {
    /// Makes an allocation visible and returns when it is as durable as was asked.
    pub fn commit(&self, holder: &Arc<Holder>, request: &CommitRequest) -> Result<Arc<Payload>> {
        let identity = request.identity();
        match self.commit_once(holder, request, identity.as_ref()) {
            Ok(row) => Ok(row),
            Err(error) => match self.answered(&holder.principal, identity.as_ref())? {
                Some(entry) => Ok(entry.row()),
                None => Err(say_when(error)),
            },
        }
    }

    fn commit_once(
        &self,
        holder: &Arc<Holder>,
        request: &CommitRequest,
        identity: Option<&Request>,
    ) -> Result<Arc<Payload>> {
        let entry = self.entry(&request.namespace, request.payload)?;
        let gate = entry.gate();
        let row = entry.row();
        let expires_at = row.ttl.map(|ttl| self.wall().after(ttl));
        let event = LifecycleEvent::Commit { expires_at };
        payload_core::step(row.state, event, self.wall())?;
        self.check_owner(holder, &entry, request.token)?;
        let size = request.content_size(&row)?;

        let finished = self.finish(&row, size, request.digest)?;
        let durable = finished
            .durable
            .as_ref()
            .map(|placed| self.replica(placed, ReplicaState::Ready));
        let change = self.decide(&row, event, &Cause::principal(&holder.principal), |after| {
            after.size = size;
            after.digest = finished.digest;
            after.committed_at = Some(self.wall());
            after.replicas[0].state = ReplicaState::Ready;
            after.replicas[0].charged = finished.charged;
            after.replicas.extend(durable);
        })?;
        match self.apply(&gate, vec![change], row.durability, &holder.principal, identity) {
            Ok(Applied::Done) => {}
            Ok(Applied::Before(record)) => {
                finished.durable.into_iter().for_each(|placed| self.discard(placed));
                let request = identity.expect("only a request with an id can be a duplicate");
                return Ok(self.first_answer(request, &record)?.row());
            }
            Err(error) => {
                finished
                    .durable
                    .into_iter()
                    .for_each(|placed| self.discard_unless_unknown(placed, &error));
                return Err(error);
            }
        }

        self.disown(&entry);
        let row = self.entry_committed(gate, expires_at);
        self.metrics.committed(row.durability, row.size);
        Ok(row)
    }

    /// What everybody else learns of a commit.
    fn entry_committed(&self, gate: Gate<'_>, expires_at: Option<payload_core::Timestamp>) -> Arc<Payload> {
        let entry = Arc::clone(gate.entry);
        drop(gate);
        if let Some(at) = expires_at {
            self.note_deadline(at);
        }
        self.answer_waiters(&entry);
        entry.row()
    }

    /// Seals the bytes, digests them if somebody wants that, and writes them through if that was promised.
    fn finish(&self, row: &Payload, size: u64, named: Option<Digest>) -> Result<Finished> {
        let replica = &row.replicas[0];
        let store = self.tier(row.tier)?;
        let charged = if row.size == 0 {
            replica.charged
        } else {
            store.seal(&replica.location, size)?
        };
        if charged < size {
            return Err(Error::invalid(
                Reason::BadSize,
                "an earlier commit, which was refused, has given the rest of the bytes back",
            )
            .field("size"));
        }
        let place = Place {
            tier: row.tier,
            durability: row.durability,
        };
        if place.writes_through() {
            let (placed, digest) = self.write_through(row, replica, size)?;
            if let Err(error) = check_digest(named, digest) {
                self.discard(placed);
                return Err(error);
            }
            return Ok(Finished {
                charged,
                digest: Some(digest),
                durable: Some(placed),
            });
        }
        // Bytes that stay where they were written are read again only if that is cheap, asked for, or must last.
        let digest = match named.is_some() || row.tier == Tier::Disk || size <= limits::INLINE_SIZE_MAX {
            true => Some(store.digest(&replica.location, size)?),
            false => None,
        };
        if let Some(digest) = digest {
            check_digest(named, digest)?;
        }
        Ok(Finished {
            charged,
            digest,
            durable: None,
        })
    }

    fn write_through(&self, row: &Payload, replica: &Replica, size: u64) -> Result<(Placed, Digest)> {
        let disk = self.tier(Tier::Disk)?;
        if size == 0 {
            return Ok((disk.store(&row.namespace, &[])?, Digest::of(&[])));
        }
        let fd = self.tier(row.tier)?.open(&replica.location)?;
        disk.copy_in(
            &row.namespace,
            Source {
                fd: fd.as_fd(),
                offset: replica.location.offset(),
                size,
            },
        )
    }

    /// Whether this holder may finish the allocation. One without an owner belongs to whoever of its principal proves it.
    pub(crate) fn check_owner(
        &self,
        holder: &Arc<Holder>,
        entry: &Arc<Entry>,
        token: Option<AllocationToken>,
    ) -> Result<()> {
        let mut live = entry.live();
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

impl CommitRequest {
    fn identity(&self) -> Option<Request> {
        let id = self.request_id.clone()?;
        let numbers = format!("{:?} {:?}", self.size, self.digest);
        Some(Request::new(
            id,
            Operation::Commit,
            &[self.payload.as_bytes(), numbers.as_bytes()],
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
