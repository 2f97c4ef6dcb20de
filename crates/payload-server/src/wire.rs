//! Requests from the wire to the engine's words, and its answers back. Shared by gRPC and the local socket.

pub(crate) mod streams;

use std::os::fd::OwnedFd;

use payload_core::lease::HolderKind;
use payload_core::port::SignedRequest;
use payload_core::{Container, LeaseId, Namespace, PayloadId, PayloadRef, Principal, ReplicaId, Result, limits, name};
use payload_engine::{
    Access, AcquireOptions, AllocateRequest, Allocation, AllocationClaim, CommitRequest, DeleteRequest, Filling, Grant,
    InBucket, LeaseClaim, LeaseView, MinTier, NameRequest, OnDependents, Otherwise, Peer, Published, PutRequest,
};
use payload_proto::convert::{self, batch, id, labels, millis, namespace, optional, request_id, span};
use payload_proto::policy::{fallback, policy};
use payload_proto::{status, v1};

/// What an acquire asks for, checked.
pub(crate) struct Acquire {
    pub(crate) namespace: Namespace,
    pub(crate) options: AcquireOptions,
    pub(crate) wait: payload_core::Span,
    /// Each item has its own result, a bad id too.
    pub(crate) payloads: Vec<Result<PayloadRef>>,
}

pub(crate) fn allocate(request: &v1::AllocateRequest) -> Result<AllocateRequest> {
    Ok(AllocateRequest {
        namespace: namespace(&request.namespace)?,
        request_id: request_id(&request.request_id)?,
        size: request.size,
        tier: convert::tier(request.tier)?,
        durability: convert::durability(request.durability)?,
        fallback: fallback(request.fallback)?,
        policy: policy(request.policy.as_ref())?,
        ttl: span(request.ttl_ms),
        labels: labels(&request.labels)?,
        timeout: span(request.timeout_ms),
    })
}

pub(crate) fn commit(request: &v1::CommitRequest) -> Result<CommitRequest> {
    Ok(CommitRequest {
        namespace: namespace(&request.namespace)?,
        request_id: request_id(&request.request_id)?,
        payload: id(&request.payload_id)?,
        token: optional(&request.allocation_token)?,
        size: request.size,
        digest: optional(&request.digest)?,
        lineage: convert::lineage(request.lineage.as_ref())?,
        naming: convert::naming_maybe(request.naming.as_ref())?,
        publish: streams::publish(request.publish.as_ref())?,
        metadata: request.metadata.clone().map(convert::metadata::document).transpose()?,
    })
}

pub(crate) fn put(request: v1::PutRequest) -> Result<PutRequest> {
    Ok(PutRequest {
        namespace: namespace(&request.namespace)?,
        request_id: request_id(&request.request_id)?,
        content: request.content,
        tier: convert::tier(request.tier)?,
        durability: convert::durability(request.durability)?,
        fallback: fallback(request.fallback)?,
        policy: policy(request.policy.as_ref())?,
        ttl: span(request.ttl_ms),
        labels: labels(&request.labels)?,
        digest: optional(&request.digest)?,
        lineage: convert::lineage(request.lineage.as_ref())?,
        naming: convert::naming_maybe(request.naming.as_ref())?,
        publish: streams::publish(request.publish.as_ref())?,
        metadata: request.metadata.map(convert::metadata::document).transpose()?,
    })
}

pub(crate) fn committed(published: &Published) -> v1::CommitResponse {
    v1::CommitResponse {
        payload: Some((&*published.row).into()),
        appended: published.appended.map(streams::appended),
    }
}

pub(crate) fn put_done(published: &Published) -> v1::PutResponse {
    v1::PutResponse {
        payload: Some((&*published.row).into()),
        appended: published.appended.map(streams::appended),
    }
}

