//! Bad input of the services that only gRPC has.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::refusal::Refusal;
use crate::support::samples::{delete, get};

type Send = fn(&Bed, &dyn Door) -> Refusal;

fn events_after(cursor: &str) -> v1::ListEventsRequest {
    v1::ListEventsRequest {
        cursor: cursor.to_owned(),
        ..Default::default()
    }
}

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("get: an id that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.get_payload(get("../catalog.db")))
    }),
    ("get: another namespace's id", Doors::Grpc, |bed, _| {
        let request = v1::GetPayloadRequest {
            namespace: "other".to_owned(),
            ..get(&bed.stranger.put_id(b"x"))
        };
        refused(bed.grpc.get_payload(request))
    }),
    ("events: another namespace's id", Doors::Grpc, |bed, _| {
        let payload_id = bed.stranger.put_id(b"x");
        refused(bed.grpc.list_events(v1::ListEventsRequest {
            namespace: "other".to_owned(),
            payload_id,
            ..Default::default()
        }))
    }),
    ("events: an id that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_events(v1::ListEventsRequest {
            payload_id: "x".to_owned(),
            ..Default::default()
        }))
    }),
    ("events: a kind that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_events(v1::ListEventsRequest {
            kinds: vec!["COMMITTED".to_owned()],
            ..Default::default()
        }))
    }),
    ("events: 1,000 kinds", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_events(v1::ListEventsRequest {
            kinds: vec!["committed".to_owned(); 1_000],
            ..Default::default()
        }))
    }),
    ("events: a page of 1,001", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_events(v1::ListEventsRequest {
            page_size: 1_001,
            ..Default::default()
        }))
    }),
    ("events: a cursor that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_events(events_after("0.0.x' OR 1=1 --")))
    }),
    ("events: a cursor of another namespace", Doors::Grpc, |bed, _| {
        let other = v1::ListEventsRequest {
            namespace: "other".to_owned(),
            ..Default::default()
        };
        let cursor = bed.grpc.list_events(other).unwrap().cursor;
        refused(bed.grpc.list_events(events_after(&cursor)))
    }),
    ("events: a cursor of another filter", Doors::Grpc, |bed, _| {
        let other = v1::ListEventsRequest {
            kinds: vec!["committed".to_owned()],
            ..Default::default()
        };
        let cursor = bed.grpc.list_events(other).unwrap().cursor;
        refused(bed.grpc.list_events(events_after(&cursor)))
    }),
    ("events: a cursor from beyond the end", Doors::Grpc, |bed, _| {
        let cursor = bed.grpc.list_events(events_after("")).unwrap().cursor;
        let mut parts: Vec<&str> = cursor.split('.').collect();
        parts[1] = "ffffffffffffffff";
        refused(bed.grpc.list_events(events_after(&parts.join("."))))
    }),
    ("events: a namespace that is not there", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_events(v1::ListEventsRequest {
            namespace: "nobody".to_owned(),
            ..Default::default()
        }))
    }),
    ("verify: an id that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.verify_events(v1::VerifyEventsRequest {
            payload_id: "x".to_owned(),
            ..Default::default()
        }))
    }),
    ("verify: another namespace's id", Doors::Grpc, |bed, _| {
        refused(bed.grpc.verify_events(v1::VerifyEventsRequest {
            namespace: "other".to_owned(),
            payload_id: bed.stranger.put_id(b"x"),
        }))
    }),
    ("delete: another namespace's id", Doors::Grpc, |bed, _| {
        let request = v1::DeletePayloadRequest {
            namespace: "other".to_owned(),
            ..delete(&bed.stranger.put_id(b"x"))
        };
        refused(bed.grpc.delete_payload(request))
    }),
    ("delete: an allocation", Doors::Grpc, |bed, door| {
        refused(bed.grpc.delete_payload(delete(&door.allocated())))
    }),
    ("delete: a payload that is deleted", Doors::Grpc, |bed, _| {
        refused(bed.grpc.delete_payload(delete(&bed.deleted())))
    }),
    (
        "delete: a reason with a right-to-left mark",
        Doors::Grpc,
        |bed, door| {
            let request = v1::DeletePayloadRequest {
                reason: "\u{202e}x".to_owned(),
                ..delete(&door.committed())
            };
            refused(bed.grpc.delete_payload(request))
        },
    ),
    (
        "delete: a request id that was used for another payload",
        Doors::Grpc,
        |bed, door| {
            let request = |payload_id: String| v1::DeletePayloadRequest {
                request_id: "reused-delete".to_owned(),
                ..delete(&payload_id)
            };
            bed.grpc.delete_payload(request(door.committed())).unwrap();
            refused(bed.grpc.delete_payload(request(door.committed())))
        },
    ),
    ("list leases: a page token that is none", Doors::Grpc, |bed, _| {
        let page_token = "-1".to_owned();
        refused(bed.grpc.list_leases(v1::ListLeasesRequest {
            page_token,
            ..Default::default()
        }))
    }),
    ("list leases: an id that is none", Doors::Grpc, |bed, _| {
        let payload_id = "x".to_owned();
        refused(bed.grpc.list_leases(v1::ListLeasesRequest {
            payload_id,
            ..Default::default()
        }))
    }),
    ("revoke: a lease that nobody has", Doors::Grpc, |bed, _| {
        refused(bed.grpc.revoke_lease(v1::RevokeLeaseRequest {
            lease_serial: u64::MAX,
            ..Default::default()
        }))
    }),
];
