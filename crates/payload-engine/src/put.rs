//! Put: allocate, write and commit a small payload in one call and one transaction.

use std::sync::Arc;

use bytes::Bytes;
use payload_core::lineage::Derivation;
use payload_core::placement::{self, Fallback, Place};
use payload_core::port::Placed;
use payload_core::{
    Carried, CommitOutcome, Digest, Document, Durability, Error, Label, Namespace, Naming, Operation, Payload,
    PayloadId, Policy, Reason, ReplicaState, RequestId, Result, Revision, Span, State, Tier, limits,
};

use crate::allocate::{Draft, check_span, label_text};
use crate::engine::Engine;
use crate::holder::Holder;
use crate::lineage::fingerprint;
use crate::metadata;
use crate::placement::say_when;
use crate::streams::{self, Publish, Published};
use crate::transition::{Along, Request};

/// A whole small payload.
#[derive(Clone, Debug)]
pub struct PutRequest {
    /// Whose payload it will be.
    pub namespace: Namespace,
    /// Makes a retry safe.
    pub request_id: Option<RequestId>,
    /// The bytes, at most [`limits::INLINE_SIZE_MAX`] of them.
    pub content: Bytes,
    /// RAM if open.
    pub tier: Option<Tier>,
    /// What happens if that tier has no room; see [`placement`] for what is usual.
    pub fallback: Option<Fallback>,
    /// What the tier gives by itself if open.
    pub durability: Option<Durability>,
    /// How it is kept when room is short.
    pub policy: Policy,
    /// How long the payload lives.
    pub ttl: Option<Span>,
    /// Labels, in order.
    pub labels: Vec<Label>,
    /// Checked against the bytes if given.
    pub digest: Option<Digest>,
    /// What it was made from.
    pub lineage: Option<Derivation>,
    /// A name to point at the payload, with the put or not at all.
    pub naming: Option<Naming>,
    /// Where it is to be appended in the same moment.
    pub publish: Option<Publish>,
    /// The first revision of its metadata.
    pub metadata: Option<Document>,
}

impl Engine {
    /// Stores a small payload and returns when it is as durable as was asked.
    pub fn put(&self, holder: &Arc<Holder>, request: &PutRequest) -> Result<Arc<Payload>> {
        Ok(self.publish_small(holder, request)?.row)
    }

    /// The same, and says where the payload was appended if the request publishes it.
    pub fn publish_small(&self, holder: &Arc<Holder>, request: &PutRequest) -> Result<Published> {
        check_span(request.ttl, "ttl_ms")?;
        let size = request.content.len() as u64;
        if size > limits::INLINE_SIZE_MAX {
            return Err(Error::invalid(
                Reason::BadSize,
                format!(
                    "put takes at most {} bytes; allocate and commit larger payloads",
                    limits::INLINE_SIZE_MAX
                ),
            )
            .field("content"));
        }
        let digest = Digest::of(&request.content);
        check_digest(request.digest, digest)?;
        let identity = request.identity(digest);

        match self.put_once(holder, request, digest, identity.as_ref()) {
            Ok(published) => Ok(published),
            // A retry needs no second room, and is not refused for want of it.
            Err(error) => match self.answered_with(&holder.principal, identity.as_ref())? {
                Some((entry, appended)) => Ok(Published {
                    row: entry.row(),
                    appended,
                }),
                None => Err(say_when(error)),
            },
        }
    }

