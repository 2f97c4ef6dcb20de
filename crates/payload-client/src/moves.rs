//! Payloads that go up and down between tiers because somebody says so.

use std::time::Duration;

use payload_core::{PayloadId, PayloadRef, Result, Tier};
use payload_proto::convert::millis;
use payload_proto::v1::data_service_client::DataServiceClient;
use payload_proto::{status, v1};

use crate::catalog::Catalog;
use crate::grant::nonsense;

/// What became of each payload, in the order of the request.
type Moved = Vec<Result<v1::Payload>>;

impl Catalog {
    /// Brings payloads into a faster tier, and returns when they are there.
    pub async fn promote(&self, ids: &[PayloadId], to: Tier) -> Result<Moved> {
        let ask = |channel| {
            let request = self.move_request(ids, to);
            async move { DataServiceClient::new(channel).promote(request).await }
        };
        moved(self.grpc.call(ask).await?, ids)
    }

    /// Has payloads brought into a faster tier when there is time and room, and does not wait for it.
    pub async fn prefetch(&self, ids: &[PayloadId], to: Tier) -> Result<Moved> {
        let ask = |channel| {
            let request = self.move_request(ids, to);
            async move { DataServiceClient::new(channel).prefetch(request).await }
        };
        moved(self.grpc.call(ask).await?, ids)
    }

    /// Copies payloads to a slower tier. The replicas above go when no lease is on them; new leases are below from now on.
    pub async fn spill(&self, ids: &[PayloadId], to: Tier) -> Result<Moved> {
        let ask = |channel| {
            let request = self.move_request(ids, to);
            async move { DataServiceClient::new(channel).spill(request).await }
        };
        moved(self.grpc.call(ask).await?, ids)
    }

    /// Keeps a payload in a tier, for a time or until it is unpinned. It is copied there first if need be.
    pub async fn pin(&self, payload: &PayloadRef, tier: Tier, term: Option<Duration>) -> Result<v1::Payload> {
        let request = v1::PinPayloadRequest {
            namespace: self.namespace.clone(),
            payload_id: payload.to_string(),
            tier: v1::Tier::from(tier).into(),
            term_ms: term.map(millis),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { DataServiceClient::new(channel).pin_payload(request).await }
        };
        let pinned = self.grpc.call(ask).await?.payload;
        pinned.ok_or_else(|| nonsense("a pin without a payload"))
    }

    /// Ends a payload's pins, in one tier or in all.
    pub async fn unpin(&self, payload: &PayloadRef, tier: Option<Tier>) -> Result<v1::Payload> {
        let request = v1::UnpinPayloadRequest {
            namespace: self.namespace.clone(),
            payload_id: payload.to_string(),
            tier: tier.map_or(v1::Tier::Unspecified, v1::Tier::from).into(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { DataServiceClient::new(channel).unpin_payload(request).await }
        };
        let unpinned = self.grpc.call(ask).await?.payload;
        unpinned.ok_or_else(|| nonsense("an end of a pin without a payload"))
    }

    fn move_request(&self, ids: &[PayloadId], to: Tier) -> v1::MoveRequest {
        v1::MoveRequest {
            namespace: self.namespace.clone(),
            payload_ids: ids.iter().map(PayloadId::to_string).collect(),
            to: v1::Tier::from(to).into(),
        }
    }
}

fn moved(response: v1::MoveResponse, ids: &[PayloadId]) -> Result<Moved> {
    if response.results.len() != ids.len() {
        return Err(nonsense("not one result for each payload"));
    }
    Ok(response.results.into_iter().map(one).collect())
}

fn one(result: v1::MoveResult) -> Result<v1::Payload> {
    match result.result {
        Some(v1::move_result::Result::Payload(payload)) => Ok(payload),
        Some(v1::move_result::Result::Failure(failure)) => Err(status::from_failure(failure)),
        None => Err(nonsense("a result without a payload and without a failure")),
    }
}
