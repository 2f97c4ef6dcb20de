//! Who holds what: the operators' view of leases, and how they end one.

use std::sync::Arc;

use payload_core::lease::HolderKind;
use payload_core::{Error, Namespace, PayloadId, Principal, Reason, ReplicaId, Result, Span};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::holder::Peer;

/// A lease as others may see it.
#[derive(Clone, Debug)]
pub struct LeaseView {
    /// Names the lease while the server runs.
    pub serial: u64,
    /// Of the payload.
    pub namespace: Namespace,
    /// On what.
    pub payload: PayloadId,
    /// On which copy.
    pub replica: ReplicaId,
    /// Whose.
    pub principal: Principal,
    /// Whether the holder's death can be seen.
    pub kind: HolderKind,
    /// The holder's process, if it is here.
    pub peer: Peer,
    /// Since when.
    pub age: Span,
    /// Until when, if that is known.
    pub expires_in: Option<Span>,
}

impl Engine {
    /// At most `limit` leases in the order of their serial numbers, after `after`; of one payload or of all.
    pub fn list_leases(&self, payload: Option<PayloadId>, after: u64, limit: usize) -> Vec<LeaseView> {
        let entries = match payload {
            Some(id) => self.table.get(id).into_iter().collect(),
            None => self.table.all(),
        };
        let mut views: Vec<LeaseView> = entries.iter().flat_map(|entry| self.views(entry, after)).collect();
        views.sort_unstable_by_key(|view| view.serial);
        views.truncate(limit);
        views
    }

    /// Ends somebody else's lease.
    pub fn revoke(&self, serial: u64, reason: &str) -> Result<()> {
        let message = if reason.is_empty() {
            "an operator revoked the lease"
        } else {
            reason
        };
        let holder = self
            .table
            .all()
            .into_iter()
            .find(|entry| entry.live().leases.contains_key(&serial));
        match holder {
            Some(entry) if self.end_lease_early(&entry, serial, Reason::LeaseRevoked, message) => Ok(()),
            _ => Err(Error::new(Reason::LeaseNotFound, format!("there is no lease {serial}")).field("lease_serial")),
        }
    }

    fn views(&self, entry: &Arc<Entry>, after: u64) -> Vec<LeaseView> {
        let now = self.now();
        let live = entry.live();
        live.leases
            .iter()
            .filter(|(serial, _)| **serial > after)
            .map(|(serial, record)| LeaseView {
                serial: *serial,
                namespace: live.row.namespace.clone(),
                payload: entry.id,
                replica: record.replica,
                principal: record.holder.principal.clone(),
                kind: record.holder.kind,
                peer: record.holder.peer.clone(),
                age: now.since(record.granted_at),
                expires_in: record.term.ends_at.map(|end| end.since(now)),
            })
            .collect()
    }
}
