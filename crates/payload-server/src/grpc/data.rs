//! DataService over gRPC: for holders whose death cannot be seen, and who get no descriptors.

use std::net::SocketAddr;
use std::sync::Arc;

use payload_core::{Error, Instant, Namespace, PayloadRef, Reason, Result, Tier, limits};
use payload_engine::{AcquireOptions, Engine, Grant, Holder};
use payload_proto::convert::{self, batch, id, namespace, optional};
use payload_proto::v1;
use payload_proto::v1::data_service_server::DataService;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::{answer, moves, pins, remote};
use crate::bytes;
use crate::calls::{Calls, Rpc};
use crate::wire;

/// Contents in one answer take at most this much together; further ones come without.
const CONTENT_MAX: u64 = 2 << 20;

pub(super) struct Service {
    calls: Calls,
    /// Where the byte endpoint listens.
    bytes: SocketAddr,
}

impl Service {
    pub(super) fn new(calls: Calls, bytes: SocketAddr) -> Self {
        Self { calls, bytes }
    }

    /// Tells a holder who was not given the content where it is.
    fn say_where(&self, namespace: &Namespace, result: &mut v1::AcquireResult) {
        if let Some(v1::acquire_result::Result::Lease(lease)) = &mut result.result
            && let (None, None, Some(descriptor)) = (&lease.content, &lease.from_bucket, &lease.descriptor)
        {
            lease.content_url = bytes::url(self.bytes, namespace, &descriptor.payload_id);
        }
    }

    /// One item of an acquire: at once if that needs no I/O, else in a thread, else when the payload is committed.
    async fn acquire_one(
        &self,
        holder: &Arc<Holder>,
        asked: &wire::Acquire,
        item: Result<PayloadRef>,
        inline_max: u64,
        deadline: Instant,
    ) -> Result<Grant> {
        let payload = item?;
        let options = AcquireOptions {
            inline_max,
            ..asked.options
        };
        let waits = |error: &Error| error.reason() == Reason::PayloadNotCommitted && !asked.wait.is_zero();
        let quick = match payload {
            PayloadRef::Id(id) => self.calls.engine.acquire_quick(holder, &asked.namespace, id, options),
            // Where a name points is asked of the repository.
            PayloadRef::Name(_) => None,
        };
        match quick {
            Some(Err(error)) if waits(&error) => {}
            Some(result) => return result,
            None => {}
        }
        let (done, result) = oneshot::channel();
        let (holder, namespace) = (Arc::clone(holder), asked.namespace.clone());
        let wait = self.calls.left(deadline);
        self.calls.spawn(self.calls.place()?, move |engine| {
            // A caller that has gone away leaves a lease behind, which ends with its term.
            let tell = move |grant| drop(done.send(grant));
            match engine.resolve(&namespace, &payload) {
                Ok(id) => engine.acquire_when_committed(&holder, &namespace, id, options, wait, tell),
                Err(error) => tell(Err(error)),
            }
        });
        result
            .await
            .map_err(|_| Error::new(Reason::Internal, "the call panicked; see the server's log"))?
    }
}

#[tonic::async_trait]
impl DataService for Service {
    async fn allocate(&self, request: Request<v1::AllocateRequest>) -> Result<Response<v1::AllocateResponse>, Status> {
        let holder = remote(&self.calls.engine, &request);
        answer(&self.calls, Rpc::Allocate, async {
            let request = wire::allocate(request.get_ref())?;
            let namespace = request.namespace.clone();
            let allocation = self.calls.run(move |engine| engine.allocate(&holder, &request)).await?;
            let mut response = wire::allocation(allocation, &mut Vec::new(), &mut Vec::new());
            if response.to_bucket.is_none() {
                response.content_url = bytes::url(self.bytes, &namespace, &response.payload_id);
            }
            Ok(response)
        })
        .await
    }

    async fn commit(&self, request: Request<v1::CommitRequest>) -> Result<Response<v1::CommitResponse>, Status> {
        let holder = remote(&self.calls.engine, &request);
        answer(&self.calls, Rpc::Commit, async {
            let request = wire::commit(request.get_ref())?;
            let published = self.calls.run(move |engine| engine.publish(&holder, &request)).await?;
            Ok(wire::committed(&published))
        })
        .await
    }

