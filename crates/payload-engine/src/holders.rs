//! Who holds how much: leases and open allocations, summed up by the process or principal that has them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use payload_core::lease::HolderKind;
use payload_core::{Principal, Span};

use crate::engine::Engine;
use crate::holder::{Holder, Peer};

/// Somebody who holds something, and how much.
#[derive(Clone, Debug)]
pub struct HolderView {
    /// Whose.
    pub principal: Principal,
    /// Whether its death can be seen.
    pub kind: HolderKind,
    /// The process behind it, if it is here.
    pub peer: Peer,
    /// How many leases.
    pub leases: usize,
    /// On how many payloads.
    pub payloads: usize,
    /// What those amount to.
    pub bytes: u64,
    /// How many allocations it has not committed yet.
    pub allocations: usize,
    /// How long it has had the oldest lease; nothing if it has none.
    pub oldest: Option<Span>,
}

impl Engine {
    /// Everybody who holds something, those first who hold most.
    pub fn holders(&self) -> Vec<HolderView> {
        let now = self.now();
        let mut views: HashMap<*const Holder, HolderView> = HashMap::new();
        for entry in self.table.all() {
            let live = entry.live();
            let mut seen = HashSet::new();
            for record in live.leases.values() {
                let view = view_of(&mut views, &record.holder);
                view.leases += 1;
                view.oldest = view.oldest.max(Some(now.since(record.granted_at)));
                if seen.insert(Arc::as_ptr(&record.holder)) {
                    view.payloads += 1;
                    view.bytes += live.row.size;
                }
            }
            if let Some(owner) = &live.owner {
                view_of(&mut views, owner).allocations += 1;
            }
        }
        let mut views: Vec<HolderView> = views.into_values().collect();
        views.sort_unstable_by(|a, b| (b.bytes, b.leases, a.peer.pid).cmp(&(a.bytes, a.leases, b.peer.pid)));
        views
    }
}

fn view_of<'a>(views: &'a mut HashMap<*const Holder, HolderView>, holder: &Arc<Holder>) -> &'a mut HolderView {
    views.entry(Arc::as_ptr(holder)).or_insert_with(|| HolderView {
        principal: holder.principal.clone(),
        kind: holder.kind,
        peer: holder.peer.clone(),
        leases: 0,
        payloads: 0,
        bytes: 0,
        allocations: 0,
        oldest: None,
    })
}
