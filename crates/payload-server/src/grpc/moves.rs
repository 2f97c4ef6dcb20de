//! Promote, Prefetch, Spill: one request, each payload with its own result.

use std::sync::Arc;

use payload_core::{Namespace, Payload, PayloadId, Result, Tier};
use payload_engine::Engine;
use payload_proto::convert::{batch, id, namespace, tier};
use payload_proto::{status, v1};
use tonic::{Request, Response, Status};

use super::answer;
use crate::calls::{Calls, Rpc};

/// What is done to the payloads, each with its own result.
type Move = fn(&Engine, &Namespace, &[PayloadId], Tier) -> Vec<Result<Arc<Payload>>>;

/// Moves payloads; `usual` is the tier if the request names none.
pub(super) async fn run(
    calls: &Calls,
    rpc: Rpc,
    request: Request<v1::MoveRequest>,
    usual: Tier,
    to_all: Move,
) -> Result<Response<v1::MoveResponse>, Status> {
    answer(calls, rpc, async {
        let request = request.into_inner();
        batch(&request.payload_ids, "payload_ids")?;
        let namespace = namespace(&request.namespace)?;
        let to = tier(request.to)?.unwrap_or(usual);
        let ids: Vec<Result<PayloadId>> = request.payload_ids.iter().map(|text| id(text)).collect();
        let moved = calls.run(move |engine| {
            let known: Vec<PayloadId> = ids.iter().filter_map(|id| id.as_ref().ok().copied()).collect();
            let mut moved = to_all(engine, &namespace, &known, to).into_iter();
            let each = ids
                .into_iter()
                .map(|id| id.and_then(|_| moved.next().expect("each payload has a result")));
            Ok(each.map(result).collect())
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