    async fn abort(&self, request: Request<v1::AbortRequest>) -> Result<Response<v1::AbortResponse>, Status> {
        let holder = remote(&self.calls.engine, &request);
        answer(&self.calls, Rpc::Abort, async {
            let request = request.get_ref();
            let (namespace, payload) = (namespace(&request.namespace)?, id(&request.payload_id)?);
            let token = optional(&request.allocation_token)?;
            let reason = payload_core::name::reason(&request.reason)?;
            self.calls
                .run(move |engine| engine.abort(&holder, &namespace, payload, token, reason))
                .await?;
            Ok(v1::AbortResponse {})
        })
        .await
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Result<Response<v1::PutResponse>, Status> {
        let holder = remote(&self.calls.engine, &request);
        answer(&self.calls, Rpc::Put, async {
            let request = wire::put(request.into_inner())?;
            let published = self
                .calls
                .run(move |engine| engine.publish_small(&holder, &request))
                .await?;
            Ok(wire::put_done(&published))
        })
        .await
    }

    async fn acquire(&self, request: Request<v1::AcquireRequest>) -> Result<Response<v1::AcquireResponse>, Status> {
        let holder = remote(&self.calls.engine, &request);
        answer(&self.calls, Rpc::Acquire, async {
            let mut asked = wire::acquire(request.get_ref())?;
            let mut content_left = CONTENT_MAX;
            let deadline = self.calls.now().after(asked.wait);
            let mut results = Vec::with_capacity(asked.payloads.len());
            for item in std::mem::take(&mut asked.payloads) {
                let inline_max = asked.options.inline_max.min(content_left);
                let grant = self.acquire_one(&holder, &asked, item, inline_max, deadline).await;
                let mut result = wire::acquired(grant, &mut Vec::new(), &mut Vec::new());
                self.say_where(&asked.namespace, &mut result);
                content_left = content_left.saturating_sub(content_len(&result));
                results.push(result);
            }
            Ok(v1::AcquireResponse { results })
        })
        .await
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let holder = remote(&self.calls.engine, &request);
        answer(&self.calls, Rpc::Renew, async {
            let request = request.into_inner();
            batch(&request.leases, "leases")?;
            let namespace = namespace(&request.namespace)?;
            let ttl = convert::span(request.ttl_ms);
            // A lease that a restarted server does not know yet is looked up in the repository.
            let results = self.calls.run(move |engine| {
                let renew = |lease| {
                    let (lease, granted) = wire::renewal(lease)?;
                    engine.renew(&holder, &namespace, lease, granted, ttl)
                };
                Ok(request.leases.iter().map(|lease| wire::renewed(renew(lease))).collect())
            });
            Ok(v1::RenewResponse {
                results: results.await?,
            })
        })
        .await
    }

    async fn promote(&self, request: Request<v1::MoveRequest>) -> Result<Response<v1::MoveResponse>, Status> {
        moves::run(&self.calls, Rpc::Promote, request, Tier::Ram, Engine::promote_all).await
    }

    async fn prefetch(&self, request: Request<v1::MoveRequest>) -> Result<Response<v1::MoveResponse>, Status> {
        moves::run(&self.calls, Rpc::Prefetch, request, Tier::Ram, Engine::prefetch_all).await
    }

    async fn spill(&self, request: Request<v1::MoveRequest>) -> Result<Response<v1::MoveResponse>, Status> {
        moves::run(&self.calls, Rpc::Spill, request, Tier::Disk, Engine::spill_all).await
    }

    async fn pin_payload(
        &self,
        request: Request<v1::PinPayloadRequest>,
    ) -> Result<Response<v1::PinPayloadResponse>, Status> {
        pins::pin(&self.calls, request).await
    }

    async fn unpin_payload(
        &self,
        request: Request<v1::UnpinPayloadRequest>,
    ) -> Result<Response<v1::UnpinPayloadResponse>, Status> {
        pins::unpin(&self.calls, request).await
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        let holder = remote(&self.calls.engine, &request);
        answer(&self.calls, Rpc::Release, async {
            let request = request.get_ref();
            batch(&request.lease_ids, "lease_ids")?;
            let release = |text: &String| self.calls.engine.release(&holder, id(text)?);
            Ok(v1::ReleaseResponse {
                results: request
                    .lease_ids
                    .iter()
                    .map(|text| wire::released(release(text)))
                    .collect(),
            })
        })
        .await
    }
}

fn content_len(result: &v1::AcquireResult) -> u64 {
    match &result.result {
        Some(v1::acquire_result::Result::Lease(lease)) => {
            lease.content.as_ref().map_or(0, |content| content.len() as u64)
        }
        _ => 0,
    }
}

const _: () = assert!(CONTENT_MAX >= limits::INLINE_SIZE_MAX);
