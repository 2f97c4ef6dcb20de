//! Bad input about names: texts that are none, names that point elsewhere, payloads that get none.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::refusal::{Answer, Refusal};
use crate::support::samples::{acquire, delete, get, put};

type Send = fn(&Bed, &dyn Door) -> Refusal;

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("acquire: a name that points at nothing", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&["name:nothing"])))
    }),
    ("acquire: a name that is a path", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&["name:../../etc/passwd"])))
    }),
    ("acquire: a name without its prefix", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&["camera/left"])))
    }),
    ("put: a name with a NUL", Doors::Both, |_, door| {
        refused(put_named(door, "a\0b", "", false))
    }),
    ("put: a name with a right-to-left mark", Doors::Both, |_, door| {
        refused(put_named(door, "a\u{202e}b", "", false))
    }),
    ("put: a name of 100,000 letters", Doors::Both, |_, door| {
        refused(put_named(door, &"n".repeat(100_000), "", false))
    }),
    ("put: a name that is taken", Doors::Both, |_, door| {
        put_named(door, "taken", "", true).unwrap();
        refused(put_named(door, "taken", "", false))
    }),
    ("put: a name that points elsewhere", Doors::Both, |_, door| {
        put_named(door, "moved", "", true).unwrap();
        refused(put_named(door, "moved", &door.committed(), false))
    }),
    (
        "put: a name that points at nothing, if it points somewhere",
        Doors::Both,
        |_, door| refused(put_named(door, "nothing", &door.committed(), false)),
    ),
    (
        "put: a name to be replaced whatever and only if",
        Doors::Both,
        |_, door| refused(put_named(door, "torn", &door.committed(), true)),
    ),
    ("get: a name that points at nothing", Doors::Grpc, |bed, _| {
        refused(bed.grpc.get_payload(get("name:nothing")))
    }),
    ("delete: a name that points at nothing", Doors::Grpc, |bed, _| {
        refused(bed.grpc.delete_payload(delete("name:nothing")))
    }),
    ("set name: an allocation", Doors::Grpc, |bed, door| {
        refused(set_name(bed, "early", &door.allocated()))
    }),
    ("set name: a payload that is deleted", Doors::Grpc, |bed, _| {
        refused(set_name(bed, "late", &bed.deleted()))
    }),
    ("set name: a payload that nobody knows", Doors::Grpc, |bed, _| {
        refused(set_name(bed, "unknown", "0190a5c4-7d2f-7cc1-8b5e-2f1d3c4b5a69"))
    }),
    ("set name: no name", Doors::Grpc, |bed, door| {
        refused(bed.grpc.set_name(v1::SetNameRequest {
            payload_id: door.committed(),
            ..Default::default()
        }))
    }),
    ("remove name: one that points at nothing", Doors::Grpc, |bed, _| {
        refused(remove_name(bed, "nothing", ""))
    }),
    ("remove name: one that points elsewhere", Doors::Grpc, |bed, door| {
        put_named(door, "stays", "", true).unwrap();
        refused(remove_name(bed, "stays", &door.committed()))
    }),
    ("get name: one that points at nothing", Doors::Grpc, |bed, _| {
        refused(bed.grpc.get_name(v1::GetNameRequest {
            name: "nothing".to_owned(),
            ..Default::default()
        }))
    }),
    ("list names: a prefix with a wildcard", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_names(v1::ListNamesRequest {
            prefix: "a%".to_owned(),
            ..Default::default()
        }))
    }),
    ("list names: a page token of another query", Doors::Grpc, |bed, door| {
        for name in ["p/1", "p/2"] {
            put_named(door, name, "", true).unwrap();
        }
        let first = v1::ListNamesRequest {
            prefix: "p/".to_owned(),
            page_size: 1,
            ..Default::default()
        };
        let page_token = bed.grpc.list_names(first).unwrap().next_page_token;
        refused(bed.grpc.list_names(v1::ListNamesRequest {
            page_token,
            ..Default::default()
        }))
    }),
    ("name history: one that was never given", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_name_history(v1::ListNameHistoryRequest {
            name: "nothing".to_owned(),
            ..Default::default()
        }))
    }),
];

fn put_named(door: &dyn Door, name: &str, if_payload_id: &str, replace: bool) -> Answer<v1::PutResponse> {
    door.put(v1::PutRequest {
        naming: Some(v1::Naming {
            name: name.to_owned(),
            if_payload_id: if_payload_id.to_owned(),
            replace,
        }),
        ..put(b"x")
    })
}

fn set_name(bed: &Bed, name: &str, payload_id: &str) -> Answer<v1::SetNameResponse> {
    bed.grpc.set_name(v1::SetNameRequest {
        payload_id: payload_id.to_owned(),
        naming: Some(v1::Naming {
            name: name.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn remove_name(bed: &Bed, name: &str, if_payload_id: &str) -> Answer<v1::RemoveNameResponse> {
    bed.grpc.remove_name(v1::RemoveNameRequest {
        name: name.to_owned(),
        if_payload_id: if_payload_id.to_owned(),
        ..Default::default()
    })
}
