//! PinPayload, UnpinPayload: what stays in a tier however short the room there is.

use payload_core::{PayloadRef, Span, Tier};
use payload_engine::PinRequest;
use payload_proto::convert::{id, namespace, tier};
use payload_proto::v1;
use tonic::{Request, Response, Status};

use super::{answer, principal};
use crate::calls::{Calls, Rpc};

pub(super) async fn pin(
    calls: &Calls,
    request: Request<v1::PinPayloadRequest>,
) -> Result<Response<v1::PinPayloadResponse>, Status> {
    let principal = principal(&request);
    answer(calls, Rpc::PinPayload, async {
        let request = request.into_inner();
        let request = PinRequest {
            namespace: namespace(&request.namespace)?,
            payload: id::<PayloadRef>(&request.payload_id)?,
            tier: tier(request.tier)?.unwrap_or(Tier::Ram),
            term: request.term_ms.map(Span::from_millis),
        };
        let row = calls.run(move |engine| engine.pin(&principal, &request)).await?;
        Ok(v1::PinPayloadResponse {
            payload: Some((&*row).into()),
        })
    })
    .await
}

pub(super) async fn unpin(
    calls: &Calls,
    request: Request<v1::UnpinPayloadRequest>,
) -> Result<Response<v1::UnpinPayloadResponse>, Status> {
    let principal = principal(&request);
    answer(calls, Rpc::UnpinPayload, async {
        let request = request.into_inner();
        let namespace = namespace(&request.namespace)?;
        let payload = id::<PayloadRef>(&request.payload_id)?;
        let tier = tier(request.tier)?;
        let unpinned = calls.run(move |engine| engine.unpin(&principal, &namespace, &payload, tier));
        Ok(v1::UnpinPayloadResponse {
            payload: Some((&*unpinned.await?).into()),
        })
    })
    .await
}
