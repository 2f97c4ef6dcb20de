//! An allocation being filled, in place or front to back, until it is committed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use payload_core::digest::{Digest, Hasher};
use payload_core::{Error, PayloadId, Reason, Result, Span};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;
use rustix::io::Errno;

use crate::backoff::Backoff;
use crate::fetched::memory;
use crate::grant::nonsense;
use crate::intake::{Answer, Expect};
use crate::mapping::WritableMapping;
use crate::names::wire_naming;
use crate::options::{CommitOptions, DigestChoice};
use crate::ranges::range;
use crate::registry::AllocationRecord;
use crate::session::{Owner, Retry, connection_lost};
use crate::stages::StagedRoom;

/// How long descriptors may be open that this writer has closed.
const STRAY_DESCRIPTOR_MAX: Span = Span::from_millis(100);

/// Room for a payload. Nobody sees it before [`commit`](Self::commit); dropping it without one gives it up.
///
/// Writing copies into memory or the page cache and blocks for as long as that takes.
#[derive(Debug)]
pub struct Writer {
    owner: Arc<Owner>,
    record: Arc<AllocationRecord>,
    /// What was asked for; the same again gets what was granted again.
    asked: v1::AllocateRequest,
    payload_id: PayloadId,
    size: u64,
    /// Absent for an allocation of no bytes, and once a commit has begun.
    room: Option<Room>,
    mapping: Option<WritableMapping>,
    /// How many bytes were written front to back.
    position: u64,
    /// Of those, as long as nothing else was written.
    hasher: Option<Hasher>,
}

/// Where the bytes go until the commit.
#[derive(Debug)]
enum Room {
    /// Into a segment or file of their own, where they stay.
    Own(OwnedFd),
    /// Into a part of the session's stage, from which the commit copies them.
    Staged(StagedRoom),
    /// Into memory of this process, from which the commit sends them to where the allocation is.
    Away(OwnedFd, Target),
}

/// Where bytes are sent to that were put together here.
enum Target {
    /// To this address of the server's byte endpoint.
    Server(String),
    /// To the bucket.
    Bucket(v1::SignedRequest),
}

impl std::fmt::Debug for Target {
    /// Without what would let others store there.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(url) => write!(f, "Server({url})"),
            Self::Bucket(_) => f.write_str("Bucket(…)"),
        }
    }
}

impl Writer {
    pub(crate) fn new(
        owner: Arc<Owner>,
        record: Arc<AllocationRecord>,
        size: u64,
        granted: v1::AllocateResponse,
        fd: Option<OwnedFd>,
    ) -> Result<Self> {
        let payload_id = record
            .payload_id
            .parse()
            .map_err(|_| nonsense("an allocation without an id"))?;
        let (room, mapping) = match take_room(&owner, size, granted, fd) {
            Ok(room) => room,
            Err(error) => {
                owner.registry.abort_later(&record);
                return Err(error);
            }
        };
        Ok(Self {
            owner,
            record,
            asked: v1::AllocateRequest::default(),
            payload_id,
            size,
            room,
            mapping,
            position: 0,
            hasher: Some(Hasher::new()),
        })
    }

    /// Notes what it was asked for with.
    pub(crate) fn asked_with(mut self, request: v1::AllocateRequest) -> Self {
        self.asked = request;
        self
    }

    /// The payload's name, which it keeps.
    pub fn payload_id(&self) -> PayloadId {
        self.payload_id
    }

    /// How many bytes there is room for.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes were written front to back.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The segment or file itself, and where in it the room begins, for whoever writes by other means. It must be closed
    /// and unmapped everywhere before the commit, and nothing outside of the room may be touched.
    pub fn as_fd(&mut self) -> Option<(BorrowedFd<'_>, u64)> {
        self.hasher = None;
        self.room.as_ref().map(|room| match room {
            Room::Own(fd) | Room::Away(fd, _) => (fd.as_fd(), 0),
            Room::Staged(staged) => staged.as_fd(),
        })
    }

