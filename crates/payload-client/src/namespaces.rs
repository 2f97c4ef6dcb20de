//! Namespaces: made, looked at, changed and removed through the admin service.

use payload_core::{Namespace, Quota, Result};
use payload_proto::v1;
use payload_proto::v1::admin_service_client::AdminServiceClient;

use crate::admin::Admin;
use crate::grant::nonsense;

impl Admin {
    /// Makes a namespace. Doing it twice is refused with `NAMESPACE_EXISTS`, also when the first answer got lost.
    pub async fn create_namespace(&self, name: &Namespace, quota: Quota) -> Result<v1::Namespace> {
        let request = v1::CreateNamespaceRequest {
            name: name.to_string(),
            quota: Some(wire_quota(quota)),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).create_namespace(request).await }
        };
        found(self.grpc.call(ask).await?.namespace)
    }

    /// One namespace.
    pub async fn namespace(&self, name: &Namespace) -> Result<v1::Namespace> {
        self.namespace_with_use(name).await.map(|(namespace, _)| namespace)
    }

    /// One namespace, and what it has of what its quota bounds.
    pub async fn namespace_with_use(&self, name: &Namespace) -> Result<(v1::Namespace, v1::NamespaceUse)> {
        let request = v1::GetNamespaceRequest { name: name.to_string() };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).get_namespace(request).await }
        };
        let response = self.grpc.call(ask).await?;
        Ok((found(response.namespace)?, response.used.unwrap_or_default()))
    }

    /// One page of namespaces in order of their names.
    pub async fn namespaces(&self, page_size: u32, page_token: &str) -> Result<v1::ListNamespacesResponse> {
        let request = v1::ListNamespacesRequest {
            page_size,
            page_token: page_token.to_owned(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).list_namespaces(request).await }
        };
        self.grpc.call(ask).await
    }

    /// Replaces a namespace's quota, at the version that the caller saw or at any.
    pub async fn update_namespace(
        &self,
        name: &Namespace,
        quota: Quota,
        if_version: Option<u64>,
    ) -> Result<v1::Namespace> {
        let request = v1::UpdateNamespaceRequest {
            name: name.to_string(),
            quota: Some(wire_quota(quota)),
            if_version,
        };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).update_namespace(request).await }
        };
        found(self.grpc.call(ask).await?.namespace)
    }

    /// Removes a namespace in which every payload has ended.
    pub async fn remove_namespace(&self, name: &Namespace, if_version: Option<u64>) -> Result<()> {
        let request = v1::DeleteNamespaceRequest {
            name: name.to_string(),
            if_version,
        };
        let ask = |channel| {
            let request = request.clone();
            async move { AdminServiceClient::new(channel).delete_namespace(request).await }
        };
        self.grpc.call(ask).await.map(drop)
    }
}

fn wire_quota(quota: Quota) -> v1::Quota {
    let Quota { bytes, payloads } = quota;
    v1::Quota { bytes, payloads }
}

fn found(namespace: Option<v1::Namespace>) -> Result<v1::Namespace> {
    namespace.ok_or_else(|| nonsense("no namespace"))
}
