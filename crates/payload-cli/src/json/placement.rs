//! The documents of `explain`, `tiers`, `transfers` and `holders`.

use payload_client::v1;
use payload_client::v1::plan::Next;
use serde::Serialize;

use super::{Holder, Lease, Payload, TierStats};

/// `explain`.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    pub(crate) payload: Payload,
    pub(crate) replicas: Vec<Standing>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) lease_count: u64,
    pub(crate) plan: Plan,
}

#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    pub(crate) replica_id: String,
    pub(crate) tier: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arrival: Option<Arrival>,
    pub(crate) leases: u64,
    pub(crate) kept_by: Vec<&'static str>,
    pub(crate) exit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_node: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Arrival {
    pub(crate) event: String,
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) at_us: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Plan {
    Unsettled {},
    Copying {
        from: &'static str,
        to: &'static str,
        why: String,
    },
    LeavesWhenReleased(&'static str),
    Fetched(&'static str),
    Leaves(&'static str),
    MayLeave(&'static str),
    WrittenBehind(&'static str),
    Stays {},
}

/// `tiers`.
#[derive(Debug, Serialize)]
pub(crate) struct Tiers {
    pub(crate) tiers: Vec<TierView>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TierView {
    pub(crate) stats: TierStats,
    pub(crate) reserved_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pressure: Option<Pressure>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Pressure {
    pub(crate) high_watermark: u32,
    pub(crate) low_watermark: u32,
    pub(crate) excess_bytes: u64,
    pub(crate) candidates: u64,
    pub(crate) candidate_bytes: u64,
    pub(crate) waiting: u64,
    pub(crate) waiting_bytes: u64,
    pub(crate) next: Vec<Candidate>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Candidate {
    pub(crate) namespace: String,
    pub(crate) payload_id: String,
    pub(crate) charged_bytes: u64,
    pub(crate) exit: &'static str,
}

/// `verify --bytes`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct VerifiedBytes {
    pub(crate) payloads: u64,
    pub(crate) bytes: u64,
    pub(crate) damages: Vec<Damage>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Damage {
    pub(crate) payload_id: String,
    pub(crate) tier: &'static str,
    pub(crate) fate: &'static str,
    pub(crate) message: String,
}

/// `transfers cancel`.
#[derive(Debug, Serialize)]
pub(crate) struct Cancelled {
    pub(crate) cancelled: bool,
}

/// `transfers`.
#[derive(Debug, Serialize)]
pub(crate) struct Transfers {
    pub(crate) running: Vec<Transfer>,
    pub(crate) queued: Vec<Transfer>,
    pub(crate) queued_total: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Transfer {
    pub(crate) namespace: String,
    pub(crate) payload_id: String,
    pub(crate) size: u64,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) why: String,
    pub(crate) age_ms: u64,
}

/// `holders`.
#[derive(Debug, Serialize)]
pub(crate) struct Holders {
    pub(crate) holders: Vec<HolderSum>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HolderSum {
    pub(crate) holder: Holder,
    pub(crate) leases: u64,
    pub(crate) payloads: u64,
    pub(crate) bytes: u64,
    pub(crate) allocations: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_lease_ms: Option<u64>,
}

impl From<v1::ExplainResponse> for Explained {
    fn from(explained: v1::ExplainResponse) -> Self {
        Self {
            payload: explained.payload.unwrap_or_default().into(),
            replicas: explained.replicas.into_iter().map(Standing::from).collect(),
            leases: explained.leases.into_iter().map(Lease::from).collect(),
            lease_count: explained.lease_count,
            plan: explained.plan.and_then(|plan| plan.next).into(),
        }
    }
}

impl From<v1::ReplicaStanding> for Standing {
    fn from(standing: v1::ReplicaStanding) -> Self {
        Self {
            tier: standing.tier().as_str_name(),
            kept_by: standing.kept_by().map(|keep| keep.as_str_name()).collect(),
            exit: standing.exit().as_str_name(),
            arrival: standing.arrival.map(Arrival::from),
            leases: standing.leases,
            replica_id: standing.replica_id,
            memory_node: standing.memory_node,
        }
    }
}

impl From<v1::Arrival> for Arrival {
    fn from(arrival: v1::Arrival) -> Self {
        let v1::Arrival {
            event,
            actor,
            reason,
            at_us,
        } = arrival;
        Self {
            event,
            actor,
            reason,
            at_us,
        }
    }
}

impl From<Option<Next>> for Plan {
    fn from(next: Option<Next>) -> Self {
        let tier = |number: i32| v1::Tier::try_from(number).unwrap_or_default().as_str_name();
        match next {
            Some(Next::Unsettled(_)) => Self::Unsettled {},
            Some(Next::Copying(copying)) => Self::Copying {
                from: copying.from().as_str_name(),
                to: copying.to().as_str_name(),
                why: copying.why,
            },
            Some(Next::LeavesWhenReleased(number)) => Self::LeavesWhenReleased(tier(number)),
            Some(Next::Fetched(cause)) => {
                Self::Fetched(v1::FetchCause::try_from(cause).unwrap_or_default().as_str_name())
            }
            Some(Next::Leaves(number)) => Self::Leaves(tier(number)),
            Some(Next::MayLeave(number)) => Self::MayLeave(tier(number)),
            Some(Next::WrittenBehind(number)) => Self::WrittenBehind(tier(number)),
            Some(Next::Stays(_)) | None => Self::Stays {},
        }
    }
}

impl From<v1::TierView> for TierView {
    fn from(view: v1::TierView) -> Self {
        Self {
            stats: view.stats.unwrap_or_default().into(),
            reserved_bytes: view.reserved_bytes,
            pressure: view.pressure.map(Pressure::from),
        }
    }
}

impl From<v1::Pressure> for Pressure {
    fn from(pressure: v1::Pressure) -> Self {
        Self {
            high_watermark: pressure.high_watermark,
            low_watermark: pressure.low_watermark,
            excess_bytes: pressure.excess_bytes,
            candidates: pressure.candidates,
            candidate_bytes: pressure.candidate_bytes,
            waiting: pressure.waiting,
            waiting_bytes: pressure.waiting_bytes,
            next: pressure.next.into_iter().map(Candidate::from).collect(),
        }
    }
}

impl From<v1::Candidate> for Candidate {
    fn from(candidate: v1::Candidate) -> Self {
        Self {
            exit: candidate.exit().as_str_name(),
            namespace: candidate.namespace,
            payload_id: candidate.payload_id,
            charged_bytes: candidate.charged_bytes,
        }
    }
}

impl VerifiedBytes {
    /// Adds what was found about one payload.
    pub(crate) fn add(&mut self, part: v1::VerifyBytesResponse) {
        self.payloads += 1;
        self.bytes += part.bytes;
        let damages = part.damages.into_iter().map(|damage| Damage {
            payload_id: part.payload_id.clone(),
            tier: damage.tier().as_str_name(),
            fate: damage.fate().as_str_name(),
            message: damage.message,
        });
        self.damages.extend(damages);
    }
}

impl From<v1::ListTransfersResponse> for Transfers {
    fn from(list: v1::ListTransfersResponse) -> Self {
        Self {
            running: list.running.into_iter().map(Transfer::from).collect(),
            queued: list.queued.into_iter().map(Transfer::from).collect(),
            queued_total: list.queued_total,
        }
    }
}

impl From<v1::Transfer> for Transfer {
    fn from(transfer: v1::Transfer) -> Self {
        Self {
            from: transfer.from().as_str_name(),
            to: transfer.to().as_str_name(),
            namespace: transfer.namespace,
            payload_id: transfer.payload_id,
            size: transfer.size,
            why: transfer.why,
            age_ms: transfer.age_ms,
        }
    }
}

impl From<v1::HolderSum> for HolderSum {
    fn from(sum: v1::HolderSum) -> Self {
        Self {
            holder: sum.holder.unwrap_or_default().into(),
            leases: sum.leases,
            payloads: sum.payloads,
            bytes: sum.bytes,
            allocations: sum.allocations,
            oldest_lease_ms: sum.oldest_lease_ms,
        }
    }
}
