//! Bad input about metadata and applications' events.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::refusal::Refusal;
use crate::support::samples::{append_event, json, patch_metadata, put, put_metadata};

type Send = fn(&Bed, &dyn Door) -> Refusal;

const TOO_LARGE: usize = (64 << 10) + 1;

fn bytes(content_type: &str, size: usize) -> v1::Document {
    v1::Document {
        content_type: content_type.to_owned(),
        body: vec![b'x'; size].into(),
    }
}

/// A committed payload whose metadata is this.
fn described(bed: &Bed, door: &dyn Door, document: v1::Document) -> String {
    let id = door.committed();
    bed.grpc.put_metadata(put_metadata(&id, document)).unwrap();
    id
}

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("put: metadata of 64 KiB and a byte", Doors::Both, |_, door| {
        let metadata = Some(bytes("", TOO_LARGE));
        refused(door.put(v1::PutRequest { metadata, ..put(b"x") }))
    }),
    (
        "put: metadata of no content type that there is",
        Doors::Both,
        |_, door| {
            let metadata = Some(bytes("json", 1));
            refused(door.put(v1::PutRequest { metadata, ..put(b"x") }))
        },
    ),
    ("put metadata: 64 KiB and a byte", Doors::Grpc, |bed, door| {
        refused(
            bed.grpc
                .put_metadata(put_metadata(&door.committed(), bytes("", TOO_LARGE))),
        )
    }),
    (
        "put metadata: neither a document nor a patch",
        Doors::Grpc,
        |bed, door| {
            refused(bed.grpc.put_metadata(v1::PutMetadataRequest {
                change: None,
                ..put_metadata(&door.committed(), json("{}"))
            }))
        },
    ),
    (
        "put metadata: a content type without a subtype",
        Doors::Grpc,
        |bed, door| {
            refused(
                bed.grpc
                    .put_metadata(put_metadata(&door.committed(), bytes("text/", 1))),
            )
        },
    ),
    (
        "put metadata: a content type with a line break",
        Doors::Grpc,
        |bed, door| {
            let document = bytes("text/plain\r\nx: y", 1);
            refused(bed.grpc.put_metadata(put_metadata(&door.committed(), document)))
        },
    ),
    ("put metadata: a content type of 128 bytes", Doors::Grpc, |bed, door| {
        let document = bytes(&format!("a/{}", "b".repeat(126)), 1);
        refused(bed.grpc.put_metadata(put_metadata(&door.committed(), document)))
    }),
    (
        "put metadata: another revision than the latest",
        Doors::Grpc,
        |bed, door| {
            let id = described(bed, door, json("{}"));
            refused(bed.grpc.put_metadata(v1::PutMetadataRequest {
                if_revision: Some(7),
                ..put_metadata(&id, json("1"))
            }))
        },
    ),
    (
        "put metadata: only if there is none, and there is",
        Doors::Grpc,
        |bed, door| {
            let id = described(bed, door, json("{}"));
            refused(bed.grpc.put_metadata(v1::PutMetadataRequest {
                if_revision: Some(0),
                ..put_metadata(&id, json("1"))
            }))
        },
    ),
    ("put metadata: another namespace's id", Doors::Grpc, |bed, _| {
        refused(bed.grpc.put_metadata(v1::PutMetadataRequest {
            namespace: "other".to_owned(),
            ..put_metadata(&bed.stranger.put_id(b"x"), json("1"))
        }))
    }),
    (
        "put metadata: a payload that is not committed",
        Doors::Grpc,
        |bed, door| {
            let id = door.allocated();
            refused(bed.grpc.put_metadata(put_metadata(&id, json("1"))))
        },
    ),
    ("put metadata: a payload that is deleted", Doors::Grpc, |bed, _| {
        refused(bed.grpc.put_metadata(put_metadata(&bed.deleted(), json("1"))))
    }),
    (
        "put metadata: a request id that was used for another document",
        Doors::Grpc,
        |bed, door| {
            let id = door.committed();
            let request = |text: &str| v1::PutMetadataRequest {
                request_id: "reused-metadata".to_owned(),
                ..put_metadata(&id, json(text))
            };
            bed.grpc.put_metadata(request("1")).unwrap();
            refused(bed.grpc.put_metadata(request("2")))
        },
    ),
    ("patch metadata: what is not JSON", Doors::Grpc, |bed, door| {
        let id = described(bed, door, json("{}"));
        refused(bed.grpc.put_metadata(patch_metadata(&id, b"{\"a\":")))
    }),
    ("patch metadata: nested 10,000 deep", Doors::Grpc, |bed, door| {
        let id = described(bed, door, json("{}"));
        let patch = "[".repeat(10_000) + &"]".repeat(10_000);
        refused(bed.grpc.put_metadata(patch_metadata(&id, patch.as_bytes())))
    }),
    ("patch metadata: 64 KiB and a byte", Doors::Grpc, |bed, door| {
        let id = described(bed, door, json("{}"));
        refused(bed.grpc.put_metadata(patch_metadata(&id, &vec![b' '; TOO_LARGE])))
    }),
    (
        "patch metadata: larger than 64 KiB with what is there",
        Doors::Grpc,
        |bed, door| {
            let half = |name: &str| format!("{{\"{name}\":\"{}\"}}", "x".repeat(40_000));
            let id = described(bed, door, json(&half("a")));
            refused(bed.grpc.put_metadata(patch_metadata(&id, half("b").as_bytes())))
        },
    ),
    ("patch metadata: of another type than JSON", Doors::Grpc, |bed, door| {
        let id = described(bed, door, bytes("text/plain", 1));
        refused(bed.grpc.put_metadata(patch_metadata(&id, b"{}")))
    }),
    ("patch metadata: of JSON that is none", Doors::Grpc, |bed, door| {
        let id = described(bed, door, json("{\"a\""));
        refused(bed.grpc.put_metadata(patch_metadata(&id, b"{}")))
    }),
    ("get metadata: a payload that is not there", Doors::Grpc, |bed, _| {
        refused(bed.grpc.get_metadata(v1::GetMetadataRequest {
            payload_id: "0190a5c4-7d2f-7cc1-8b5e-2f1d3c4b5a69".to_owned(),
            ..Default::default()
        }))
    }),
    ("get metadata: there is none", Doors::Grpc, |bed, door| {
        refused(bed.grpc.get_metadata(v1::GetMetadataRequest {
            payload_id: door.committed(),
            ..Default::default()
        }))
    }),
    ("get metadata: a revision to come", Doors::Grpc, |bed, door| {
        refused(bed.grpc.get_metadata(v1::GetMetadataRequest {
            payload_id: described(bed, door, json("{}")),
            revision: u64::MAX,
            ..Default::default()
        }))
    }),
    ("get metadata: another namespace's id", Doors::Grpc, |bed, _| {
        refused(bed.grpc.get_metadata(v1::GetMetadataRequest {
            namespace: "other".to_owned(),
            payload_id: bed.stranger.put_id(b"x"),
            ..Default::default()
        }))
    }),
    ("list metadata history: a page of 1,001", Doors::Grpc, |bed, door| {
        refused(bed.grpc.list_metadata_history(v1::ListMetadataHistoryRequest {
            payload_id: door.committed(),
            page_size: 1_001,
            ..Default::default()
        }))
    }),
    (
        "list metadata history: a page token of another payload",
        Doors::Grpc,
        |bed, door| {
            let id = described(bed, door, json("{}"));
            bed.grpc.put_metadata(put_metadata(&id, json("1"))).unwrap();
            let page = |payload_id: String, page_token: String| v1::ListMetadataHistoryRequest {
                payload_id,
                page_size: 1,
                page_token,
                ..Default::default()
            };
            let token = bed
                .grpc
                .list_metadata_history(page(id, String::new()))
                .unwrap()
                .next_page_token;
            refused(bed.grpc.list_metadata_history(page(door.committed(), token)))
        },
    ),
    ("append event: a type with a space", Doors::Grpc, |bed, door| {
        refused(bed.grpc.append_event(append_event(&door.committed(), "a b", b"")))
    }),
    ("append event: a type of 64 letters", Doors::Grpc, |bed, door| {
        refused(
            bed.grpc
                .append_event(append_event(&door.committed(), &"a".repeat(64), b"")),
        )
    }),
    ("append event: nothing to note", Doors::Grpc, |bed, door| {
        refused(bed.grpc.append_event(v1::AppendEventRequest {
            note: None,
            ..append_event(&door.committed(), "a", b"")
        }))
    }),
    ("append event: 64 KiB and a byte", Doors::Grpc, |bed, door| {
        refused(
            bed.grpc
                .append_event(append_event(&door.committed(), "a", &vec![0; TOO_LARGE])),
        )
    }),
    ("append event: another namespace's id", Doors::Grpc, |bed, _| {
        refused(bed.grpc.append_event(v1::AppendEventRequest {
            namespace: "other".to_owned(),
            ..append_event(&bed.stranger.put_id(b"x"), "a", b"")
        }))
    }),
];
