//! `label` and `expire`: what of a committed payload may change.

use payload_client::{PayloadRef, v1};

use super::{Server, show};
use crate::args::{ExpireArgs, LabelArgs};
use crate::failure::Failure;
use crate::json::{OnePayload, Payload};
use crate::output::Output;

pub(super) async fn label(server: &Server, args: LabelArgs, output: &Output) -> Result<(), Failure> {
    let request = v1::UpdatePayloadRequest {
        update_mask: args.edits.iter().map(|edit| format!("labels.{}", edit.key)).collect(),
        if_version: args.if_version,
        labels: args
            .edits
            .into_iter()
            .filter_map(|edit| Some((edit.key, edit.value?)))
            .collect(),
        ..Default::default()
    };
    update(server, "label", args.id, request, output).await
}

pub(super) async fn expire(server: &Server, args: ExpireArgs, output: &Output) -> Result<(), Failure> {
    let in_ms = |after: std::time::Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let request = v1::UpdatePayloadRequest {
        update_mask: vec!["expiry".to_owned()],
        expires_in_ms: args.expiry.after.map(in_ms),
        expires_at_us: args.expiry.at,
        if_version: args.if_version,
        ..Default::default()
    };
    update(server, "expire", args.id, request, output).await
}

async fn update(
    server: &Server,
    what: &str,
    payload: PayloadRef,
    request: v1::UpdatePayloadRequest,
    output: &Output,
) -> Result<(), Failure> {
    let updated = server.catalog().update(payload.clone(), request).await;
    let updated = updated.map_err(|error| Failure::new(format!("{what} {payload}"), &error))?;
    let document = OnePayload {
        payload: Payload::from(updated),
    };
    output.print(&document, |_| show::fields(&document.payload, &[]))
}