    /// All of the room, mapped: bytes are written where they will stay.
    pub fn as_mut_slice(&mut self) -> Result<&mut [u8]> {
        self.hasher = None;
        Ok(self.map()?.map_or(&mut [], WritableMapping::as_mut_slice))
    }

    /// Writes the next bytes, behind those of the last call.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.put_at(self.position, bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Writes bytes at a place of the caller's choice.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.hasher = None;
        self.put_at(offset, bytes)
    }

    /// Makes the bytes immutable and visible, and returns when they are as durable as was asked. If it fails, the
    /// allocation is given up.
    pub async fn commit(mut self, options: CommitOptions) -> Result<v1::Payload> {
        let size = options.size.unwrap_or(self.size);
        if size > self.size {
            return Err(
                Error::invalid(Reason::BadSize, format!("only {} bytes were allocated", self.size)).field("size"),
            );
        }
        let digest = self.digest(size, options.digest)?;
        // The server refuses to seal what somebody could still write to.
        self.mapping = None;
        match self.room.take() {
            Some(Room::Away(fd, Target::Server(url))) => {
                let transfers = self.owner.transfers().ok_or_else(connection_lost)?;
                let token = &self.record.token;
                transfers.upload(&url, token, fd.as_fd(), size, digest).await?;
            }
            Some(Room::Away(fd, Target::Bucket(request))) => self.store(&request, fd.as_fd(), size).await?,
            Some(Room::Own(_) | Room::Staged(_)) | None => {}
        }
        let request = Request::Commit(v1::CommitRequest {
            namespace: self.owner.namespace(),
            request_id: self.owner.request_ids.next(),
            payload_id: self.record.payload_id.clone(),
            allocation_token: self.record.token.clone(),
            size: Some(size),
            digest: digest.map(|digest| digest.to_string()).unwrap_or_default(),
            lineage: options.lineage,
            naming: options.naming.as_ref().map(wire_naming),
            publish: options.publish,
            metadata: options.metadata,
        });
        match self.seal(request).await? {
            Answer::Message(Response::Commit(v1::CommitResponse {
                payload: Some(payload), ..
            })) => {
                self.owner.registry.remove_allocation(&self.record);
                Ok(payload)
            }
            _ => Err(nonsense("a commit without a payload")),
        }
    }

    /// Gives the allocation up and waits until the server has noted it. The reason is kept in the payload's history.
    pub async fn abort(self, reason: &str) -> Result<()> {
        self.owner.registry.remove_allocation(&self.record);
        let request = Request::Abort(v1::AbortRequest {
            namespace: self.owner.namespace(),
            payload_id: self.record.payload_id.clone(),
            allocation_token: self.record.token.clone(),
            reason: reason.to_owned(),
        });
        self.owner.call(request, Expect::Message, Retry::Never).await.map(drop)
    }

    /// Stores the bytes in the bucket. A request that has expired while they were put together is replaced once.
    async fn store(&self, request: &v1::SignedRequest, from: BorrowedFd<'_>, size: u64) -> Result<()> {
        let bucket = self.owner.bucket()?;
        match bucket.store(request, from, size).await {
            Err(error) if error.reason() == Reason::ObjectStoreDenied => {}
            result => return result,
        }
        let again = Request::Allocate(self.asked.clone());
        match self.owner.call(again, Expect::Message, Retry::Safe).await? {
            Answer::Message(Response::Allocate(v1::AllocateResponse {
                to_bucket: Some(request),
                ..
            })) => bucket.store(&request, from, size).await,
            _ => Err(nonsense("an allocation in the bucket without a way there")),
        }
    }

    /// Asks for the commit. While another thread of this process starts a program, the child has a copy of every
    /// descriptor until its exec, so for a moment the bytes may seem to be open for writing still.
    async fn seal(&self, request: Request) -> Result<Answer> {
        let mut backoff = Backoff::new(STRAY_DESCRIPTOR_MAX);
        loop {
            match self.owner.call(request.clone(), Expect::Message, Retry::Safe).await {
                Err(error) if error.reason() == Reason::WriterMapped && backoff.pause().await => {}
                answer => return answer,
            }
        }
    }

    fn digest(&mut self, size: u64, choice: DigestChoice) -> Result<Option<Digest>> {
        let known = self
            .hasher
            .as_ref()
            .filter(|_| self.position == size)
            .map(Hasher::digest);
        match choice {
            DigestChoice::Skip => Ok(None),
            DigestChoice::Given(digest) => Ok(Some(digest)),
            DigestChoice::IfKnown => Ok(known),
            DigestChoice::Compute if known.is_some() => Ok(known),
            DigestChoice::Compute => {
                let content = range(0, size)?;
                let bytes = self.map()?.map_or(&[][..], |mapping| mapping.as_slice());
                Ok(bytes.get(content).map(Digest::of))
            }
        }
    }

    fn put_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let place = range(offset, bytes.len() as u64)?;
        if place.end as u64 > self.size {
            return Err(
                Error::invalid(Reason::BadSize, format!("only {} bytes were allocated", self.size)).field("size"),
            );
        }
        if self.mapping.is_none() && pwrite_all(self.own(), bytes, offset)? {
            return Ok(());
        }
        if let Some(mapping) = self.map()? {
            mapping.as_mut_slice()[place].copy_from_slice(bytes);
        }
        Ok(())
    }

    /// The mapping of all the room; there is none of no bytes.
    fn map(&mut self) -> Result<Option<&mut WritableMapping>> {
        if self.mapping.is_none() && self.size > 0 {
            let len = range(0, self.size)?.end;
            let fd = self
                .own()
                .ok_or_else(|| nonsense("an allocation without a descriptor"))?;
            self.mapping = Some(WritableMapping::new(fd, len).map_err(failed)?);
        }
        Ok(self.mapping.as_mut())
    }
}

