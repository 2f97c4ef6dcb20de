//! Bad input of the calls about where bytes are.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::refusal::Refusal;

type Send = fn(&Bed, &dyn Door) -> Refusal;

fn explain(payload_id: &str) -> v1::ExplainRequest {
    v1::ExplainRequest {
        payload_id: payload_id.to_owned(),
        ..Default::default()
    }
}

fn verify(payload_id: &str) -> v1::VerifyBytesRequest {
    v1::VerifyBytesRequest {
        payload_id: payload_id.to_owned(),
        ..Default::default()
    }
}

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("explain: an id that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.explain(explain("../catalog.db")))
    }),
    ("cancel a transfer: an id that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.cancel_transfer(v1::CancelTransferRequest {
            payload_id: "../x".to_owned(),
            ..Default::default()
        }))
    }),
    ("verify bytes: an id that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.verify_bytes(verify("x")))
    }),
    ("verify bytes: an allocation", Doors::Grpc, |bed, door| {
        refused(bed.grpc.verify_bytes(verify(&door.allocated())))
    }),
    ("verify bytes: a namespace that is not there", Doors::Grpc, |bed, _| {
        refused(bed.grpc.verify_bytes(v1::VerifyBytesRequest {
            namespace: "nowhere".to_owned(),
            ..verify("")
        }))
    }),
    ("explain: a name that nobody gave", Doors::Grpc, |bed, _| {
        refused(bed.grpc.explain(explain("name:nobody")))
    }),
    ("explain: another namespace's id", Doors::Grpc, |bed, _| {
        refused(bed.grpc.explain(v1::ExplainRequest {
            namespace: "other".to_owned(),
            ..explain(&bed.stranger.put_id(b"x"))
        }))
    }),
];
