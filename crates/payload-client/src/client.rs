//! The client: puts payloads, allocates room for them, takes leases on them.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use payload_core::digest::Digest;
use payload_core::placement::Fallback;
use payload_core::{Durability, PayloadId, PayloadRef, Reason, Result, Tier, limits};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;

use crate::admin::Admin;
use crate::catalog::Catalog;
use crate::endpoint::Endpoint;
use crate::grant::{Grant, nonsense};
use crate::intake::{Answer, Expect};
use crate::lease::Lease;
use crate::names::wire_naming;
use crate::options::{
    AcquireOptions, AllocateOptions, ClientOptions, CommitOptions, DigestChoice, InBucket, MinTier, PutOptions,
};
use crate::renew::millis;
use crate::session::{Owner, Retry};
use crate::streams::Streams;
use crate::writer::Writer;

/// How much is written before other tasks get a turn.
const PIECE: usize = 1 << 20;
/// How often something is tried that a change of connection can spoil.
const ATTEMPTS: usize = 4;
/// What one lease takes up in an answer besides its content.
const LEASE_OVERHEAD: usize = 512;

/// Which containers' descriptors the server is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Descriptors {
    /// Those that it has not sent to this session.
    New,
    /// All: one that it has sent may have been dropped here since.
    All,
}

/// A connection to one server, over all restarts of it. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    session: Arc<Owner>,
    catalog: Catalog,
    admin: Admin,
    streams: Streams,
}

impl Client {
    /// Connects with the default options.
    pub async fn connect(endpoint: Endpoint) -> Result<Self> {
        Self::connect_with(endpoint, ClientOptions::default()).await
    }

    /// Connects: over the local socket if the endpoint names one that can be connected, else over gRPC. Fails with
    /// `CONNECTION_LOST` if there is no server.
    pub async fn connect_with(endpoint: Endpoint, options: ClientOptions) -> Result<Self> {
        let catalog = Catalog::new(endpoint.clone(), &options);
        let admin = Admin::new(endpoint.clone(), &options);
        let streams = Streams::new(endpoint.clone(), &options);
        let session = Owner::open(endpoint, options).await?;
        Ok(Self {
            streams: streams.beside(&session),
            session,
            catalog,
            admin,
        })
    }

    /// What payloads there are.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What operators ask.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Ordered logs of payload references.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Whether bytes have to travel, because the local socket is out of reach: small ones inside messages, others over
    /// HTTP, from and to copies in this process's memory.
    pub fn is_remote(&self) -> bool {
        self.session.is_remote()
    }