impl Writer {
    fn own(&self) -> Option<&OwnedFd> {
        match &self.room {
            Some(Room::Own(fd) | Room::Away(fd, _)) => Some(fd),
            Some(Room::Staged(_)) | None => None,
        }
    }
}

/// Room as the server granted it. A stage is mapped already.
fn take_room(
    owner: &Owner,
    size: u64,
    granted: v1::AllocateResponse,
    fd: Option<OwnedFd>,
) -> Result<(Option<Room>, Option<WritableMapping>)> {
    if size == 0 {
        return Ok((None, None));
    }
    if let Some(request) = granted.to_bucket {
        return Ok((Some(Room::Away(memory(size)?, Target::Bucket(request))), None));
    }
    if owner.is_remote() {
        return Ok((
            Some(Room::Away(memory(size)?, Target::Server(granted.content_url))),
            None,
        ));
    }
    if let Some(location) = granted.location.filter(|location| location.shared) {
        let staged = owner.stages.room(&location, fd, size);
        if staged.is_err() {
            // The server must not go on believing that this client has the stage.
            owner.cache.forget(&location.container_id);
        }
        return staged.map(|(room, mapping)| (Some(Room::Staged(room)), Some(mapping)));
    }
    let fd = fd.ok_or_else(|| nonsense("an allocation without a descriptor"))?;
    Ok((Some(Room::Own(fd)), None))
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.mapping = None;
        self.room = None;
        self.owner.registry.abort_later(&self.record);
    }
}

/// Writes through the descriptor; false if this kind of memory can only be written through a mapping (huge pages).
fn pwrite_all(fd: Option<&OwnedFd>, mut bytes: &[u8], mut offset: u64) -> Result<bool> {
    let Some(fd) = fd else { return Ok(bytes.is_empty()) };
    while !bytes.is_empty() {
        match rustix::io::pwrite(fd, bytes, offset) {
            Ok(0) => return Err(failed(std::io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(Errno::INVAL) => return Ok(false),
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(true)
}

fn failed(error: std::io::Error) -> Error {
    Error::new(Reason::Internal, format!("cannot write to the allocation: {error}")).source(error)
}
