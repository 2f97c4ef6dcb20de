//! Reclaim over the local socket: a client that outlived a server says what it held.

use std::sync::Arc;

use payload_core::{Error, Reason, Result, SessionId, limits};
use payload_engine::{Engine, Holder};
use payload_proto::convert::{namespace, optional};
use payload_proto::v1;
use payload_proto::v1::server_message::Response;

use super::answer::Answer;
use crate::wire;

/// Each item has its own result.
pub(super) fn reclaim(engine: &Engine, holder: &Arc<Holder>, request: &v1::ReclaimRequest) -> Result<Answer> {
    let items = request.leases.len() + request.allocations.len();
    if items > limits::BATCH_ITEMS_MAX {
        return Err(Error::invalid(
            Reason::BadRequest,
            format!("a reclaim has at most {} items", limits::BATCH_ITEMS_MAX),
        ));
    }
    let namespace = namespace(&request.namespace)?;
    let session: Option<SessionId> = optional(&request.session_id)?;
    let mut answer = Answer::default();
    let mut response = v1::ReclaimResponse::default();
    for claim in &request.leases {
        let grant = session
            .ok_or_else(|| Error::invalid(Reason::BadId, "leases are reclaimed for a session").field("session_id"))
            .and_then(|session| engine.check_resumable(holder, session))
            .and_then(|()| engine.reclaim_lease(holder, &namespace, wire::lease_claim(claim)?));
        response
            .leases
            .push(wire::acquired(grant, &mut answer.fds, &mut answer.sent));
    }
    for claim in &request.allocations {
        let allocation =
            wire::allocation_claim(claim).and_then(|claim| engine.reclaim_allocation(holder, &namespace, claim));
        let result = match allocation {
            Ok(allocation) => v1::reclaimed_allocation::Result::Allocation(wire::allocation(
                allocation,
                &mut answer.fds,
                &mut answer.sent,
            )),
            Err(error) => v1::reclaimed_allocation::Result::Failure(payload_proto::status::to_failure(&error)),
        };
        response
            .allocations
            .push(v1::ReclaimedAllocation { result: Some(result) });
    }
    answer.response = Some(Response::Reclaim(response));
    Ok(answer)
}
