//! Bad input of updates: masks that fit nothing, values that nobody asked for, payloads that change no more.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::refusal::{Answer, Refusal};

type Send = fn(&Bed, &dyn Door) -> Refusal;

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("update: no mask", Doors::Grpc, |bed, door| {
        refused(update(bed, &door.committed(), &[], &[]))
    }),
    ("update: a mask of 66 fields", Doors::Grpc, |bed, door| {
        refused(update(bed, &door.committed(), &["expiry"; 66], &[]))
    }),
    ("update: a field that there is not", Doors::Grpc, |bed, door| {
        refused(update(bed, &door.committed(), &["size"], &[]))
    }),
    ("update: all labels, and one of them", Doors::Grpc, |bed, door| {
        refused(update(bed, &door.committed(), &["labels", "labels.a"], &[]))
    }),
    (
        "update: a label that the mask does not name",
        Doors::Grpc,
        |bed, door| refused(update(bed, &door.committed(), &["labels.a"], &[("b", "1")])),
    ),
    ("update: a label key with a space", Doors::Grpc, |bed, door| {
        refused(update(bed, &door.committed(), &["labels.a b"], &[]))
    }),
    ("update: a label value with a NUL", Doors::Grpc, |bed, door| {
        refused(update(bed, &door.committed(), &["labels"], &[("a", "\0")]))
    }),
    ("update: labels beyond the 32nd", Doors::Grpc, |bed, door| {
        let id = door.committed();
        let keys: Vec<String> = (0..33).map(|number| format!("k{number}")).collect();
        let full: Vec<(&str, &str)> = keys[..32].iter().map(|key| (&**key, "")).collect();
        update(bed, &id, &["labels"], &full).unwrap();
        refused(update(bed, &id, &["labels.k32"], &[("k32", "")]))
    }),
    (
        "update: an expiry that the mask does not name",
        Doors::Grpc,
        |bed, door| {
            refused(bed.grpc.update_payload(v1::UpdatePayloadRequest {
                expires_in_ms: Some(1),
                ..request(&door.committed(), &["labels"], &[])
            }))
        },
    ),
    (
        "update: an expiry at a time and after a time",
        Doors::Grpc,
        |bed, door| {
            refused(bed.grpc.update_payload(v1::UpdatePayloadRequest {
                expires_in_ms: Some(1),
                expires_at_us: Some(1),
                ..request(&door.committed(), &["expiry"], &[])
            }))
        },
    ),
    ("update: an expiry in 0 ms", Doors::Grpc, |bed, door| {
        refused(bed.grpc.update_payload(v1::UpdatePayloadRequest {
            expires_in_ms: Some(0),
            ..request(&door.committed(), &["expiry"], &[])
        }))
    }),
    ("update: an expiry before 1970", Doors::Grpc, |bed, door| {
        refused(bed.grpc.update_payload(v1::UpdatePayloadRequest {
            expires_at_us: Some(i64::MIN),
            ..request(&door.committed(), &["expiry"], &[])
        }))
    }),
    ("update: an expiry at the end of time", Doors::Grpc, |bed, door| {
        refused(bed.grpc.update_payload(v1::UpdatePayloadRequest {
            expires_at_us: Some(i64::MAX),
            ..request(&door.committed(), &["expiry"], &[])
        }))
    }),
    ("update: at a version that it never had", Doors::Grpc, |bed, door| {
        refused(bed.grpc.update_payload(v1::UpdatePayloadRequest {
            if_version: Some(u64::MAX),
            ..request(&door.committed(), &["labels"], &[])
        }))
    }),
    ("update: an allocation", Doors::Grpc, |bed, door| {
        refused(update(bed, &door.allocated(), &["labels"], &[]))
    }),
    ("update: a payload that is deleted", Doors::Grpc, |bed, _| {
        refused(update(bed, &bed.deleted(), &["labels"], &[]))
    }),
    ("update: another namespace's id", Doors::Grpc, |bed, door| {
        refused(bed.grpc.update_payload(v1::UpdatePayloadRequest {
            namespace: "other".to_owned(),
            ..request(&door.committed(), &["labels"], &[])
        }))
    }),
];

fn request(payload_id: &str, mask: &[&str], labels: &[(&str, &str)]) -> v1::UpdatePayloadRequest {
    v1::UpdatePayloadRequest {
        payload_id: payload_id.to_owned(),
        update_mask: mask.iter().map(|word| (*word).to_owned()).collect(),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Default::default()
    }
}

fn update(bed: &Bed, payload_id: &str, mask: &[&str], labels: &[(&str, &str)]) -> Answer<v1::UpdatePayloadResponse> {
    bed.grpc.update_payload(request(payload_id, mask, labels))
}