pub(crate) fn acquire(request: &v1::AcquireRequest) -> Result<Acquire> {
    batch(&request.payload_ids, "payload_ids")?;
    let wait = payload_core::Span::from_millis(request.wait_ms);
    if wait > limits::WAIT_MAX {
        let message = format!("a call waits at most {} ms", limits::WAIT_MAX.as_millis());
        return Err(payload_core::Error::invalid(payload_core::Reason::BadDuration, message).field("wait_ms"));
    }
    Ok(Acquire {
        namespace: namespace(&request.namespace)?,
        options: AcquireOptions {
            ttl: span(request.ttl_ms),
            inline_max: inline_max(request.inline_max)?,
            min_tier: min_tier(request)?,
            resend_descriptor: request.resend_descriptor,
            in_bucket: match request.from_bucket {
                true => InBucket::ByUrl,
                false => InBucket::Fetched,
            },
        },
        wait,
        payloads: request.payload_ids.iter().map(|text| id(text)).collect(),
    })
}

/// The leases that entries of a stream come with.
pub(crate) fn entry_leases(leases: &v1::EntryLeases) -> Result<AcquireOptions> {
    Ok(AcquireOptions {
        inline_max: inline_max(leases.inline_max)?,
        ..AcquireOptions::default()
    })
}

fn inline_max(asked: u32) -> Result<u64> {
    let (asked, max) = (u64::from(asked), limits::INLINE_SIZE_MAX);
    if asked > max {
        let message = format!("contents of at most {max} bytes come with the answer");
        return Err(payload_core::Error::invalid(payload_core::Reason::BadSize, message).field("inline_max"));
    }
    Ok(asked)
}

fn min_tier(request: &v1::AcquireRequest) -> Result<Option<MinTier>> {
    let otherwise = match request.take_slower {
        true => Otherwise::TakeWhatThereIs,
        false => Otherwise::Wait,
    };
    let tier = convert::tier(request.min_tier)?;
    Ok(tier.map(|tier| MinTier { tier, otherwise }))
}

pub(crate) fn delete(request: &v1::DeletePayloadRequest) -> Result<DeleteRequest> {
    Ok(DeleteRequest {
        namespace: namespace(&request.namespace)?,
        payload: id(&request.payload_id)?,
        request_id: request_id(&request.request_id)?,
        force: request.force,
        reason: name::reason(&request.reason)?,
        dependents: on_dependents(request.dependents)?,
    })
}

pub(crate) fn set_name(request: &v1::SetNameRequest) -> Result<NameRequest> {
    let missing = || {
        let message = "naming must say which name";
        payload_core::Error::invalid(payload_core::Reason::BadRequest, message).field("naming")
    };
    Ok(NameRequest {
        namespace: namespace(&request.namespace)?,
        payload: id(&request.payload_id)?,
        naming: convert::naming(request.naming.as_ref().ok_or_else(missing)?)?,
        reason: name::reason(&request.reason)?,
    })
}

fn on_dependents(value: i32) -> Result<OnDependents> {
    match v1::OnDependents::try_from(value) {
        Ok(v1::OnDependents::Unspecified | v1::OnDependents::Ignore) => Ok(OnDependents::Ignore),
        Ok(v1::OnDependents::Refuse) => Ok(OnDependents::Refuse),
        Ok(v1::OnDependents::Cascade) => Ok(OnDependents::Cascade),
        Err(_) => {
            let message = format!("there is no treatment of dependents number {value}");
            Err(payload_core::Error::invalid(payload_core::Reason::BadRequest, message).field("dependents"))
        }
    }
}

pub(crate) fn lease_claim(claim: &v1::LeaseRef) -> Result<LeaseClaim> {
    Ok(LeaseClaim {
        lease: id(&claim.lease_id)?,
        payload: id(&claim.payload_id)?,
        replica: id(&claim.replica_id)?,
    })
}

pub(crate) fn allocation_claim(claim: &v1::AllocationRef) -> Result<AllocationClaim> {
    Ok(AllocationClaim {
        payload: id(&claim.payload_id)?,
        token: id(&claim.allocation_token)?,
    })
}

/// A lease to renew, and what it was on if the client says so.
pub(crate) fn renewal(lease: &v1::LeaseRef) -> Result<(LeaseId, Option<(PayloadId, ReplicaId)>)> {
    let granted = match (optional(&lease.payload_id)?, optional(&lease.replica_id)?) {
        (Some(payload), Some(replica)) => Some((payload, replica)),
        _ => None,
    };
    Ok((id(&lease.lease_id)?, granted))
}

