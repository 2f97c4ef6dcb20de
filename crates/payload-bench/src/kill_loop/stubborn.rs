//! A client that does not give up: when the server dies, it asks the next one the same thing under the same request id.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use payload_client::v1;
use payload_client::{Catalog, ClientOptions, DeleteOptions, Endpoint, Error, ErrorKind, Outcome, PayloadId, Reason};
use payload_core::{Span, limits};
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;
use tokio::runtime::Runtime;

use super::journal::{Attempt, How};
use crate::content::Content;
use crate::crew::runtime;
use crate::link::{Link, Trouble};
use crate::server::read_addresses;
use crate::wait;

/// How long a call may go on over all restarts.
const PATIENCE: Span = Span::from_secs(60);

pub(super) struct Stubborn {
    endpoint: PathBuf,
    link: Option<Link>,
    catalog: Catalog,
    runtime: Runtime,
}

/// What a read has shown.
#[derive(Debug)]
pub(super) enum Seen {
    Right,
    /// The payload cannot be leased, for this reason.
    Refused(Error),
    Wrong(String),
}

impl Stubborn {
    pub(super) fn new(endpoint: &Path) -> Result<Self> {
        Ok(Self {
            endpoint: endpoint.to_owned(),
            link: None,
            catalog: Catalog::new(Endpoint::file(endpoint), &ClientOptions::default()),
            runtime: runtime()?,
        })
    }

    /// Commits what an attempt describes; a second time it gets the first answer. The inner error is the server's.
    pub(super) fn commit(&mut self, attempt: &Attempt) -> Result<Result<String, Error>> {
        let content = attempt.content;
        let request = match &attempt.how {
            How::Put => Request::Put(v1::PutRequest {
                request_id: attempt.request_id.clone(),
                content: content.bytes().into(),
                tier: attempt.place.tier(),
                durability: attempt.place.durability(),
                digest: content.digest().to_string(),
                ..v1::PutRequest::default()
            }),
            How::Commit { payload, token } => Request::Commit(v1::CommitRequest {
                request_id: attempt.request_id.clone(),
                payload_id: payload.clone(),
                allocation_token: token.clone(),
                size: Some(content.size),
                digest: content.digest().to_string(),
                ..v1::CommitRequest::default()
            }),
        };
        let answer = self.ask(|link| link.call(request.clone()))?;
        Ok(answer.and_then(|answer| match answer {
            Response::Put(v1::PutResponse {
                payload: Some(payload), ..
            })
            | Response::Commit(v1::CommitResponse {
                payload: Some(payload), ..
            }) => Ok(payload.payload_id),
            other => Err(Error::new(Reason::Internal, format!("the server answered {other:?}"))),
        }))
    }

    /// Reserves room, and fills it. `None` if the server died when it had reserved the room and not answered yet: the next
    /// one knows the request, and that the room is gone.
    pub(super) fn allocate(
        &mut self,
        request: &v1::AllocateRequest,
        content: Content,
    ) -> Result<Option<v1::AllocateResponse>> {
        let (allocation, room) = self.ask(|link| link.allocate(request.clone()))??;
        match room {
            Some((fd, offset)) => write_all(&fd, &content.bytes(), offset)?,
            None if content.size > 0 => return Ok(None),
            None => {}
        }
        Ok(Some(allocation))
    }

    /// Deletes, or finds out that it has been done.
    pub(super) fn delete(&mut self, payload: &str) -> Result<()> {
        let id: PayloadId = payload.parse()?;
        wait::until("a deletion to be answered", PATIENCE, || {
            let deleted = self.runtime.block_on(self.catalog.delete(id, DeleteOptions::default()));
            match deleted {
                Ok(_) => Ok(Some(())),
                Err(error) if is_gone(&error) => Ok(Some(())),
                Err(error) if is_passing(&error) => Ok(None),
                Err(error) => Err(anyhow!(error).context("a deletion was refused")),
            }
        })
    }

    /// Reads a payload and compares it with what was committed.
    pub(super) fn verify(&mut self, payload: &str, content: Content, inline_max: u32) -> Result<Seen> {
        let read = self.ask(|link| read(link, payload, content, inline_max))?;
        Ok(match read {
            Ok(bytes) if bytes == content.bytes() => Seen::Right,
            Ok(bytes) => Seen::Wrong(format!(
                "{payload} has {} other bytes than the {} committed",
                bytes.len(),
                content.size
            )),
            Err(error) => Seen::Refused(error),
        })
    }

    /// Asks until there is an answer that asking again would not change.
    fn ask<T>(&mut self, mut question: impl FnMut(&mut Link) -> Result<T, Trouble>) -> Result<Result<T, Error>> {
        wait::until("an answer", PATIENCE, || {
            let Some(link) = self.connected() else { return Ok(None) };
            match question(link) {
                Ok(answer) => Ok(Some(Ok(answer))),
                Err(Trouble::Refused(error)) if is_passing(&error) => Ok(None),
                Err(Trouble::Refused(error)) => Ok(Some(Err(error))),
                Err(Trouble::Broken) => {
                    self.link = None;
                    Ok(None)
                }
            }
        })
    }

    fn connected(&mut self) -> Option<&mut Link> {
        if self.link.is_none() {
            let socket = read_addresses(&self.endpoint).ok()?.socket;
            self.link = Some(Link::connect(&socket).ok()?);
        }
        self.link.as_mut()
    }
}

/// Leases, copies the bytes, and releases.
fn read(link: &mut Link, payload: &str, content: Content, inline_max: u32) -> Result<Vec<u8>, Trouble> {
    let lease = link.acquire(payload, inline_max)?;
    let location = lease.descriptor.and_then(|descriptor| descriptor.location);
    let bytes = match (lease.content, lease.fd, location) {
        (Some(bytes), ..) => bytes.to_vec(),
        (None, Some(_), Some(location)) => {
            let fd = link.take_fd().map_err(|_| Trouble::Broken)?;
            let bytes = read_at(&fd, location.offset, content.size).unwrap_or_default();
            // Else the next lease there would come without a descriptor.
            link.call(Request::Forget(v1::ForgetRequest {
                container_ids: vec![location.container_id],
            }))?;
            bytes
        }
        _ => Vec::new(),
    };
    match link.release(lease.lease_id) {
        Ok(()) => Ok(bytes),
        // A deletion by force may have ended it; the bytes were read all the same.
        Err(Trouble::Refused(_)) => Ok(bytes),
        Err(Trouble::Broken) => Err(Trouble::Broken),
    }
}

fn read_at(fd: &OwnedFd, offset: u64, size: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size)?];
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pread(fd, &mut bytes[done..], offset + done as u64)? {
            0 => bail!("the container ends too early"),
            count => done += count,
        }
    }
    Ok(bytes)
}

/// Writes an allocation's bytes.
fn write_all(fd: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::pwrite(fd, bytes, offset).context("cannot write to the allocation")?;
        bytes = &bytes[count..];
        offset += count as u64;
    }
    Ok(())
}

/// Whether a payload is not there any more because somebody deleted it.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error.reason(), Reason::PayloadDeleted | Reason::PayloadNotFound)
}

fn is_passing(error: &Error) -> bool {
    error.outcome() == Outcome::Unknown
        || error.kind() == ErrorKind::Unavailable
        || error.retry_delay().is_some()
        // The session that made the allocation has died, and the server has not noticed yet.
        || error.reason() == Reason::AllocationNotOwned
}

/// The largest content that travels inside a message.
pub(super) const INLINE_MAX: u64 = limits::INLINE_SIZE_MAX;
