//! Metadata, events and their log over the wire.

use payload_proto::v1;

use crate::support::World;
use crate::support::samples::{append_event, delete, get, json, patch_metadata, put, put_metadata};

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|place| (place % 256) as u8).rev().collect()
}

#[test]
fn a_small_payload_and_the_largest_metadata_are_published_in_one_call() {
    let world = World::start();
    let grpc = world.grpc();
    let body = bytes(64 << 10);
    let request = v1::PutRequest {
        metadata: Some(v1::Document {
            content_type: "application/x-frame".to_owned(),
            body: body.clone().into(),
        }),
        ..put(&bytes(64 << 10))
    };
    let row = grpc.put(request).unwrap().payload.unwrap();
    assert_eq!((row.metadata_revision, row.version), (1, 1));
    let found = grpc
        .get_metadata(v1::GetMetadataRequest {
            payload_id: row.payload_id,
            ..Default::default()
        })
        .unwrap();
    assert!(found.body == body);
    let info = found.info.unwrap();
    assert_eq!(
        (info.revision, info.size, &*info.content_type),
        (1, 64 << 10, "application/x-frame")
    );
}

#[test]
fn revisions_are_set_patched_and_listed() {
    let world = World::start();
    let grpc = world.grpc();
    let id = grpc.put(put(b"x")).unwrap().payload.unwrap().payload_id;
    assert_eq!(
        grpc.put_metadata(put_metadata(&id, json(r#"{"a":1}"#)))
            .unwrap()
            .revision,
        1
    );
    let patched = v1::PutMetadataRequest {
        if_revision: Some(1),
        reason: "more".to_owned(),
        ..patch_metadata(&id, br#"{"b":2}"#)
    };
    assert_eq!(grpc.put_metadata(patched).unwrap().revision, 2);
    let at = |revision| {
        let request = v1::GetMetadataRequest {
            payload_id: id.clone(),
            revision,
            ..Default::default()
        };
        grpc.get_metadata(request).unwrap().body
    };
    assert_eq!((&at(0)[..], &at(1)[..]), (&br#"{"a":1,"b":2}"#[..], &br#"{"a":1}"#[..]));
    let list = v1::ListMetadataHistoryRequest {
        payload_id: id.clone(),
        ..Default::default()
    };
    let revisions = grpc.list_metadata_history(list).unwrap().revisions;
    let told: Vec<_> = revisions
        .iter()
        .map(|info| (info.revision, info.version, &*info.reason))
        .collect();
    assert_eq!(told, [(1, 2, ""), (2, 3, "more")]);
    assert_eq!(
        grpc.get_payload(get(&id)).unwrap().payload.unwrap().metadata_revision,
        2
    );
}

#[test]
fn events_say_what_changed_and_what_applications_noted() {
    let world = World::start();
    let grpc = world.grpc();
    let row = v1::PutRequest {
        labels: [("camera".to_owned(), "left".to_owned())].into(),
        ..put(b"x")
    };
    let id = grpc.put(row).unwrap().payload.unwrap().payload_id;
    let note = append_event(&id, "quality/checked", &[0, 0xff]);
    assert_eq!(grpc.append_event(note.clone()).unwrap().version, 2);
    grpc.delete_payload(delete(&id)).unwrap();
    let list = v1::ListEventsRequest {
        payload_id: id.clone(),
        page_size: 3,
        ..Default::default()
    };
    let page = grpc.list_events(list.clone()).unwrap();
    assert!(page.more);
    let rest = v1::ListEventsRequest {
        cursor: page.cursor,
        ..list
    };
    let rest = grpc.list_events(rest).unwrap();
    assert!(!rest.more);
    let [created, noted, requested] = &page.events[..] else {
        panic!("{:?}", page.events)
    };
    let edit = |event: &v1::Event, field: &str| {
        let edit = event.edits.iter().find(|edit| edit.field == field);
        edit.unwrap_or_else(|| panic!("{field}: {event:?}")).value.clone()
    };
    assert_eq!(edit(created, "labels/camera").as_deref(), Some("left"));
    assert_eq!(edit(created, "size").as_deref(), Some("1"));
    assert_eq!(edit(created, "state").as_deref(), Some("ACTIVE"));
    assert_eq!((&noted.note, noted.edits.len()), (&note.note.map(filled_in), 0));
    assert_eq!(edit(requested, "state").as_deref(), Some("DELETING"));
    let [deleted] = &rest.events[..] else {
        panic!("{:?}", rest.events)
    };
    assert!(
        deleted
            .edits
            .iter()
            .any(|edit| edit.field.starts_with("replicas/") && edit.value.is_none())
    );
    assert!(page.events.iter().all(|event| event.payload_id == id));

    let verified = grpc.verify_events(v1::VerifyEventsRequest::default()).unwrap();
    assert_eq!(verified.iter().map(|part| part.payloads).sum::<u64>(), 1);
    assert!(verified.iter().all(|part| part.faults.is_empty()));
}

/// The type that a document has if nobody names one.
fn filled_in(mut note: v1::EventNote) -> v1::EventNote {
    if let Some(document) = &mut note.document {
        "application/octet-stream".clone_into(&mut document.content_type);
    }
    note
}
