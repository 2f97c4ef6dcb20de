//! What is kept for a time only: the parts of the history, and what is left of events when they go.

use crate::delta::{self, Delta};
use crate::id::PayloadId;
use crate::name::Namespace;
use crate::payload::{Payload, Version};

/// A part of the history that is removed when its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// The oldest events of a namespace's log, up to the first that is not old enough.
    Events(Namespace),
    /// Revisions of metadata, counted from when a later one took their place.
    Metadata,
    /// Moves of names, counted from when a later one took their place or the name was taken away.
    Names,
    /// Payloads that have ended, with all that hangs on them: labels, metadata, names, what they were made from. One that
    /// something was made from stays until that is gone.
    Tombstones,
}

/// What one look at a part of the history has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many of them are gone.
    pub count: u32,
    /// Payloads that are no more, in order of their ids.
    pub payloads: Vec<PayloadId>,
    /// Whether there may be more that is due.
    pub more: bool,
}

/// What the events of a payload add up to that are about to be removed, after those that were removed before. One that
/// does not follow ends it: then whoever verifies the rest finds the gap.
pub fn base<'a>(
    before: Option<Payload>,
    id: PayloadId,
    events: impl IntoIterator<Item = (Version, &'a Delta)>,
) -> Option<Payload> {
    let mut row = before;
    for (version, delta) in events {
        if delta::apply(&mut row, id, version, delta).is_err() {
            break;
        }
    }
    row
}

/// A row as one delta from nothing, which is how a base is kept.
pub fn snapshot(row: &Payload) -> Delta {
    delta::delta(None, row)
}

/// The row in a snapshot; `None` if it is none.
pub fn restore(id: PayloadId, version: Version, snapshot: &Delta) -> Option<Payload> {
    let row = base(None, id, [(Version::FIRST, snapshot)])?;
    Some(Payload { version, ..row })
}
