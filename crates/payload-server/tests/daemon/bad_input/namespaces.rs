//! Bad input about namespaces: names that are none, those that are not there, those that must stay.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::refusal::Refusal;
use crate::support::samples::{allocate, put};

type Send = fn(&Bed, &dyn Door) -> Refusal;

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("put: a namespace that is not there", Doors::Both, |_, door| {
        let namespace = "nowhere".to_owned();
        refused(door.put(v1::PutRequest { namespace, ..put(b"x") }))
    }),
    ("allocate: a namespace that is not there", Doors::Both, |_, door| {
        let namespace = "nowhere".to_owned();
        refused(door.allocate(v1::AllocateRequest {
            namespace,
            ..allocate(100)
        }))
    }),
    ("put: more payloads than the quota", Doors::Both, |bed, door| {
        let namespace = full(bed, 0, 1 << 30);
        refused(door.put(v1::PutRequest { namespace, ..put(b"x") }))
    }),
    ("allocate: more bytes than the quota", Doors::Both, |bed, door| {
        let namespace = full(bed, 10, 4_096);
        refused(door.allocate(v1::AllocateRequest {
            namespace,
            ..allocate(5_000)
        }))
    }),
    ("list: a namespace that is not there", Doors::Grpc, |bed, _| {
        let namespace = "nowhere".to_owned();
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest {
            namespace,
            ..Default::default()
        }))
    }),
    ("create namespace: a name that is a path", Doors::Grpc, |bed, _| {
        refused(create(bed, "../x", None))
    }),
    ("create namespace: no name", Doors::Grpc, |bed, _| {
        refused(create(bed, "", None))
    }),
    ("create namespace: a name of 64 letters", Doors::Grpc, |bed, _| {
        refused(create(bed, &"n".repeat(64), None))
    }),
    ("create namespace: one that is there", Doors::Grpc, |bed, _| {
        refused(create(bed, "default", None))
    }),
    (
        "create namespace: a quota of all bytes there are",
        Doors::Grpc,
        |bed, _| refused(create(bed, "greedy", Some(u64::MAX))),
    ),
    ("get namespace: one that is not there", Doors::Grpc, |bed, _| {
        let name = "nowhere".to_owned();
        refused(bed.grpc.get_namespace(v1::GetNamespaceRequest { name }))
    }),
    ("list namespaces: a page token that is none", Doors::Grpc, |bed, _| {
        let page_token = "' OR 1=1 --".to_owned();
        refused(bed.grpc.list_namespaces(v1::ListNamespacesRequest {
            page_token,
            ..Default::default()
        }))
    }),
    ("update namespace: one that is not there", Doors::Grpc, |bed, _| {
        refused(update(bed, "nowhere", None))
    }),
    (
        "update namespace: at a version that it never had",
        Doors::Grpc,
        |bed, _| refused(update(bed, "other", Some(u64::MAX))),
    ),
    ("delete namespace: one that is not there", Doors::Grpc, |bed, _| {
        refused(delete(bed, "nowhere", None))
    }),
    ("delete namespace: the default one", Doors::Grpc, |bed, _| {
        refused(delete(bed, "default", None))
    }),
    (
        "delete namespace: at a version that it never had",
        Doors::Grpc,
        |bed, _| refused(delete(bed, "other", Some(7))),
    ),
    (
        "delete namespace: one with a payload in it",
        Doors::Grpc,
        |bed, door| {
            let namespace = "other".to_owned();
            door.put(v1::PutRequest { namespace, ..put(b"x") }).unwrap();
            refused(delete(bed, "other", None))
        },
    ),
];

type Answer<T> = crate::support::refusal::Answer<T>;

fn create(bed: &Bed, name: &str, bytes: Option<u64>) -> Answer<v1::CreateNamespaceResponse> {
    bed.grpc.create_namespace(v1::CreateNamespaceRequest {
        name: name.to_owned(),
        quota: Some(v1::Quota { bytes, payloads: None }),
    })
}

fn update(bed: &Bed, name: &str, if_version: Option<u64>) -> Answer<v1::UpdateNamespaceResponse> {
    bed.grpc.update_namespace(v1::UpdateNamespaceRequest {
        name: name.to_owned(),
        quota: None,
        if_version,
    })
}

fn delete(bed: &Bed, name: &str, if_version: Option<u64>) -> Answer<v1::DeleteNamespaceResponse> {
    bed.grpc.delete_namespace(v1::DeleteNamespaceRequest {
        name: name.to_owned(),
        if_version,
    })
}

/// A namespace with so little room, made on first use.
fn full(bed: &Bed, payloads: u64, bytes: u64) -> String {
    let name = format!("full-{payloads}-{bytes}");
    let request = v1::CreateNamespaceRequest {
        name: name.clone(),
        quota: Some(v1::Quota {
            bytes: Some(bytes),
            payloads: Some(payloads),
        }),
    };
    // The other door may have made it.
    drop(bed.grpc.create_namespace(request));
    name
}
