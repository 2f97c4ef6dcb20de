//! Bad lineage (fault 50), with a commit or a put by either door and with the calls of its own.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::refusal::Refusal;
use crate::support::samples::{add_lineage, commit, delete, derivation, get_lineage, put};

type Send = fn(&Bed, &dyn Door) -> Refusal;

const NOBODY: &str = "0190a000-0000-7000-8000-000000000000";

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("put: a parent that nobody has", Doors::Both, |_, door| {
        made_from(door, derivation(&[NOBODY]))
    }),
    ("put: a parent of another namespace", Doors::Both, |bed, door| {
        let request = v1::PutRequest {
            namespace: "other".to_owned(),
            ..put(b"x")
        };
        let parent = bed.stranger.put(request).unwrap().payload.unwrap().payload_id;
        made_from(door, derivation(&[&parent]))
    }),
    ("put: a parent that is not committed", Doors::Both, |_, door| {
        made_from(door, derivation(&[&door.allocated()]))
    }),
    ("put: a parent that is no id", Doors::Both, |_, door| {
        made_from(door, derivation(&["../catalog.db"]))
    }),
    ("put: lineage without parents", Doors::Both, |_, door| {
        made_from(door, derivation(&[]))
    }),
    ("put: 257 parents", Doors::Both, |_, door| {
        made_from(door, derivation(&[&*door.committed(); 257]))
    }),
    ("put: lineage without an operation", Doors::Both, |_, door| {
        let lineage = v1::Derivation {
            operation: String::new(),
            ..derivation(&[&door.committed()])
        };
        made_from(door, lineage)
    }),
    ("put: an operation of 129 bytes", Doors::Both, |_, door| {
        let lineage = v1::Derivation {
            operation: "o".repeat(129),
            ..derivation(&[&door.committed()])
        };
        made_from(door, lineage)
    }),
    ("put: a role with a right-to-left mark", Doors::Both, |_, door| {
        let mut lineage = derivation(&[&door.committed()]);
        lineage.parents[0].role = "\u{202e}x".to_owned();
        made_from(door, lineage)
    }),
    ("put: parameters of 4 KiB and a byte", Doors::Both, |_, door| {
        let lineage = v1::Derivation {
            parameters: vec![0; (4 << 10) + 1],
            ..derivation(&[&door.committed()])
        };
        made_from(door, lineage)
    }),
    ("commit: a payload made from itself", Doors::Both, |_, door| {
        let own = door.allocated();
        let request = v1::CommitRequest {
            lineage: Some(derivation(&[&own])),
            ..commit(&own)
        };
        refused(door.commit(request))
    }),
    ("add lineage: a payload made from itself", Doors::Grpc, |bed, door| {
        let own = door.committed();
        refused(bed.grpc.add_lineage(add_lineage(&own, &[&own])))
    }),
    ("add lineage: a circle", Doors::Grpc, |bed, door| {
        let [one, two, three] = [(); 3].map(|()| door.committed());
        bed.grpc.add_lineage(add_lineage(&two, &[&one])).unwrap();
        bed.grpc.add_lineage(add_lineage(&three, &[&two])).unwrap();
        refused(bed.grpc.add_lineage(add_lineage(&one, &[&three])))
    }),
    ("add lineage: an allocation", Doors::Grpc, |bed, door| {
        refused(
            bed.grpc
                .add_lineage(add_lineage(&door.allocated(), &[&door.committed()])),
        )
    }),
    ("add lineage: no lineage", Doors::Grpc, |bed, door| {
        let request = v1::AddLineageRequest {
            lineage: None,
            ..add_lineage(&door.committed(), &[])
        };
        refused(bed.grpc.add_lineage(request))
    }),
    ("add lineage: another namespace's id", Doors::Grpc, |bed, door| {
        let request = v1::AddLineageRequest {
            namespace: "other".to_owned(),
            ..add_lineage(&door.committed(), &[&door.committed()])
        };
        refused(bed.grpc.add_lineage(request))
    }),
    ("lineage: another namespace's id", Doors::Grpc, |bed, door| {
        let request = v1::GetLineageRequest {
            namespace: "other".to_owned(),
            ..looked(&door.committed())
        };
        refused(bed.grpc.get_lineage(request))
    }),
    ("lineage: scope number 99", Doors::Grpc, |bed, door| {
        let request = v1::GetLineageRequest {
            scope: 99,
            ..looked(&door.committed())
        };
        refused(bed.grpc.get_lineage(request))
    }),
    ("lineage: a depth of 1,001", Doors::Grpc, |bed, door| {
        let request = v1::GetLineageRequest {
            depth: 1_001,
            ..looked(&door.committed())
        };
        refused(bed.grpc.get_lineage(request))
    }),
    ("lineage: a page of 10,001", Doors::Grpc, |bed, door| {
        let request = v1::GetLineageRequest {
            page_size: 10_001,
            ..looked(&door.committed())
        };
        refused(bed.grpc.get_lineage(request))
    }),
    ("lineage: a page token that is none", Doors::Grpc, |bed, door| {
        let request = v1::GetLineageRequest {
            page_token: "x' OR 1=1 --".to_owned(),
            ..looked(&door.committed())
        };
        refused(bed.grpc.get_lineage(request))
    }),
    ("lineage: a page token of another query", Doors::Grpc, |bed, door| {
        let (child, page_token) = second_page(bed, door);
        let request = v1::GetLineageRequest {
            page_token,
            depth: 7,
            ..looked(&child)
        };
        refused(bed.grpc.get_lineage(request))
    }),
    (
        "lineage: a page of a graph that has grown before it",
        Doors::Grpc,
        |bed, door| {
            let first = door.committed();
            let (child, page_token) = second_page(bed, door);
            bed.grpc.add_lineage(add_lineage(&child, &[&first])).unwrap();
            let request = v1::GetLineageRequest {
                page_token,
                ..looked(&child)
            };
            refused(bed.grpc.get_lineage(request))
        },
    ),
    ("impact: another namespace's id", Doors::Grpc, |bed, door| {
        refused(bed.grpc.get_impact(v1::GetImpactRequest {
            namespace: "other".to_owned(),
            payload_id: door.committed(),
            ..Default::default()
        }))
    }),
    ("impact: a page of 1,001", Doors::Grpc, |bed, door| {
        refused(bed.grpc.get_impact(v1::GetImpactRequest {
            payload_id: door.committed(),
            page_size: 1_001,
            ..Default::default()
        }))
    }),
    ("delete: treatment number 99 of dependents", Doors::Grpc, |bed, door| {
        let request = v1::DeletePayloadRequest {
            dependents: 99,
            ..delete(&door.committed())
        };
        refused(bed.grpc.delete_payload(request))
    }),
    (
        "delete: a payload with a live descendant, if none may be",
        Doors::Grpc,
        |bed, door| {
            let [parent, child] = [(); 2].map(|()| door.committed());
            bed.grpc.add_lineage(add_lineage(&child, &[&parent])).unwrap();
            let request = v1::DeletePayloadRequest {
                dependents: v1::OnDependents::Refuse.into(),
                ..delete(&parent)
            };
            refused(bed.grpc.delete_payload(request))
        },
    ),
];

fn made_from(door: &dyn Door, lineage: v1::Derivation) -> Refusal {
    let request = v1::PutRequest {
        lineage: Some(lineage),
        ..put(b"x")
    };
    refused(door.put(request))
}

fn looked(payload_id: &str) -> v1::GetLineageRequest {
    get_lineage(payload_id, v1::LineageScope::Up)
}

/// A child of two parents, and where the page of the second one begins.
fn second_page(bed: &Bed, door: &dyn Door) -> (String, String) {
    let [one, two, child] = [(); 3].map(|()| door.committed());
    bed.grpc.add_lineage(add_lineage(&child, &[&one, &two])).unwrap();
    let request = v1::GetLineageRequest {
        page_size: 1,
        ..looked(&child)
    };
    (child, bed.grpc.get_lineage(request).unwrap().next_page_token)
}