    /// Makes a payload of bytes that are in hand. Up to 64 KiB, metadata included, travel inside the request.
    pub async fn put(&self, bytes: &[u8], options: PutOptions) -> Result<v1::Payload> {
        let metadata = options.metadata.as_ref().map_or(0, |document| document.body.len());
        if (bytes.len() + metadata) as u64 <= limits::INLINE_SIZE_MAX {
            return self.put_inline(bytes, options).await;
        }
        let mut attempt = 1;
        loop {
            match self.put_through_allocation(bytes, &options).await {
                // The room died with its server; the bytes are still here.
                Err(error) if error.reason() == Reason::PayloadAborted && attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    /// Reserves room for `size` bytes, to be written in place.
    pub async fn allocate(&self, size: u64, options: AllocateOptions) -> Result<Writer> {
        let mut attempt = 1;
        loop {
            match self.allocate_once(size, &options).await {
                // The request was repeated, and what it got the first time was given up with the old connection.
                Err(error) if error.reason() == Reason::PayloadAborted && attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    /// Takes a lease on a payload, by its id or by a name.
    pub async fn acquire(&self, payload: impl Into<PayloadRef>, options: AcquireOptions) -> Result<Lease> {
        let lease = self.acquire_some(&[payload.into()], options).await?.pop();
        lease.unwrap_or_else(|| Err(nonsense("no result")))
    }

    /// Takes leases on many payloads, 64 in one round trip. Each has its own result, in order. The fewer share a round
    /// trip, the larger contents may come inside the answer.
    pub async fn acquire_many(&self, ids: &[PayloadId], options: AcquireOptions) -> Result<Vec<Result<Lease>>> {
        let mut leases = Vec::with_capacity(ids.len());
        for ids in ids.chunks(limits::BATCH_ITEMS_MAX) {
            leases.append(&mut self.acquire_some(ids, options).await?);
        }
        Ok(leases)
    }

    async fn acquire_some(&self, ids: &[impl Display], options: AcquireOptions) -> Result<Vec<Result<Lease>>> {
        let grants = self.ask_for_leases(ids, options, Descriptors::New).await?;
        let mut leases = Vec::with_capacity(ids.len());
        for (id, grant) in ids.iter().zip(grants) {
            leases.push(match grant {
                Ok(Grant::Lease(lease)) => Ok(lease),
                Ok(Grant::Away(lease, source)) => match lease.fetched(&source).await {
                    // Its turn came after its URL had expired.
                    Err(error) if error.reason() == Reason::ObjectStoreDenied => self.ask_again(id, options).await,
                    fetched => fetched,
                },
                Ok(Grant::Again) => self.ask_again(id, options).await,
                Err(error) => Err(error),
            });
        }
        Ok(leases)
    }

    /// The lease came without a way to its bytes: see [`Grant::Again`].
    async fn ask_again(&self, id: &impl Display, options: AcquireOptions) -> Result<Lease> {
        match self.ask_for_leases(&[id], options, Descriptors::All).await?.pop() {
            Some(Ok(Grant::Lease(lease))) => Ok(lease),
            Some(Ok(Grant::Away(lease, source))) => lease.fetched(&source).await,
            Some(Ok(Grant::Again)) | None => Err(nonsense("a lease without a way to its bytes")),
            Some(Err(error)) => Err(error),
        }
    }

    async fn ask_for_leases(
        &self,
        ids: &[impl Display],
        options: AcquireOptions,
        descriptors: Descriptors,
    ) -> Result<Vec<Result<Grant>>> {
        let (min_tier, take_slower) = match options.min_tier {
            None => (None, false),
            Some(MinTier::Wait(tier)) => (Some(tier), false),
            Some(MinTier::TakeSlower(tier)) => (Some(tier), true),
        };
        let request = Request::Acquire(v1::AcquireRequest {
            namespace: self.session.namespace(),
            payload_ids: ids.iter().map(ToString::to_string).collect(),
            ttl_ms: options.ttl.map(millis),
            inline_max: self.inline_max(ids.len(), options.inline_max),
            wait_ms: millis(options.wait),
            min_tier: tier(min_tier),
            take_slower,
            resend_descriptor: descriptors == Descriptors::All,
            from_bucket: options.in_bucket == InBucket::ByUrl,
        });
        match self
            .session
            .call(request, Expect::Leases { ttl: options.ttl }, Retry::Safe)
            .await?
        {
            Answer::Leases(grants) if grants.len() == ids.len() => Ok(grants),
            _ => Err(nonsense("an answer to another question")),
        }
    }

    /// All contents of an answer must fit into one message. Without the local socket any other way is longer.
    fn inline_max(&self, items: usize, asked: u32) -> u32 {
        let largest = limits::INLINE_SIZE_MAX as u32;
        if self.is_remote() {
            return largest;
        }
        let room = (limits::MESSAGE_SIZE_MAX / items.max(1)).saturating_sub(LEASE_OVERHEAD);
        asked.min(largest).min(u32::try_from(room).unwrap_or(largest))
    }

    async fn allocate_once(&self, size: u64, options: &AllocateOptions) -> Result<Writer> {
        let request = v1::AllocateRequest {
            namespace: self.session.namespace(),
            request_id: self.session.request_ids.next(),
            size,
            tier: tier(options.tier),
            fallback: fallback(options.fallback),
            durability: durability(options.durability),
            policy: Some(options.policy.into()),
            ttl_ms: options.ttl.map(millis),
            labels: options.labels.iter().cloned().collect(),
            timeout_ms: options.timeout.map(millis),
        };
        let asked = Request::Allocate(request.clone());
        match self.session.call(asked, Expect::Room { size }, Retry::Safe).await? {
            Answer::Room(writer) => Ok(writer.asked_with(request)),
            _ => Err(nonsense("an answer to another question")),
        }
    }

    async fn put_through_allocation(&self, bytes: &[u8], options: &PutOptions) -> Result<v1::Payload> {
        let allocate = AllocateOptions {
            tier: options.tier,
            fallback: options.fallback,
            durability: options.durability,
            policy: options.policy,
            ttl: options.ttl,
            labels: options.labels.clone(),
            timeout: None,
        };
        let mut writer = self.allocate(bytes.len() as u64, allocate).await?;
        for piece in bytes.chunks(PIECE) {
            writer.write(piece)?;
            tokio::task::yield_now().await;
        }
        writer
            .commit(CommitOptions {
                size: None,
                digest: options.digest,
                lineage: options.lineage.clone(),
                naming: options.naming.clone(),
                publish: options.publish.clone(),
                metadata: options.metadata.clone(),
            })
            .await
    }

    async fn put_inline(&self, bytes: &[u8], options: PutOptions) -> Result<v1::Payload> {
        let digest = match options.digest {
            DigestChoice::Skip => None,
            DigestChoice::Given(digest) => Some(digest),
            DigestChoice::IfKnown | DigestChoice::Compute => Some(Digest::of(bytes)),
        };
        let request = Request::Put(v1::PutRequest {
            namespace: self.session.namespace(),
            request_id: self.session.request_ids.next(),
            content: Bytes::copy_from_slice(bytes),
            tier: tier(options.tier),
            fallback: fallback(options.fallback),
            durability: durability(options.durability),
            policy: Some(options.policy.into()),
            ttl_ms: options.ttl.map(millis),
            labels: options.labels.into_iter().collect(),
            digest: digest.map(|digest| digest.to_string()).unwrap_or_default(),
            lineage: options.lineage,
            naming: options.naming.as_ref().map(wire_naming),
            publish: options.publish,
            metadata: options.metadata,
        });
        match self.session.call(request, Expect::Message, Retry::Safe).await? {
            Answer::Message(Response::Put(v1::PutResponse {
                payload: Some(payload), ..
            })) => Ok(payload),
            _ => Err(nonsense("a put without a payload")),
        }
    }
}

fn tier(tier: Option<Tier>) -> i32 {
    let tier = match tier {
        None => v1::Tier::Unspecified,
        Some(Tier::Ram) => v1::Tier::Ram,
        Some(Tier::Disk) => v1::Tier::Disk,
        Some(Tier::Object) => v1::Tier::Object,
    };
    tier.into()
}

fn fallback(fallback: Option<Fallback>) -> i32 {
    fallback.map_or(v1::Fallback::Unspecified, Into::into).into()
}

fn durability(durability: Option<Durability>) -> i32 {
    let durability = match durability {
        None => v1::Durability::Unspecified,
        Some(Durability::Volatile) => v1::Durability::Volatile,
        Some(Durability::Host) => v1::Durability::Host,
        Some(Durability::Object) => v1::Durability::ObjectStorage,
    };
    durability.into()
}
