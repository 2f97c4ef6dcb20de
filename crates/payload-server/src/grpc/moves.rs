//! Promote, Prefetch, Spill: one request, each payload with its own result.

use std::sync::Arc;

use payload_core::{Namespace, Payload, PayloadId, Result, Tier};
use payload_engine::Engine;
use payload_proto::convert::{batch, id, namespace, tier};
use payload_proto::{status, v1};
use tonic::{Request, Response, Status};

use super::answer;
use crate::calls::{Calls, Rpc};

/// What is done to each payload.
type Move = fn(&Engine, &Namespace, PayloadId, Tier) -> Result<Arc<Payload>>;

/// Moves one payload after the other; `usual` is the tier if the request names none.
pub(super) async fn run(
    calls: &Calls,
    rpc: Rpc,
    request: Request<v1::MoveRequest>,
    usual: Tier,
    to_each: Move,
) -> Result<Response<v1::MoveResponse>, Status> {
    answer(calls, rpc, async {
        let request = request.into_inner();
        batch(&request.payload_ids, "payload_ids")?;
        let namespace = namespace(&request.namespace)?;
        let to = tier(request.to)?.unwrap_or(usual);
        let moved = calls.run(move |engine| {
            let one = |text: &String| to_each(engine, &namespace, id(text)?, to);
            Ok(request.payload_ids.iter().map(|text| result(one(text))).collect())
        });
        Ok(v1::MoveResponse { results: moved.await? })
    })
    .await
}

fn result(moved: Result<Arc<Payload>>) -> v1::MoveResult {
    let result = match moved {
        Ok(row) => v1::move_result::Result::Payload((&*row).into()),
        Err(error) => v1::move_result::Result::Failure(status::to_failure(&error)),
    };
    v1::MoveResult { result: Some(result) }
}
