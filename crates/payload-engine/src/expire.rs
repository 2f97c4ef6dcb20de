//! Expiry: payloads whose time to live is over, and allocations that took too long.

use std::sync::Arc;

use payload_core::{LifecycleEvent, PayloadId, Reason, Result, Span, StateKind, Timestamp};

use crate::delete::Guards;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::transition::Cause;

/// How many payloads one look at the repository brings.
const BATCH: u32 = 256;
/// The wall clock may be set forward while the worker sleeps; it looks again after this long at the latest.
const NAP_MAX: Span = Span::from_secs(60);
/// What could not be ended is tried again after this long.
const RETRY: Span = Span::from_secs(1);

impl Engine {
    /// Ends everything whose deadline has passed, and returns how long the worker may sleep; `None`: until it is woken.
    pub fn expire_due(&self) -> Result<Option<Span>> {
        let mut stuck = false;
        loop {
            let due = self.repository().due(self.settings.node, self.wall(), BATCH)?;
            let mut ended = 0;
            for id in &due {
                // One that cannot be ended now must not hold up the others.
                match self.expire_one(*id) {
                    Ok(done) => ended += usize::from(done),
                    Err(error) => tracing::warn!(payload = %id, %error, "could not end what is due; trying again"),
                }
            }
            stuck |= ended < due.len();
            if due.len() < BATCH as usize || ended == 0 {
                break;
            }
        }
        let mut next = self.expiry.next.lock();
        *next = self.repository().next_deadline(self.settings.node)?;
        if stuck {
            return Ok(Some(RETRY));
        }
        let now = self.wall();
        Ok(next.map(|at| now.until(at).clamp(Span::from_millis(1), NAP_MAX)))
    }

    /// Wakes the expiry worker if a new deadline comes before what it sleeps until.
    pub(crate) fn note_deadline(&self, at: Timestamp) {
        let mut next = self.expiry.next.lock();
        if next.is_none_or(|next| at < next) {
            *next = Some(at);
            self.expiry.signal.raise();
        }
    }

    fn expire_one(&self, id: PayloadId) -> Result<bool> {
        let Some(entry) = self.table.get_or_load(id, self.repository())? else {
            return Ok(false);
        };
        match entry.row().state.kind() {
            StateKind::Allocated => {
                let cause = Cause::server("expiry").because("the allocation took too long".into());
                self.abort_if_open(&entry, LifecycleEvent::AllocationTimedOut, &cause);
                Ok(entry.row().state.kind() != StateKind::Allocated)
            }
            StateKind::Active => self.expire_payload(&entry),
            _ => Ok(false),
        }
    }

    fn expire_payload(&self, entry: &Arc<Entry>) -> Result<bool> {
        let gate = entry.gate();
        let row = entry.row();
        if payload_core::step(row.state, LifecycleEvent::Expire, self.wall()).is_err() {
            return Ok(false);
        }
        let cause = Cause::server("expiry");
        let ended = self.end(
            &gate,
            LifecycleEvent::Expire,
            Guards::BY_ITSELF,
            &cause,
            &row.owner,
            None,
        );
        match ended {
            Ok(_) => {}
            // An entry of a stream was quicker; the payload is not due any more.
            Err(error) if error.reason() == Reason::PayloadHeld => return Ok(true),
            // Another server was.
            Err(error) if error.reason() == Reason::Conflict && entry.row().state.kind() != StateKind::Active => {
                return Ok(true);
            }
            Err(error) => return Err(error),
        }
        self.metrics.expired();
        Ok(true)
    }
}
