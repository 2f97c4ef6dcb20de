//! Explain: why a payload's bytes are where they are, what keeps them there, and what happens to them next.

use std::collections::HashMap;
use std::sync::Arc;

use payload_core::log::LogQuery;
use payload_core::tiering::{Exit, Keep};
use payload_core::{
    Actor, Edit, EventKind, LogFilter, Namespace, Payload, PayloadRef, Replica, ReplicaId, Result, StateKind, Tier,
    Timestamp,
};

use crate::PerTier;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::leases::LeaseView;
use crate::promote::Wish;

/// How many leases are shown.
const LEASES_SHOWN: usize = 100;
/// How many events are read at a time to find out how replicas came about.
const EVENTS_PAGE: u32 = 1_000;
/// One that stands among so many in the order of eviction is said to be among the next to go.
const NEXT: usize = 16;

/// All that can be said about where a payload is.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The row.
    pub row: Arc<Payload>,
    /// Each replica, the fastest tier first.
    pub replicas: Vec<ReplicaView>,
    /// The first leases, the oldest first.
    pub leases: Vec<LeaseView>,
    /// How many leases there are.
    pub lease_count: usize,
    /// What happens next.
    pub plan: Plan,
}

/// Why a replica is there, and whether it may go.
#[derive(Clone, Debug)]
pub struct ReplicaView {
    /// The replica.
    pub replica: Replica,
    /// How it came here, as far as the history is kept.
    pub arrival: Option<Arrival>,
    /// How many leases hold it.
    pub leases: usize,
    /// Everything that keeps it, whatever the pressure; nothing if it may go.
    pub keeps: Vec<Keep>,
    /// How it would go.
    pub exit: Exit,
    /// Which part of the machine's memory it begins in, if there are several.
    pub memory_node: Option<u32>,
}

/// The event that added a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// What happened.
    pub kind: EventKind,
    /// Who did it.
    pub actor: Actor,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// When.
    pub at: Timestamp,
}

/// What is going to happen to a payload's replicas without anybody's asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is not active: its state says what happens.
    Unsettled,
    /// A copy is being made.
    Copying {
        /// From there.
        from: Tier,
        /// To here.
        to: Tier,
        /// Why.
        why: &'static str,
    },
    /// The replica in the tier goes when its last lease ends.
    LeavesWhenReleased(Tier),
    /// A replica is added above when there is time and room.
    Fetched(Wish),
    /// A replica is added in the tier when it is its turn, because it is to survive more than it does.
    WrittenBehind(Tier),
    /// The tier is above its high watermark, and the replica in it is chosen or among the next to go.
    Leaves(Tier),
    /// The replica in the tier goes when the tier is above its high watermark and its turn comes.
    MayLeave(Tier),
    /// Nothing, as long as it is left alone.
    Stays,
}

impl Engine {
    /// Explains one payload. Reads its events, to say how its replicas came about.
    pub fn explain(&self, namespace: &Namespace, payload: &PayloadRef) -> Result<Explanation> {
        let id = self.resolve(namespace, payload)?;
        let entry = self.entry(namespace, id)?;
        let mut arrivals = self.arrivals(&entry.row())?;
        let leases = self.list_leases(Some(id), 0, LEASES_SHOWN);
        let plan = self.plan(&entry);
        let live = entry.live();
        let mut view = |replica: &Replica| {
            let facts = self.facts(&entry, &live, replica);
            ReplicaView {
                replica: replica.clone(),
                arrival: arrivals.remove(&replica.id),
                leases: live.leases_on(replica.id),
                keeps: facts.keeps().collect(),
                exit: facts.exit(),
                memory_node: None,
            }
        };
        let mut replicas: Vec<ReplicaView> = live.row.replicas.iter().map(&mut view).collect();
        let (row, lease_count) = (Arc::clone(&live.row), live.leases.len());
        drop(live);
        replicas.sort_by_key(|view| view.replica.tier());
        for view in &mut replicas {
            view.memory_node = self.memory_node(&view.replica);
        }
        Ok(Explanation {
            row,
            replicas,
            leases,
            lease_count,
            plan,
        })
    }

    fn memory_node(&self, replica: &Replica) -> Option<u32> {
        let is_here = replica.node == self.settings.node;
        self.tier(replica.tier())
            .ok()
            .filter(|_| is_here)?
            .memory_node(&replica.location)
    }

    /// Which event added each replica that is still there.
    fn arrivals(&self, row: &Payload) -> Result<HashMap<ReplicaId, Arrival>> {
        let mut arrivals = HashMap::new();
        let mut query = LogQuery {
            filter: LogFilter::payload(row.namespace.clone(), row.id),
            after: None,
            limit: EVENTS_PAGE,
        };
        loop {
            let page = self.repository().log(&query)?;
            let tells = |kind| !matches!(kind, EventKind::Pinned | EventKind::Unpinned);
            for event in page.events.into_iter().filter(|event| tells(event.record.kind)) {
                let added = event.delta.0.iter().filter_map(|edit| match edit {
                    Edit::Replica(replica) => Some(replica.id),
                    _ => None,
                });
                for replica in added {
                    arrivals.entry(replica).or_insert_with(|| Arrival {
                        kind: event.record.kind,
                        actor: event.record.actor.clone(),
                        reason: event.record.reason.clone(),
                        at: event.record.at,
                    });
                }
            }
            if !page.more {
                return Ok(arrivals);
            }
            query.after = Some(page.through);
        }
    }

    fn plan(&self, entry: &Arc<Entry>) -> Plan {
        let running = self.transfers.running(self.now());
        if let Some(copy) = running.into_iter().find(|copy| copy.payload == entry.id) {
            return Plan::Copying {
                from: copy.from,
                to: copy.to,
                why: copy.why,
            };
        }
        let is_next = |tier| self.is_among_the_next(tier, entry);
        let next = PerTier::<()>::TIERS.map(is_next);
        let live = entry.live();
        if live.row.state.kind() != StateKind::Active || live.closing {
            return Plan::Unsettled;
        }
        if let Some(replica) = live.draining().next() {
            return Plan::LeavesWhenReleased(replica.tier());
        }
        if let Some(wish) = live.wished {
            return Plan::Fetched(wish);
        }
        if let Some(soon) = live.row.owes() {
            return Plan::WrittenBehind(soon.tier());
        }
        let may_go = |tier: Tier| {
            let replica = live.replica_in(tier);
            replica.is_some_and(|replica| self.facts(entry, &live, replica).may_go())
        };
        let mut candidates = PerTier::<()>::TIERS
            .into_iter()
            .zip(next)
            .filter(|(tier, _)| may_go(*tier));
        match candidates.next() {
            Some((tier, true)) => Plan::Leaves(tier),
            Some((tier, false)) => Plan::MayLeave(tier),
            None => Plan::Stays,
        }
    }

    /// Whether the replica in a tier goes now, or as soon as a few others have gone.
    fn is_among_the_next(&self, tier: Tier, entry: &Arc<Entry>) -> bool {
        let is_short = self.tier(tier).is_ok_and(|store| self.missing_room(store) > 0);
        let mut next = self.next_victims(tier, NEXT).into_iter();
        is_short && (self.evictor(tier).chosen().contains(&entry.id) || next.any(|victim| victim.id == entry.id))
    }
}
