//! Where bytes are, why, and who holds them: the operators' questions about tiers.

use payload_core::{Namespace, PayloadRef, Result};
use payload_proto::v1;
use payload_proto::v1::admin_service_client::AdminServiceClient;

use crate::admin::Admin;
use crate::messages::Messages;

impl Admin {
    /// Why a payload's bytes are where they are, what keeps them there, and what happens to them next.
    pub async fn explain(&self, namespace: &Namespace, payload: &PayloadRef) -> Result<v1::ExplainResponse> {
        let request = v1::ExplainRequest {
            namespace: namespace.to_string(),
            payload_id: payload.to_string(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).explain(request).await }
        };
        self.grpc.call(ask).await
    }

    /// Has the server read all bytes of a payload, or of all active ones in a namespace, and mend what is damaged. Each message is
    /// about one payload.
    pub async fn verify_bytes(
        &self,
        namespace: &Namespace,
        payload: Option<&PayloadRef>,
    ) -> Result<Messages<v1::VerifyBytesResponse>> {
        let request = v1::VerifyBytesRequest {
            namespace: namespace.to_string(),
            payload_id: payload.map(PayloadRef::to_string).unwrap_or_default(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).verify_bytes(request).await }
        };
        self.grpc.call(ask).await.map(Messages::new)
    }

    /// How full each tier is, and what goes next.
    pub async fn tiers(&self) -> Result<Vec<v1::TierView>> {
        let ask = |channel| async move {
            AdminServiceClient::new(channel)
                .list_tiers(v1::ListTiersRequest {})
                .await
        };
        Ok(self.grpc.call(ask).await?.tiers)
    }

    /// What is on its way from tier to tier, and what waits to be.
    pub async fn transfers(&self) -> Result<v1::ListTransfersResponse> {
        let request = v1::ListTransfersRequest {};
        let ask = |channel| async move { AdminServiceClient::new(channel).list_transfers(request).await };
        self.grpc.call(ask).await
    }

    /// Has a payload's move given up; false if nothing moves. The payload stays where it is, and is left alone for a while.
    pub async fn cancel_transfer(&self, namespace: &Namespace, payload: &PayloadRef) -> Result<bool> {
        let request = v1::CancelTransferRequest {
            namespace: namespace.to_string(),
            payload_id: payload.to_string(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).cancel_transfer(request).await }
        };
        Ok(self.grpc.call(ask).await?.cancelled)
    }

    /// Everybody who holds something, those first who hold most.
    pub async fn holders(&self) -> Result<Vec<v1::HolderSum>> {
        let request = v1::ListHoldersRequest {};
        let ask = |channel| async move { AdminServiceClient::new(channel).list_holders(request).await };
        Ok(self.grpc.call(ask).await?.holders)
    }
}
