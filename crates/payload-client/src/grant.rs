//! From a granted lease on the wire to bytes in hand.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use payload_core::{Error, Instant, LeaseId, Reason, Result, Span};
use payload_proto::status::from_failure;
use payload_proto::v1;

use crate::cache::Place;
use crate::lease::{Bytes, Lease};
use crate::registry::{LeaseRecord, Standing};
use crate::session::{Owner, Session};

/// What came of one item of an acquire.
#[derive(Debug)]
pub(crate) enum Grant {
    /// The lease.
    Lease(Lease),
    /// The lease, without its bytes: they are to be fetched from there.
    Away(Lease, Source),
    /// There is nothing to read the bytes from: the server thinks that this client has the container's descriptor, which
    /// it has not any more, or the answer had no room for the content. The lease was given back, and the server will be
    /// told: ask again, for this one alone.
    Again,
}

/// From where bytes are fetched that a lease is on.
pub(crate) enum Source {
    /// From this address of the server's byte endpoint.
    Server(String),
    /// From the bucket.
    Bucket(v1::SignedRequest),
}

impl std::fmt::Debug for Source {
    /// Without what would let others read it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(url) => write!(f, "Server({url})"),
            Self::Bucket(_) => f.write_str("Bucket(…)"),
        }
    }
}

/// The circumstances of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) epoch: u64,
    pub(crate) ttl: Option<Span>,
}

/// Takes in what came of one item.
pub(crate) fn taken(
    session: &Session,
    owner: &Arc<Owner>,
    asked: Asked,
    result: v1::AcquireResult,
    fds: &mut [Option<OwnedFd>],
) -> Result<Grant> {
    match result.result {
        Some(v1::acquire_result::Result::Lease(lease)) => take(session, owner, asked, lease, fds),
        Some(v1::acquire_result::Result::Failure(failure)) => Err(from_failure(failure)),
        None => Err(nonsense("an empty result")),
    }
}

/// Takes a granted lease into this client's books. Whatever fails from here on gives the lease back.
pub(crate) fn take(
    session: &Session,
    owner: &Arc<Owner>,
    asked: Asked,
    lease: v1::Lease,
    fds: &mut [Option<OwnedFd>],
) -> Result<Grant> {
    let id: LeaseId = lease.lease_id.parse().map_err(|_| nonsense("a lease without an id"))?;
    let descriptor = lease
        .descriptor
        .ok_or_else(|| nonsense("a lease without a descriptor"))?;
    let standing = Standing::granted(id, asked.epoch, asked.at, lease.expires_in_ms);
    let fd = take_fd(fds, lease.fd)?;
    let away = match (&lease.content, lease.from_bucket) {
        (Some(_), _) => None,
        (None, Some(request)) => Some(Source::Bucket(request)),
        (None, None) => session.is_remote().then_some(Source::Server(lease.content_url)),
    };
    let bytes = match lease.content {
        Some(content) => Ok(Some(Bytes::Inline(content))),
        None if away.is_some() => Ok(Some(Bytes::default())),
        None => place(session, &descriptor, fd).map(|place| place.map(Bytes::Mapped)),
    };
    match bytes {
        Ok(Some(bytes)) if away.is_some() || bytes.as_slice().len() as u64 == descriptor.size => {
            let record = LeaseRecord::new(descriptor, asked.ttl, standing);
            session.registry.add_lease(&record);
            let granted = Lease::new(Arc::clone(owner), record, bytes);
            Ok(match away {
                Some(source) => Grant::Away(granted, source),
                None => Grant::Lease(granted),
            })
        }
        Ok(Some(_)) => {
            session.registry.release_later(id);
            Err(nonsense("content of another size than the payload's"))
        }
        Ok(None) => {
            session.registry.release_later(id);
            if let Some(location) = descriptor.location {
                session.cache.forget(&location.container_id);
            }
            Ok(Grant::Again)
        }
        Err(error) => {
            session.registry.release_later(id);
            Err(error)
        }
    }
}

/// Takes out the descriptor that an answer points to.
pub(crate) fn take_fd(fds: &mut [Option<OwnedFd>], index: Option<u32>) -> Result<Option<OwnedFd>> {
    let Some(index) = index else { return Ok(None) };
    let slot = usize::try_from(index).ok().and_then(|index| fds.get_mut(index));
    slot.and_then(Option::take)
        .map(Some)
        .ok_or_else(|| nonsense("a descriptor that is not there"))
}

/// A protocol error of the server's.
pub(crate) fn nonsense(what: &str) -> Error {
    Error::new(Reason::Internal, format!("the server sent {what}"))
}

fn place(session: &Session, descriptor: &v1::Descriptor, fd: Option<OwnedFd>) -> Result<Option<Place>> {
    let Some(location) = &descriptor.location else {
        return Err(nonsense("a lease with neither content nor location"));
    };
    session
        .cache
        .place(&location.container_id, fd, location.offset, descriptor.size)
}
