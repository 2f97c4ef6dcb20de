//! Metadata and an application's own events: a thin layer over the catalog service.

use payload_core::{PayloadRef, Result};
use payload_proto::v1;
use payload_proto::v1::catalog_service_client::CatalogServiceClient;
pub use payload_proto::v1::put_metadata_request::Change as MetadataChange;

use crate::catalog::Catalog;
use crate::request_id::RequestIds;

/// How metadata is to be changed.
#[derive(Clone, Debug, Default)]
pub struct MetadataOptions {
    /// Only if this is the latest revision; zero: only if there is none.
    pub if_revision: Option<u64>,
    /// Kept with the revision.
    pub reason: String,
}

impl Catalog {
    /// One revision of a payload's metadata; the latest, if none is named.
    pub async fn metadata(
        &self,
        payload: impl Into<PayloadRef>,
        revision: Option<u64>,
    ) -> Result<v1::GetMetadataResponse> {
        let request = v1::GetMetadataRequest {
            namespace: self.namespace.clone(),
            payload_id: payload.into().to_string(),
            revision: revision.unwrap_or_default(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).get_metadata(request).await }
        };
        self.grpc.call(ask).await
    }

    /// One page of the revisions that are kept, without their bytes, the first first.
    pub async fn metadata_history(
        &self,
        payload: impl Into<PayloadRef>,
        page_size: u32,
        page_token: &str,
    ) -> Result<v1::ListMetadataHistoryResponse> {
        let request = v1::ListMetadataHistoryRequest {
            namespace: self.namespace.clone(),
            payload_id: payload.into().to_string(),
            page_size,
            page_token: page_token.to_owned(),
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).list_metadata_history(request).await }
        };
        self.grpc.call(ask).await
    }

    /// Replaces or patches a payload's metadata by a new revision.
    pub async fn put_metadata(
        &self,
        payload: impl Into<PayloadRef>,
        change: MetadataChange,
        options: MetadataOptions,
    ) -> Result<v1::PutMetadataResponse> {
        let request = v1::PutMetadataRequest {
            namespace: self.namespace.clone(),
            request_id: RequestIds::new()?.next(),
            payload_id: payload.into().to_string(),
            change: Some(change),
            if_revision: options.if_revision,
            reason: options.reason,
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).put_metadata(request).await }
        };
        self.grpc.call(ask).await
    }

    /// Notes an application's own event in a payload's history.
    pub async fn append_event(
        &self,
        payload: impl Into<PayloadRef>,
        note: v1::EventNote,
        reason: String,
    ) -> Result<v1::AppendEventResponse> {
        let request = v1::AppendEventRequest {
            namespace: self.namespace.clone(),
            request_id: RequestIds::new()?.next(),
            payload_id: payload.into().to_string(),
            note: Some(note),
            reason,
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).append_event(request).await }
        };
        self.grpc.call(ask).await
    }
}
