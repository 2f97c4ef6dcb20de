//! Access: the way to the bytes of a leased replica, by what its tier and its holder can do.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use payload_core::lease::HolderKind;
use payload_core::port::SignedRead;
use payload_core::{Digest, Error, Payload, Reason, Replica, Result, Span, Tier, limits};

use crate::acquire::{AcquireOptions, Grant};
use crate::engine::Engine;
use crate::holder::Holder;

/// How to get at a leased payload's bytes.
#[derive(Debug)]
pub enum Access {
    /// Here they are.
    Content(Bytes),
    /// In a container whose descriptor the client has already.
    Known,
    /// In a container with this descriptor. Call [`Holder::remember`] once the client has been sent it.
    Descriptor(OwnedFd),
    /// In a place that cannot be reached from where the holder is.
    Elsewhere,
    /// In an object that this request reads.
    Url(SignedRead),
}

impl Engine {
    /// The way to a leased replica's bytes.
    pub(crate) fn access(&self, holder: &Holder, grant: &Grant, options: AcquireOptions) -> Result<Access> {
        let (row, replica) = (&grant.row, grant.replica());
        let store = self.tier(replica.tier())?;
        if row.size <= inline_max(options) {
            let mut content = Vec::with_capacity(row.size as usize);
            store.read(&replica.location, row.size, &mut content)?;
            if row.digest.is_some_and(|digest| digest != Digest::of(&content)) {
                return Err(Error::new(
                    Reason::BytesCorrupt,
                    "the bytes do not have the digest they were committed with",
                ));
            }
            return Ok(Access::Content(content.into()));
        }
        if !replica.tier().is_local() {
            let valid = grant.expires_in.unwrap_or(Span::MAX);
            return store.sign_read(&replica.location, row.size, valid).map(Access::Url);
        }
        if holder.kind == HolderKind::Remote {
            return Ok(Access::Elsewhere);
        }
        if knows(holder, replica, options) {
            return Ok(Access::Known);
        }
        store.open(&replica.location).map(Access::Descriptor)
    }
}

fn inline_max(options: AcquireOptions) -> u64 {
    options.inline_max.min(limits::INLINE_SIZE_MAX)
}

/// Whether the holder can do without the descriptor of the replica's container.
fn knows(holder: &Holder, replica: &Replica, options: AcquireOptions) -> bool {
    !options.resend_descriptor && holder.held().known.contains(&replica.location.container())
}

/// Whether the way to the bytes needs no I/O.
pub(crate) fn is_quick(holder: &Holder, row: &Payload, replica: &Replica, options: AcquireOptions) -> bool {
    let inline = row.size <= inline_max(options);
    let local = replica.tier().is_local();
    replica.tier() == Tier::Ram
        || (local && !inline && (holder.kind == HolderKind::Remote || knows(holder, replica, options)))
}
