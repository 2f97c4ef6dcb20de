//! What is kept for a time only, and how it goes.

use crate::error::Result;
use crate::id::PayloadId;
use crate::name::Namespace;
use crate::payload::Payload;
use crate::retention::{History, Removed};
use crate::time::Timestamp;

/// The ageing of the history; a part of every [`Repository`](super::Repository).
pub trait Retention: Send + Sync {
    /// At most `limit` namespaces whose logs hold events, in order, after `after`. Logs outlive their namespaces.
    fn logs(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>>;

    /// What the events of a payload add up to that were removed; absent while it has them all.
    fn event_base(&self, id: PayloadId) -> Result<Option<Payload>>;

    /// Removes what was over before `before`, in one transaction that looks at `limit` rows at most, the oldest first.
    ///
    /// A log loses its oldest events only, and remembers what they add up to for each payload that is there. The latest
    /// revision of metadata and the move that a name points by are never over. A payload that is removed leaves nothing but
    /// its events; one that something was made from, or that still has replicas, is left out until the last payload made from
    /// it is gone.
    fn remove_history(&self, what: &History, before: Timestamp, limit: u32) -> Result<Removed>;
}
