//! Filling: what a producer is handed to fill an allocation with, by what its tier and the producer can do.

use std::os::fd::OwnedFd;

use payload_core::lease::HolderKind;
use payload_core::port::SignedRequest;
use payload_core::{Payload, Result, Span};

use crate::engine::Engine;
use crate::holder::Holder;

/// What an allocation is filled with.
#[derive(Debug)]
pub enum Filling {
    /// Nothing that comes with it: it is empty, its holder cannot be passed a descriptor, or has one of the container already.
    Nothing,
    /// A descriptor of its container.
    Descriptor(OwnedFd),
    /// A request that stores all of its bytes, and nothing over anything.
    Url(SignedRequest),
}

impl Engine {
    /// What a holder needs to fill an allocation with, besides what it has. A request lasts no longer than the allocation.
    pub(crate) fn filling(&self, holder: &Holder, row: &Payload) -> Result<Filling> {
        let location = row.replicas[0].location;
        let store = self.tier(location.tier())?;
        if row.size == 0 {
            return Ok(Filling::Nothing);
        }
        if !location.tier().is_local() {
            let valid = row
                .state
                .deadline()
                .map_or(Span::ZERO, |until| self.wall().until(until));
            return store.sign_write(&location, row.size, valid).map(Filling::Url);
        }
        if holder.kind == HolderKind::Remote || holder.held().known.contains(&location.container()) {
            return Ok(Filling::Nothing);
        }
        store.writer(&location).map(Filling::Descriptor)
    }
}
