//! What operators ask: a thin layer over the admin service.

use std::sync::Arc;

use payload_core::{Namespace, PayloadId, Result};
use payload_proto::v1;
use payload_proto::v1::admin_service_client::AdminServiceClient;

use crate::channel::Grpc;
use crate::endpoint::Endpoint;
use crate::messages::Messages;
use crate::options::ClientOptions;

/// Looks at a server and at who holds what, and keeps its namespaces. Clones share a connection.
#[derive(Clone, Debug)]
pub struct Admin {
    pub(crate) grpc: Arc<Grpc>,
}

impl Admin {
    /// Without a data connection beside it. It connects with its first call.
    pub fn new(endpoint: Endpoint, options: &ClientOptions) -> Self {
        Self {
            grpc: Arc::new(Grpc::new(endpoint, options)),
        }
    }

    /// How full and how busy the server is.
    pub async fn stats(&self) -> Result<v1::GetStatsResponse> {
        let ask = |channel| async move { AdminServiceClient::new(channel).get_stats(v1::GetStatsRequest {}).await };
        self.grpc.call(ask).await
    }

    /// One page of leases, on one payload or on any.
    pub async fn leases(
        &self,
        payload: Option<PayloadId>,
        page_size: u32,
        page_token: &str,
    ) -> Result<v1::ListLeasesResponse> {
        let request = v1::ListLeasesRequest {
            payload_id: payload.map(|id| id.to_string()).unwrap_or_default(),
            page_size,
            page_token: page_token.to_owned(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).list_leases(request).await }
        };
        self.grpc.call(ask).await
    }

    /// Whether the events of one payload, or of all in a namespace, add up to what the catalog says of them. Each message
    /// is about some of them.
    pub async fn verify_events(
        &self,
        namespace: &Namespace,
        payload: Option<PayloadId>,
    ) -> Result<Messages<v1::VerifyEventsResponse>> {
        let request = v1::VerifyEventsRequest {
            namespace: namespace.to_string(),
            payload_id: payload.map(|id| id.to_string()).unwrap_or_default(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).verify_events(request).await }
        };
        self.grpc.call(ask).await.map(Messages::new)
    }

    /// Ends somebody's lease. Doing it twice is refused with `LEASE_NOT_FOUND`, also when the first answer got lost.
    pub async fn revoke(&self, lease_serial: u64, reason: &str) -> Result<()> {
        let request = v1::RevokeLeaseRequest {
            lease_serial,
            reason: reason.to_owned(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).revoke_lease(request).await }
        };
        self.grpc.call(ask).await.map(drop)
    }
}
