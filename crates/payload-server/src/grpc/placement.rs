//! Explain, ListTiers, ListTransfers, CancelTransfer, ListHolders: where bytes are, why, and who holds them.

use payload_core::Result;
use payload_core::tiering::{Exit, Keep};
use payload_engine::{
    Arrival, Candidate, Explanation, HolderView, Plan, Pressure, Queued, ReplicaView, Running, TierView, Wish,
};
use payload_proto::convert::{id, millis, namespace};
use payload_proto::v1;
use payload_proto::v1::plan::Next;
use tonic::{Request, Response, Status};

use super::{admin, answer};
use crate::calls::{Calls, Rpc};
use crate::wire;

pub(super) async fn explain(
    calls: &Calls,
    request: Request<v1::ExplainRequest>,
) -> Result<Response<v1::ExplainResponse>, Status> {
    answer(calls, Rpc::Explain, async {
        let request = request.get_ref();
        let (namespace, payload) = (namespace(&request.namespace)?, id(&request.payload_id)?);
        let explained = calls.run(move |engine| engine.explain(&namespace, &payload)).await?;
        Ok(explanation(explained))
    })
    .await
}

pub(super) async fn tiers(calls: &Calls) -> Result<Response<v1::ListTiersResponse>, Status> {
    answer(calls, Rpc::ListTiers, async {
        let tiers = calls.run(|engine| engine.tiers()).await?;
        Ok(v1::ListTiersResponse {
            tiers: tiers.iter().map(tier).collect(),
        })
    })
    .await
}

pub(super) async fn transfers(calls: &Calls) -> Result<Response<v1::ListTransfersResponse>, Status> {
    answer(calls, Rpc::ListTransfers, async {
        let list = calls.run(|engine| Ok(engine.transfers())).await?;
        Ok(v1::ListTransfersResponse {
            running: list.running.iter().map(running).collect(),
            queued: list.queued.iter().map(queued).collect(),
            queued_total: list.queued_total as u64,
        })
    })
    .await
}

pub(super) async fn cancel(
    calls: &Calls,
    request: Request<v1::CancelTransferRequest>,
) -> Result<Response<v1::CancelTransferResponse>, Status> {
    answer(calls, Rpc::CancelTransfer, async {
        let request = request.get_ref();
        let (namespace, payload) = (namespace(&request.namespace)?, id(&request.payload_id)?);
        let cancelled = calls.run(move |engine| engine.cancel_transfer(&namespace, &payload));
        Ok(v1::CancelTransferResponse {
            cancelled: cancelled.await?,
        })
    })
    .await
}

pub(super) async fn holders(calls: &Calls) -> Result<Response<v1::ListHoldersResponse>, Status> {
    answer(calls, Rpc::ListHolders, async {
        let holders = calls.run(|engine| Ok(engine.holders())).await?;
        Ok(v1::ListHoldersResponse {
            holders: holders.into_iter().map(holder).collect(),
        })
    })
    .await
}

fn explanation(explained: Explanation) -> v1::ExplainResponse {
    v1::ExplainResponse {
        payload: Some((&*explained.row).into()),
        replicas: explained.replicas.into_iter().map(standing).collect(),
        leases: explained.leases.into_iter().map(wire::lease_info).collect(),
        lease_count: explained.lease_count as u64,
        plan: Some(plan(&explained.plan)),
    }
}

fn standing(view: ReplicaView) -> v1::ReplicaStanding {
    v1::ReplicaStanding {
        replica_id: view.replica.id.to_string(),
        tier: v1::Tier::from(view.replica.tier()).into(),
        arrival: view.arrival.map(arrival),
        leases: view.leases as u64,
        kept_by: view.keeps.into_iter().map(|keep| kept_by(keep).into()).collect(),
        exit: exit(view.exit).into(),
        memory_node: view.memory_node,
    }
}

fn arrival(arrival: Arrival) -> v1::Arrival {
    v1::Arrival {
        event: arrival.kind.as_str().to_owned(),
        actor: arrival.actor.to_string(),
        reason: arrival.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        at_us: arrival.at.as_micros(),
    }
}

