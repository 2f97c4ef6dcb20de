//! What payloads there are: a thin layer over the catalog service.

use std::sync::Arc;

use payload_core::{PayloadId, PayloadRef, Result};
use payload_proto::v1;
use payload_proto::v1::catalog_service_client::CatalogServiceClient;

use crate::channel::Grpc;
use crate::endpoint::Endpoint;
use crate::grant::nonsense;
use crate::options::ClientOptions;
use crate::request_id::RequestIds;

/// Reads, lists and deletes payloads. Clones share a connection.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(crate) grpc: Arc<Grpc>,
    pub(crate) namespace: String,
}

/// How a payload is to be deleted.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Revokes the payload's leases instead of waiting for them.
    pub force: bool,
    /// Kept in the payload's history.
    pub reason: String,
    /// What is to become of live payloads that descend from it; they are left, if unspecified.
    pub dependents: v1::OnDependents,
    /// Changes nothing and answers what the deletion would do.
    pub dry_run: bool,
}

/// Which part of the graph around a payload is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineageOptions {
    /// Which way to look; both, if unspecified.
    pub scope: v1::LineageScope,
    /// How many steps; the server's choice, if zero.
    pub depth: u32,
    /// How many edges on a page; the server's choice, if zero.
    pub page_size: u32,
}

/// Which events somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only those of one payload.
    pub payload: Option<PayloadRef>,
    /// Only those of these kinds, such as `committed`; all if empty.
    pub kinds: Vec<String>,
}

impl Catalog {
    /// A catalog without a data connection beside it. It connects with its first call.
    pub fn new(endpoint: Endpoint, options: &ClientOptions) -> Self {
        Self {
            grpc: Arc::new(Grpc::new(endpoint, options)),
            namespace: options.namespace.as_str().to_owned(),
        }
    }

    /// One payload.
    pub async fn get(&self, payload: impl Into<PayloadRef>) -> Result<v1::Payload> {
        Ok(self.get_with_names(payload).await?.0)
    }

    /// One payload, and the names that point at it now.
    pub async fn get_with_names(&self, payload: impl Into<PayloadRef>) -> Result<(v1::Payload, Vec<String>)> {
        let request = v1::GetPayloadRequest {
            namespace: self.namespace.clone(),
            payload_id: payload.into().to_string(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).get_payload(request).await }
        };
        let found = self.grpc.call(ask).await?;
        let payload = found.payload.ok_or_else(|| nonsense("no payload"))?;
        Ok((payload, found.names))
    }

    /// Makes a payload unleasable at once; its bytes go when its leases end. Descendants are deleted a thousand at a time:
    /// call again while the answer says that some are left.
    pub async fn delete(
        &self,
        payload: impl Into<PayloadRef>,
        options: DeleteOptions,
    ) -> Result<v1::DeletePayloadResponse> {
        let request = v1::DeletePayloadRequest {
            namespace: self.namespace.clone(),
            request_id: RequestIds::new()?.next(),
            payload_id: payload.into().to_string(),
            force: options.force,
            reason: options.reason,
            dependents: options.dependents.into(),
            dry_run: options.dry_run,
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).delete_payload(request).await }
        };
        self.grpc.call(ask).await
    }

    /// Changes the labels or the expiry of a committed payload. The fields of `request` that say which namespace and which
    /// request it is are filled in here.
    pub async fn update(
        &self,
        payload: impl Into<PayloadRef>,
        request: v1::UpdatePayloadRequest,
    ) -> Result<v1::Payload> {
        let request = v1::UpdatePayloadRequest {
            namespace: self.namespace.clone(),
            request_id: RequestIds::new()?.next(),
            payload_id: payload.into().to_string(),
            ..request
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).update_payload(request).await }
        };
        self.grpc.call(ask).await?.payload.ok_or_else(|| nonsense("no payload"))
    }

    /// One page of what happened, oldest first, from where `cursor` says (from the earliest event, if it is empty). The
    /// page's own cursor leads on, also later, when more has happened.
    pub async fn events(&self, filter: &EventFilter, page_size: u32, cursor: &str) -> Result<v1::ListEventsResponse> {
        let request = v1::ListEventsRequest {
            namespace: self.namespace.clone(),
            payload_id: filter.payload.as_ref().map(PayloadRef::to_string).unwrap_or_default(),
            kinds: filter.kinds.clone(),
            cursor: cursor.to_owned(),
            page_size,
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).list_events(request).await }
        };
        self.grpc.call(ask).await
    }

    /// Says what a payload was made from, if its commit did not.
    pub async fn add_lineage(&self, id: PayloadId, lineage: v1::Derivation) -> Result<()> {
        let request = v1::AddLineageRequest {
            namespace: self.namespace.clone(),
            request_id: RequestIds::new()?.next(),
            payload_id: id.to_string(),
            lineage: Some(lineage),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).add_lineage(request).await }
        };
        self.grpc.call(ask).await.map(|_| ())
    }

    /// One page of the graph around a payload, nearest first: so many steps, so many edges (the server's choice, if
    /// zero), from where `page_token` says. The page's own token leads to the next one; it is empty on the last.
    pub async fn lineage(
        &self,
        id: PayloadId,
        options: LineageOptions,
        page_token: &str,
    ) -> Result<v1::GetLineageResponse> {
        let request = v1::GetLineageRequest {
            namespace: self.namespace.clone(),
            payload_id: id.to_string(),
            scope: options.scope.into(),
            depth: options.depth,
            page_size: options.page_size,
            page_token: page_token.to_owned(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).get_lineage(request).await }
        };
        self.grpc.call(ask).await
    }

    /// What a payload's loss would touch; names at most `page_size` of the nearest (the server's choice, if zero).
    pub async fn impact(&self, id: PayloadId, page_size: u32) -> Result<v1::GetImpactResponse> {
        let request = v1::GetImpactRequest {
            namespace: self.namespace.clone(),
            payload_id: id.to_string(),
            page_size,
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).get_impact(request).await }
        };
        self.grpc.call(ask).await
    }
}
