//! Bad input of the calls about where bytes are.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::refusal::{Refusal, moved};
use crate::support::samples::{delete, to_tier};

type Send = fn(&Bed, &dyn Door) -> Refusal;

fn explain(payload_id: &str) -> v1::ExplainRequest {
    v1::ExplainRequest {
        payload_id: payload_id.to_owned(),
        ..Default::default()
    }
}

fn pin(payload_id: &str) -> v1::PinPayloadRequest {
    v1::PinPayloadRequest {
        payload_id: payload_id.to_owned(),
        ..Default::default()
    }
}

fn pin_for(bed: &Bed, door: &dyn Door, term_ms: u64) -> Refusal {
    refused(bed.grpc.pin_payload(v1::PinPayloadRequest {
        term_ms: Some(term_ms),
        ..pin(&door.committed())
    }))
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
    ("pin: an id that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.pin_payload(pin("../x")))
    }),
    ("pin: an allocation", Doors::Grpc, |bed, door| {
        refused(bed.grpc.pin_payload(pin(&door.allocated())))
    }),
    ("pin: another namespace's id", Doors::Grpc, |bed, _| {
        refused(bed.grpc.pin_payload(v1::PinPayloadRequest {
            namespace: "other".to_owned(),
            ..pin(&bed.stranger.put_id(b"x"))
        }))
    }),
    ("pin: to tier number 99", Doors::Grpc, |bed, door| {
        refused(bed.grpc.pin_payload(v1::PinPayloadRequest {
            tier: 99,
            ..pin(&door.committed())
        }))
    }),
    ("pin: to the bucket", Doors::Grpc, |bed, door| {
        refused(bed.grpc.pin_payload(v1::PinPayloadRequest {
            tier: v1::Tier::Object.into(),
            ..pin(&door.committed())
        }))
    }),
    ("pin: more than may be", Doors::Grpc, |bed, _| {
        let more_than_half = bed.local.publish(&vec![7; 33 << 20]).payload_id;
        let refusal = refused(bed.grpc.pin_payload(pin(&more_than_half)));
        bed.grpc.delete_payload(delete(&more_than_half)).unwrap();
        refusal
    }),
    ("pin: for 0 ms", Doors::Grpc, |bed, door| pin_for(bed, door, 0)),
    ("pin: for the longest time there is", Doors::Grpc, |bed, door| {
        pin_for(bed, door, u64::MAX)
    }),
    ("unpin: an id that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.unpin_payload(v1::UnpinPayloadRequest {
            payload_id: "../x".to_owned(),
            ..Default::default()
        }))
    }),
    ("spill: a payload that is pinned", Doors::Grpc, |bed, door| {
        let payload_id = door.committed();
        bed.grpc.pin_payload(pin(&payload_id)).unwrap();
        refused(moved(bed.grpc.spill(to_tier(&payload_id, v1::Tier::Disk)).unwrap()))
    }),
];