const fn kept_by(keep: Keep) -> v1::Keep {
    match keep {
        Keep::Unsettled => v1::Keep::Unsettled,
        Keep::InDoubt => v1::Keep::InDoubt,
        Keep::Elsewhere => v1::Keep::Elsewhere,
        Keep::Leased => v1::Keep::Leased,
        Keep::Moving => v1::Keep::Moving,
        Keep::MayReturn => v1::Keep::MayReturn,
        Keep::SetAside => v1::Keep::SetAside,
        Keep::Pinned => v1::Keep::Pinned,
        Keep::WriteBehind => v1::Keep::WriteBehind,
        Keep::MinResidency => v1::Keep::MinResidency,
        Keep::MinTier => v1::Keep::MinTier,
        Keep::Priority => v1::Keep::Priority,
        Keep::LowestTier => v1::Keep::LowestTier,
    }
}

const fn exit(exit: Exit) -> v1::Exit {
    match exit {
        Exit::Drop => v1::Exit::Drop,
        Exit::Discard => v1::Exit::Discard,
        Exit::Spill => v1::Exit::Spill,
    }
}

fn plan(plan: &Plan) -> v1::Plan {
    let number = |tier| v1::Tier::from(tier).into();
    let next = match *plan {
        Plan::Unsettled => Next::Unsettled(v1::Nothing {}),
        Plan::Copying { from, to, why } => Next::Copying(v1::Copying {
            from: number(from),
            to: number(to),
            why: why.to_owned(),
        }),
        Plan::LeavesWhenReleased(tier) => Next::LeavesWhenReleased(number(tier)),
        Plan::Fetched(Wish::Asked) => Next::Fetched(v1::FetchCause::Asked.into()),
        Plan::Fetched(Wish::Hot) => Next::Fetched(v1::FetchCause::Hot.into()),
        Plan::Leaves(tier) => Next::Leaves(number(tier)),
        Plan::MayLeave(tier) => Next::MayLeave(number(tier)),
        Plan::WrittenBehind(tier) => Next::WrittenBehind(number(tier)),
        Plan::Stays => Next::Stays(v1::Nothing {}),
    };
    v1::Plan { next: Some(next) }
}

fn tier(view: &TierView) -> v1::TierView {
    v1::TierView {
        stats: Some(admin::tier_message(&view.stats)),
        reserved_bytes: view.reserved,
        pressure: view.pressure.as_ref().map(pressure),
    }
}

fn pressure(pressure: &Pressure) -> v1::Pressure {
    v1::Pressure {
        high_watermark: pressure.watermarks.high().into(),
        low_watermark: pressure.watermarks.low().into(),
        excess_bytes: pressure.excess,
        candidates: pressure.candidates as u64,
        candidate_bytes: pressure.candidate_bytes,
        waiting: pressure.waiting as u64,
        waiting_bytes: pressure.waiting_bytes,
        next: pressure.next.iter().map(candidate).collect(),
    }
}

fn candidate(candidate: &Candidate) -> v1::Candidate {
    v1::Candidate {
        namespace: candidate.namespace.to_string(),
        payload_id: candidate.payload.to_string(),
        charged_bytes: candidate.charged,
        exit: exit(candidate.exit).into(),
    }
}

fn running(copy: &Running) -> v1::Transfer {
    v1::Transfer {
        namespace: copy.namespace.to_string(),
        payload_id: copy.payload.to_string(),
        size: copy.size,
        from: v1::Tier::from(copy.from).into(),
        to: v1::Tier::from(copy.to).into(),
        why: copy.why.to_owned(),
        age_ms: millis(copy.age),
    }
}

fn queued(queued: &Queued) -> v1::Transfer {
    v1::Transfer {
        namespace: queued.namespace.to_string(),
        payload_id: queued.payload.to_string(),
        size: queued.size,
        from: v1::Tier::Unspecified.into(),
        to: queued.to.map_or(v1::Tier::Unspecified, v1::Tier::from).into(),
        why: queued.why.to_owned(),
        age_ms: 0,
    }
}

fn holder(view: HolderView) -> v1::HolderSum {
    v1::HolderSum {
        holder: Some(wire::holder(&view.principal, view.kind, view.peer)),
        leases: view.leases as u64,
        payloads: view.payloads as u64,
        bytes: view.bytes,
        allocations: view.allocations as u64,
        oldest_lease_ms: view.oldest.map(millis),
    }
}