    fn put_once(
        &self,
        holder: &Arc<Holder>,
        request: &PutRequest,
        digest: Digest,
        identity: Option<&Request>,
    ) -> Result<Published> {
        let size = request.content.len() as u64;
        let (place, placed) = self.store_all(request)?;
        let expires_at = request.ttl.map(|ttl| self.wall().after(ttl));
        let replicas = placed
            .iter()
            .map(|placed| self.replica(placed, ReplicaState::Ready))
            .collect();
        let draft = Draft {
            namespace: &request.namespace,
            owner: &holder.principal,
            place: &place,
            size,
            ttl: request.ttl,
            labels: &request.labels,
        };
        let mut row = self.draft(&draft, State::Active { expires_at }, replicas);
        let new = Arc::make_mut(&mut row);
        new.digest = Some(digest);
        new.metadata = request.metadata.as_ref().map(|_| Revision::FIRST);
        let (streams, durability) = self.publication(request.publish.as_ref(), &row);
        let durability = self.durability_with(durability, request.metadata.as_ref());
        let along = Along {
            edges: self.edges(row.id, request.lineage.as_ref(), &holder.principal)?,
            name: self.naming_of(&row, request.naming.as_ref(), &holder.principal),
            streams,
            metadata: request.metadata.clone(),
            contents: self.carried(row.id, &placed, request, &place),
            ..Along::from(&place)
        };

        let _making = self.table.make(row.id);
        match self.create(&row, &holder.principal, identity, durability, along) {
            Ok(outcome @ (CommitOutcome::Applied | CommitOutcome::Appended(_))) => {
                let entry = self.table.insert(Arc::clone(&row), false);
                self.note_owed(&row);
                self.tell_followers(&outcome);
                self.consider(&entry);
                if let Some(at) = expires_at {
                    self.note_deadline(at);
                }
                self.metrics.committed(place.durability, size);
                Ok(Published {
                    row,
                    appended: outcome.appended(),
                })
            }
            Ok(CommitOutcome::Duplicate(record)) => {
                placed.into_iter().for_each(|placed| self.discard(placed));
                let request = identity.expect("only a request with an id can be a duplicate");
                Ok(Published {
                    row: self.first_answer(request, &record)?.row(),
                    appended: record.appended,
                })
            }
            Ok(CommitOutcome::StreamRefused(refusal)) => {
                placed.into_iter().for_each(|placed| self.discard(placed));
                Err(refusal.into())
            }
            Ok(CommitOutcome::Refused(refusal)) => {
                placed.into_iter().for_each(|placed| self.discard(placed));
                Err(refusal.into())
            }
            Ok(CommitOutcome::Conflict) => {
                placed.into_iter().for_each(|placed| self.discard(placed));
                Err(Error::new(Reason::Internal, "a new payload id exists already"))
            }
            Err(error) => {
                placed
                    .into_iter()
                    .for_each(|placed| self.discard_unless_unknown(placed, &error));
                Err(error)
            }
        }
    }

    /// One replica in the tier that was decided on, and one below if the commit promises more than that tier gives.
    fn store_all(&self, request: &PutRequest) -> Result<(Place, Vec<Placed>)> {
        let (namespace, content) = (&request.namespace, &request.content);
        let store = |place: &Place, tier: Tier| {
            let store = self.tier(tier)?;
            match self.carries(request, place) {
                true => store.store_carried(namespace, content),
                false => store.store(namespace, content),
            }
        };
        let (mut place, placed) = self.in_place(namespace, &request.placement(), |place| store(place, place.tier))?;
        place.durability = self.promise_now(place.policy, place.durability, content.len() as u64);
        let mut placed = vec![placed];
        self.prepare_later(self.tier(place.tier)?);
        if let Some(below) = place.writes_through() {
            let size = content.len() as u64;
            match self.in_tier(below, namespace, size, || store(&place, below)) {
                Ok(durable) => placed.push(durable),
                Err(error) => {
                    placed.into_iter().for_each(|placed| self.discard(placed));
                    return Err(error);
                }
            }
        }
        Ok((place, placed))
    }

    /// Whether one sync is to be enough for the bytes and their row.
    fn carries(&self, request: &PutRequest, place: &Place) -> bool {
        (1..=self.carried_max).contains(&request.content.len()) && place.durability >= Durability::Host
    }

    /// What the commit has to carry.
    fn carried(&self, payload: PayloadId, placed: &[Placed], request: &PutRequest, place: &Place) -> Vec<Carried> {
        if !self.carries(request, place) {
            return Vec::new();
        }
        let on_disk = placed.iter().filter(|placed| placed.location.tier() == Tier::Disk);
        let carried = on_disk.map(|placed| Carried {
            payload,
            location: placed.location,
            content: request.content.clone(),
        });
        carried.collect()
    }
}

impl PutRequest {
    fn placement(&self) -> placement::Request {
        placement::Request {
            size: self.content.len() as u64,
            tier: self.tier,
            fallback: self.fallback,
            durability: self.durability,
            policy: self.policy,
        }
    }

    fn identity(&self, digest: Digest) -> Option<Request> {
        let id = self.request_id.clone()?;
        let numbers = format!(
            "{} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.content.len(),
            self.tier,
            self.fallback,
            self.durability,
            self.policy,
            self.ttl,
            self.naming
        );
        let labels = label_text(&self.labels);
        let lineage = fingerprint(self.lineage.as_ref());
        let publish = streams::fingerprint(self.publish.as_ref());
        let metadata = metadata::fingerprint(self.metadata.as_ref());
        let parts: [&[u8]; 7] = [
            self.namespace.as_str().as_bytes(),
            numbers.as_bytes(),
            labels.as_bytes(),
            digest.as_bytes(),
            &lineage,
            publish.as_bytes(),
            &metadata,
        ];
        Some(Request::new(id, Operation::Put, &parts))
    }
}

/// A digest that the client names is checked before anything is acknowledged.
pub(crate) fn check_digest(named: Option<Digest>, found: Digest) -> Result<()> {
    match named {
        Some(named) if named != found => Err(Error::new(
            Reason::DigestMismatch,
            format!("the bytes have digest {found}, not {named} as the request says"),
        )
        .field("digest")),
        _ => Ok(()),
    }
}
