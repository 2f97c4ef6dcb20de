//! Requests that come at the wrong time or to the wrong payload.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::map::Map;
use crate::support::refusal::Refusal;
use crate::support::samples::{abort, acquire, allocate, commit, put};

type Send = fn(&Bed, &dyn Door) -> Refusal;

const NOBODY: &str = "0190a000-0000-7000-8000-000000000000";

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("an id that nobody has", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&[NOBODY])))
    }),
    ("acquire: another namespace's id", Doors::Both, |_, door| {
        let payload_id = elsewhere(door);
        refused(door.acquire_one(acquire(&[&payload_id])))
    }),
    ("commit: another namespace's id", Doors::Both, |_, door| {
        let request = v1::AllocateRequest {
            namespace: "other".to_owned(),
            ..allocate(1)
        };
        refused(door.commit(commit(&door.allocate(request).unwrap().payload_id)))
    }),
    ("commit: a payload that is committed", Doors::Both, |_, door| {
        refused(door.commit(commit(&door.committed())))
    }),
    ("commit: an allocation that was aborted", Doors::Both, |_, door| {
        refused(door.commit(commit(&aborted(door))))
    }),
    ("commit: a payload that is deleted", Doors::Both, |bed, door| {
        refused(door.commit(commit(&bed.deleted())))
    }),
    ("commit: another session's allocation", Doors::Both, |bed, door| {
        let (allocation, _fd) = bed.stranger.allocate(allocate(1)).unwrap();
        refused(door.commit(commit(&allocation.payload_id)))
    }),
    (
        "commit: another session's allocation, with its token",
        Doors::Both,
        |bed, door| {
            let (allocation, _fd) = bed.stranger.allocate(allocate(1)).unwrap();
            let request = v1::CommitRequest {
                allocation_token: allocation.allocation_token,
                ..commit(&allocation.payload_id)
            };
            refused(door.commit(request))
        },
    ),
    ("commit: the writer's mapping is still there", Doors::Local, |bed, _| {
        let (allocation, fd) = bed.local.allocate(allocate(3 << 20)).unwrap();
        let _mapped = Map::writable(fd.unwrap(), 100).unwrap();
        refused(bed.local.commit(commit(&allocation.payload_id)))
    }),
    ("abort: a payload that is committed", Doors::Both, |_, door| {
        refused(door.abort(abort(&door.committed())))
    }),
    ("abort: an allocation that was aborted", Doors::Both, |_, door| {
        refused(door.abort(abort(&aborted(door))))
    }),
    ("abort: another session's allocation", Doors::Both, |bed, door| {
        let (allocation, _fd) = bed.stranger.allocate(allocate(1)).unwrap();
        refused(door.abort(abort(&allocation.payload_id)))
    }),
    ("acquire: an allocation", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&[&door.allocated()])))
    }),
    ("acquire: an allocation that was aborted", Doors::Both, |_, door| {
        refused(door.acquire_one(acquire(&[&aborted(door)])))
    }),
    ("acquire: a payload that is deleted", Doors::Both, |bed, door| {
        refused(door.acquire_one(acquire(&[&bed.deleted()])))
    }),
    (
        "put: a request id that was used for other bytes",
        Doors::Both,
        |_, door| {
            let request = |content| v1::PutRequest {
                request_id: "reused-put".to_owned(),
                ..put(content)
            };
            door.put(request(b"one")).unwrap();
            refused(door.put(request(b"two")))
        },
    ),
    (
        "allocate: a request id that was used for a put",
        Doors::Both,
        |_, door| {
            let request_id = "reused-allocate".to_owned();
            door.put(v1::PutRequest {
                request_id: request_id.clone(),
                ..put(b"one")
            })
            .unwrap();
            refused(door.allocate(v1::AllocateRequest {
                request_id,
                ..allocate(3)
            }))
        },
    ),
];

fn aborted(door: &dyn Door) -> String {
    let payload_id = door.allocated();
    door.abort(abort(&payload_id)).unwrap();
    payload_id
}

/// A payload in another namespace.
fn elsewhere(door: &dyn Door) -> String {
    let request = v1::PutRequest {
        namespace: "other".to_owned(),
        ..put(b"x")
    };
    door.put(request).unwrap().payload.unwrap().payload_id
}
