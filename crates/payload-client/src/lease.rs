//! A lease: the bytes of a payload, and the server's promise to keep them where they are.

use std::fs::File;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use payload_core::digest::Digest;
use payload_core::{Error, Reason, Result};
use payload_proto::v1;

use crate::cache::Place;
use crate::fetched::Fetched;
use crate::grant::Source;
use crate::registry::LeaseRecord;
use crate::release;
use crate::session::{Owner, connection_lost};

/// The bytes of a payload, for as long as they are wanted.
///
/// Dereferences to the whole content, which is right for as long as this value lives: even when the lease has ended, the
/// mapping keeps the bytes. Dropping it releases the lease in the background.
#[derive(Debug)]
pub struct Lease {
    owner: Arc<Owner>,
    record: Arc<LeaseRecord>,
    bytes: Bytes,
}

/// How a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// The server counts it.
    Live,
    /// Its term is over.
    Expired,
    /// Somebody else ended it.
    Revoked,
    /// The connection broke, and a server that could grant it again was not found in time.
    Lost,
}

/// What a comparison of the bytes with their digest has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// They have it.
    Matches,
    /// Nobody has computed it yet, so there is nothing to compare with.
    NoDigest,
}

/// Where a lease's bytes are.
#[derive(Debug)]
pub(crate) enum Bytes {
    Inline(bytes::Bytes),
    Mapped(Place),
    Fetched(Fetched),
}

impl Default for Bytes {
    /// None yet.
    fn default() -> Self {
        Self::Inline(bytes::Bytes::new())
    }
}

impl Bytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Mapped(place) => place.bytes(),
            Self::Fetched(fetched) => fetched.bytes(),
        }
    }
}

impl Lease {
    pub(crate) fn new(owner: Arc<Owner>, record: Arc<LeaseRecord>, bytes: Bytes) -> Self {
        Self { owner, record, bytes }
    }

    /// Brings the bytes that did not come with the grant.
    pub(crate) async fn fetched(mut self, source: &Source) -> Result<Self> {
        let (id, descriptor) = (self.record.standing().id, &self.record.descriptor);
        let fetched = match source {
            Source::Server(url) => {
                let transfers = self.owner.transfers().ok_or_else(connection_lost)?;
                transfers.fetch(url, id, descriptor.size, &descriptor.digest).await?
            }
            Source::Bucket(request) => {
                let bucket = self.owner.bucket()?;
                bucket.read(request, descriptor.size, &descriptor.digest).await?
            }
        };
        self.bytes = Bytes::Fetched(fetched);
        Ok(self)
    }

    /// What the server granted: which payload, which version, where.
    pub fn descriptor(&self) -> &v1::Descriptor {
        &self.record.descriptor
    }

    /// How the lease stands, as far as this process knows.
    pub fn state(&self) -> LeaseState {
        self.record.standing().state
    }

    /// Whether the server still keeps the bytes for this lease; the error says why not. The bytes in hand are right
    /// either way.
    pub fn check(&self) -> Result<()> {
        let (reason, why) = match self.state() {
            LeaseState::Live => return Ok(()),
            LeaseState::Expired => (Reason::LeaseExpired, "the lease has expired; acquire the payload again"),
            LeaseState::Revoked => (Reason::LeaseRevoked, "the lease was revoked"),
            LeaseState::Lost => (
                Reason::ConnectionLost,
                "the lease was lost with the connection; acquire the payload again",
            ),
        };
        Err(Error::new(reason, why))
    }

    /// The segment or file that the bytes are in, and where in it they begin. Absent if the content came inside the
    /// answer: acquire with an `inline_max` of zero to be sure of a descriptor. A client on another host gets that of its
    /// own copy.
    pub fn as_fd(&self) -> Option<(BorrowedFd<'_>, u64)> {
        match &self.bytes {
            Bytes::Inline(_) => None,
            Bytes::Mapped(place) => Some((place.fd(), place.offset())),
            Bytes::Fetched(fetched) => Some((fetched.fd(), 0)),
        }
    }

    /// The same as a file of its own, which outlives the lease; its bytes stay right, but the server may free them for
    /// everybody else. It shares its position with every other file of the same segment: read at offsets.
    pub fn to_file(&self) -> Result<Option<(File, u64)>> {
        let Some((fd, offset)) = self.as_fd() else {
            return Ok(None);
        };
        let fd = fd.try_clone_to_owned().map_err(|error| {
            Error::new(Reason::Internal, format!("cannot duplicate the descriptor: {error}")).source(error)
        })?;
        Ok(Some((fd.into(), offset)))
    }

    /// Reads all bytes and compares them with the payload's digest; fails with `BYTES_CORRUPT`.
    pub fn verify(&self) -> Result<Verified> {
        let digest = &self.record.descriptor.digest;
        if digest.is_empty() {
            return Ok(Verified::NoDigest);
        }
        if digest.parse::<Digest>()? == Digest::of(self) {
            return Ok(Verified::Matches);
        }
        Err(Error::new(
            Reason::BytesCorrupt,
            "the bytes do not have the digest they were committed with",
        ))
    }

    /// Ends the lease and waits until the server has noted it. A lease that has ended already is fine.
    pub async fn release(self) -> Result<()> {
        match self.owner.registry.take_lease(&self.record) {
            Some(id) => release::release(&self.owner, id).await,
            None => Ok(()),
        }
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(id) = self.owner.registry.take_lease(&self.record) {
            self.owner.registry.release_later(id);
        }
    }
}
