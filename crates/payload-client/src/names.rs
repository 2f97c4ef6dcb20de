//! Names: given, taken away and followed through the catalog service.

use payload_core::{NameGuard, Naming, PayloadId, PayloadName, PayloadRef, Result};
use payload_proto::v1;
use payload_proto::v1::catalog_service_client::CatalogServiceClient;

use crate::catalog::Catalog;
use crate::grant::nonsense;

impl Catalog {
    /// Points a name at a committed payload; returns which one that is. Asking again for what is so already is fine.
    pub async fn set_name(&self, payload: impl Into<PayloadRef>, naming: &Naming, reason: &str) -> Result<String> {
        let request = v1::SetNameRequest {
            namespace: self.namespace.clone(),
            payload_id: payload.into().to_string(),
            naming: Some(wire_naming(naming)),
            reason: reason.to_owned(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).set_name(request).await }
        };
        Ok(self.grpc.call(ask).await?.payload_id)
    }

    /// Takes a name away; only from `from` if the caller says so.
    pub async fn remove_name(&self, name: &PayloadName, from: Option<PayloadId>, reason: &str) -> Result<()> {
        let request = v1::RemoveNameRequest {
            namespace: self.namespace.clone(),
            name: name.to_string(),
            if_payload_id: from.map(|id| id.to_string()).unwrap_or_default(),
            reason: reason.to_owned(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).remove_name(request).await }
        };
        self.grpc.call(ask).await.map(drop)
    }

    /// Where a name points.
    pub async fn name(&self, name: &PayloadName) -> Result<v1::Name> {
        let request = v1::GetNameRequest {
            namespace: self.namespace.clone(),
            name: name.to_string(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).get_name(request).await }
        };
        self.grpc.call(ask).await?.name.ok_or_else(|| nonsense("no name"))
    }

    /// One page of the names that begin with `prefix`, in order.
    pub async fn names(&self, prefix: &str, page_size: u32, page_token: &str) -> Result<v1::ListNamesResponse> {
        let request = v1::ListNamesRequest {
            namespace: self.namespace.clone(),
            prefix: prefix.to_owned(),
            page_size,
            page_token: page_token.to_owned(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).list_names(request).await }
        };
        self.grpc.call(ask).await
    }

    /// One page of where a name has pointed, the newest first.
    pub async fn name_history(
        &self,
        name: &PayloadName,
        page_size: u32,
        page_token: &str,
    ) -> Result<v1::ListNameHistoryResponse> {
        let request = v1::ListNameHistoryRequest {
            namespace: self.namespace.clone(),
            name: name.to_string(),
            page_size,
            page_token: page_token.to_owned(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).list_name_history(request).await }
        };
        self.grpc.call(ask).await
    }
}

/// A name with its guard, as the wire has it.
pub(crate) fn wire_naming(naming: &Naming) -> v1::Naming {
    v1::Naming {
        name: naming.name.to_string(),
        if_payload_id: match naming.guard {
            NameGuard::PointsAt(payload) => payload.to_string(),
            NameGuard::Free | NameGuard::Any => String::new(),
        },
        replace: naming.guard == NameGuard::Any,
    }
}