pub(crate) fn renewed(result: Result<Option<payload_core::Span>>) -> v1::RenewResult {
    match result {
        Ok(expires_in) => v1::RenewResult {
            expires_in_ms: expires_in.map(millis),
            failure: None,
        },
        Err(error) => v1::RenewResult {
            expires_in_ms: None,
            failure: Some(status::to_failure(&error)),
        },
    }
}

pub(crate) fn released(result: Result<()>) -> v1::ReleaseResult {
    v1::ReleaseResult {
        failure: result.err().map(|error| status::to_failure(&error)),
    }
}

/// An allocation; the descriptor to write with goes beside the message, and its container into `sent` if others of the
/// session will be in it too.
pub(crate) fn allocation(
    allocation: Allocation,
    fds: &mut Vec<OwnedFd>,
    sent: &mut Vec<Container>,
) -> v1::AllocateResponse {
    let row = &allocation.row;
    let replica = row.replicas.first();
    let mut response = v1::AllocateResponse {
        payload_id: row.id.to_string(),
        tier: v1::Tier::from(row.tier).into(),
        location: replica.map(|replica| convert::location(&replica.location, row.size)),
        allocation_token: allocation.token.to_string(),
        fd: None,
        content_url: String::new(),
        to_bucket: None,
    };
    match allocation.filling {
        Filling::Nothing => {}
        Filling::Descriptor(writer) => {
            let shared = replica.filter(|replica| replica.location.is_shared());
            sent.extend(shared.map(|replica| replica.location.container()));
            response.fd = Some(attach(writer, fds));
        }
        Filling::Url(request) => response.to_bucket = Some(signed(request, None)),
    }
    response
}

fn signed(request: SignedRequest, etag: Option<Box<str>>) -> v1::SignedRequest {
    v1::SignedRequest {
        method: request.method.to_owned(),
        url: request.url,
        headers: request.headers.into_iter().collect(),
        expires_in_ms: millis(request.valid),
        etag: etag.map(String::from).unwrap_or_default(),
    }
}

/// A lease or why there is none; the descriptor to read with goes beside the message, and its container into `sent`.
pub(crate) fn acquired(result: Result<Grant>, fds: &mut Vec<OwnedFd>, sent: &mut Vec<Container>) -> v1::AcquireResult {
    let result = match result {
        Ok(grant) => v1::acquire_result::Result::Lease(lease(grant, fds, sent)),
        Err(error) => v1::acquire_result::Result::Failure(status::to_failure(&error)),
    };
    v1::AcquireResult { result: Some(result) }
}

fn lease(grant: Grant, fds: &mut Vec<OwnedFd>, sent: &mut Vec<Container>) -> v1::Lease {
    let replica = grant.replica();
    let container = replica.location.container();
    let mut lease = v1::Lease {
        lease_id: grant.lease.to_string(),
        descriptor: Some(convert::descriptor(&grant.row, replica)),
        expires_in_ms: grant.expires_in.map(millis),
        content: None,
        fd: None,
        content_url: String::new(),
        from_bucket: None,
    };
    match grant.access {
        Access::Content(content) => lease.content = Some(content),
        Access::Descriptor(fd) => {
            lease.fd = Some(attach(fd, fds));
            sent.push(container);
        }
        Access::Url(read) => lease.from_bucket = Some(signed(read.request, read.etag)),
        Access::Known | Access::Elsewhere => {}
    }
    lease
}

fn attach(fd: OwnedFd, fds: &mut Vec<OwnedFd>) -> u32 {
    fds.push(fd);
    fds.len() as u32 - 1
}

pub(crate) fn holder(principal: &Principal, kind: HolderKind, peer: Peer) -> v1::Holder {
    let kind = match kind {
        HolderKind::Local => "local",
        HolderKind::Remote => "remote",
    };
    v1::Holder {
        principal: principal.to_string(),
        kind: kind.to_owned(),
        pid: peer.pid,
        command: peer.command,
    }
}

pub(crate) fn lease_info(view: LeaseView) -> v1::LeaseInfo {
    v1::LeaseInfo {
        lease_serial: view.serial,
        namespace: view.namespace.to_string(),
        payload_id: view.payload.to_string(),
        replica_id: view.replica.to_string(),
        holder: Some(holder(&view.principal, view.kind, view.peer)),
        age_ms: millis(view.age),
        expires_in_ms: view.expires_in.map(millis),
    }
}
