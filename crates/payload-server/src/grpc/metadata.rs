//! Metadata and applications' events from the wire.

use std::sync::Arc;

use payload_core::{Error, Reason, Result, limits, name};
use payload_engine::{AppendEventRequest, MetadataChange, PutMetadataRequest};
use payload_proto::convert::{event, id, metadata, namespace, request_id};
use payload_proto::v1;
use payload_proto::v1::put_metadata_request::Change;

pub(super) fn put(request: v1::PutMetadataRequest) -> Result<PutMetadataRequest> {
    Ok(PutMetadataRequest {
        namespace: namespace(&request.namespace)?,
        payload: id(&request.payload_id)?,
        request_id: request_id(&request.request_id)?,
        change: change(request.change)?,
        if_revision: metadata::if_revision(request.if_revision),
        reason: name::reason(&request.reason)?,
    })
}

fn change(change: Option<Change>) -> Result<MetadataChange> {
    match change {
        Some(Change::Document(document)) => Ok(MetadataChange::Replace(metadata::document(document)?)),
        Some(Change::MergePatch(patch)) if patch.len() > limits::DOCUMENT_SIZE_MAX => {
            let most = limits::DOCUMENT_SIZE_MAX;
            let message = format!("a patch has at most {most} bytes, not {}", patch.len());
            Err(Error::invalid(Reason::BadSize, message).field("merge_patch"))
        }
        Some(Change::MergePatch(patch)) => Ok(MetadataChange::Patch(patch)),
        None => {
            let message = "metadata is changed by a document or by a merge patch";
            Err(Error::invalid(Reason::BadRequest, message).field("document"))
        }
    }
}

pub(super) fn append(request: v1::AppendEventRequest) -> Result<AppendEventRequest> {
    Ok(AppendEventRequest {
        namespace: namespace(&request.namespace)?,
        payload: id(&request.payload_id)?,
        request_id: request_id(&request.request_id)?,
        note: Arc::new(event::note(request.note)?),
        reason: name::reason(&request.reason)?,
    })
}
