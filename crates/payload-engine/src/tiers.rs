//! How full each tier is, and what goes next: the operators' view of pressure.

use std::sync::Arc;

use payload_core::tiering::{Exit, Watermarks};
use payload_core::{Namespace, PayloadId, Result, StateKind, Tier};

use crate::engine::Engine;
use crate::entry::Entry;
use crate::room::Room;
use crate::stats::TierStats;

/// How many of those that go next are shown.
const NEXT_SHOWN: usize = 5;

/// A tier as an operator sees it.
#[derive(Clone, Debug)]
pub struct TierView {
    /// What it holds.
    pub stats: TierStats,
    /// The part of what replicas are charged for that is allocated and not committed yet.
    pub reserved: u64,
    /// How room is made in it; absent where nothing is given up to make room.
    pub pressure: Option<Pressure>,
}

/// How a tier makes room.
#[derive(Clone, Debug)]
pub struct Pressure {
    /// Between which shares of the capacity.
    pub watermarks: Watermarks,
    /// How many bytes have to go now.
    pub excess: u64,
    /// How many replicas may go when it is their turn.
    pub candidates: usize,
    /// What those take up.
    pub candidate_bytes: u64,
    /// Requests that wait for room.
    pub waiting: usize,
    /// And how much they wait for.
    pub waiting_bytes: u64,
    /// Some of those that go first, if nobody uses them until then.
    pub next: Vec<Candidate>,
}

/// A replica that may go soon.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Whose.
    pub namespace: Namespace,
    /// Of what.
    pub payload: PayloadId,
    /// What it takes up.
    pub charged: u64,
    /// How it would go.
    pub exit: Exit,
}

impl Engine {
    /// Every tier of this node.
    pub fn tiers(&self) -> Result<Vec<TierView>> {
        let view = |stats: TierStats| {
            Ok(TierView {
                reserved: self.reserved(stats.tier),
                pressure: match stats.tier {
                    Tier::Ram => Some(self.pressure(stats.tier)?),
                    // Nothing leaves it unless there is a bucket to go to.
                    Tier::Disk if self.tier(Tier::Object).is_ok() => Some(self.pressure(stats.tier)?),
                    Tier::Disk | Tier::Object => None,
                },
                stats,
            })
        };
        self.stats()?.tiers.into_iter().map(view).collect()
    }

    fn pressure(&self, tier: Tier) -> Result<Pressure> {
        let (candidates, candidate_bytes) = self.evictor(tier).candidates();
        let next = self.next_victims(tier, NEXT_SHOWN);
        let (room, watermarks) = (self.rooms.get(tier), self.settings.watermarks.get(tier));
        Ok(Pressure {
            watermarks: watermarks.copied().unwrap_or_default(),
            excess: self.missing_room(self.tier(tier)?),
            candidates,
            candidate_bytes,
            waiting: room.map_or(0, Room::len),
            waiting_bytes: room.map_or(0, |room| room.waiting().0),
            next: next.iter().filter_map(|entry| self.candidate(tier, entry)).collect(),
        })
    }

    fn candidate(&self, tier: Tier, entry: &Arc<Entry>) -> Option<Candidate> {
        let live = entry.live();
        let replica = live.replica_in(tier)?;
        let facts = self.facts(entry, &live, replica);
        facts.may_go().then(|| Candidate {
            namespace: live.row.namespace.clone(),
            payload: entry.id,
            charged: replica.charged,
            exit: facts.exit(),
        })
    }

    fn reserved(&self, tier: Tier) -> u64 {
        let open = |entry: Arc<Entry>| {
            let row = entry.row();
            let charged = row.replicas.iter().filter(|replica| replica.tier() == tier);
            match row.state.kind() {
                StateKind::Allocated => charged.map(|replica| replica.charged).sum(),
                _ => 0,
            }
        };
        self.table.all().into_iter().map(open).sum()
    }
}
