//! Metadata: revisions that are set, patched, compared and read again, and what applications note.

use std::sync::Arc;

use payload_core::{
    ContentType, Document, Durability, EventKind, Namespace, Note, PayloadId, Reason, Revision, StateKind, Tier,
};
use payload_engine::{AppendEventRequest, MetadataChange, PutMetadataRequest, PutRequest};

use crate::common::calls::{allocate_request, fill, put_request};
use crate::common::{Backend, Rig, Setup, alice, refusal};

fn each_backend(test: impl Fn(&Rig)) {
    for backend in Backend::ALL {
        test(
            &Setup {
                backend,
                ..Setup::default()
            }
            .start(),
        );
    }
}

fn json(text: &str) -> Document {
    Document::new(ContentType::json(), text.to_owned().into()).unwrap()
}

fn change(payload: PayloadId, change: MetadataChange) -> PutMetadataRequest {
    PutMetadataRequest {
        namespace: Namespace::default(),
        payload: payload.into(),
        request_id: None,
        change,
        if_revision: None,
        reason: "why".into(),
    }
}

fn replace(payload: PayloadId, text: &str) -> PutMetadataRequest {
    change(payload, MetadataChange::Replace(json(text)))
}

fn patch(payload: PayloadId, text: &str) -> PutMetadataRequest {
    change(payload, MetadataChange::Patch(text.to_owned().into()))
}

fn number(number: u64) -> Revision {
    Revision::from_u64(number).unwrap()
}

fn put(rig: &Rig) -> PayloadId {
    rig.put_small(&rig.session(), 1).id
}

fn text(rig: &Rig, id: PayloadId, revision: Option<u64>) -> String {
    let revision = revision.map(number);
    let found = rig.metadata(&Namespace::default(), id, revision).unwrap();
    String::from_utf8(found.body.to_vec()).unwrap()
}

#[test]
fn every_revision_stays_readable() {
    each_backend(|rig| {
        let id = put(rig);
        assert_eq!(
            refusal(rig.metadata(&Namespace::default(), id, None)),
            Reason::MetadataNotFound
        );
        let first = rig.put_metadata(&alice(), &replace(id, r#"{"a":1}"#)).unwrap();
        let second = rig.put_metadata(&alice(), &patch(id, r#"{"b":[2]}"#)).unwrap();
        assert_eq!((first.revision, second.revision), (number(1), number(2)));
        assert_eq!(text(rig, id, None), r#"{"a":1,"b":[2]}"#);
        assert_eq!(text(rig, id, Some(1)), r#"{"a":1}"#);
        let beyond = rig.metadata(&Namespace::default(), id, Some(number(3)));
        assert_eq!(refusal(beyond), Reason::MetadataNotFound);

        rig.remove(id).unwrap();
        assert_eq!(text(rig, id, Some(1)), r#"{"a":1}"#);
        let late = rig.put_metadata(&alice(), &replace(id, "1"));
        assert_eq!(refusal(late), Reason::PayloadDeleted);
        let page = rig.metadata_history(&Namespace::default(), id, 0, "").unwrap();
        assert!(page.revisions.iter().all(|info| info.actor == (&alice()).into()));
        assert_eq!(page.revisions[1].reason.as_deref(), Some("why"));
        assert_eq!(page.revisions.len(), 2);
        assert_eq!(
            rig.kinds(id),
            [
                EventKind::Committed,
                EventKind::MetadataChanged,
                EventKind::MetadataChanged,
                EventKind::DeleteRequested,
                EventKind::Deleted
            ]
        );
    });
}

#[test]
fn a_revision_is_compared_before_it_is_followed() {
    each_backend(|rig| {
        let id = put(rig);
        let only_if = |revision: Option<u64>, text: &str| PutMetadataRequest {
            if_revision: Some(revision.map(number)),
            ..replace(id, text)
        };
        assert_eq!(
            refusal(rig.put_metadata(&alice(), &only_if(Some(1), "1"))),
            Reason::Conflict
        );
        rig.put_metadata(&alice(), &only_if(None, "1")).unwrap();
        assert_eq!(
            refusal(rig.put_metadata(&alice(), &only_if(None, "2"))),
            Reason::Conflict
        );
        rig.put_metadata(&alice(), &only_if(Some(1), "2")).unwrap();
        assert_eq!(text(rig, id, None), "2");
        let page = rig.metadata_history(&Namespace::default(), id, 1, "").unwrap();
        let next = page.next_token.unwrap();
        let page = rig.metadata_history(&Namespace::default(), id, 1, &next).unwrap();
        assert_eq!((page.revisions[0].revision, page.next_token), (number(2), None));
    });
}

#[test]
fn a_repeated_change_is_made_once_and_answered_alike() {
    each_backend(|rig| {
        let id = put(rig);
        let request = |name: String, change: PutMetadataRequest| PutMetadataRequest {
            request_id: Some(name.parse().unwrap()),
            ..change
        };
        let requests: Vec<_> = (0..9)
            .map(|step: u32| request(format!("r{step}"), patch(id, &format!("{{\"s{step}\":{step}}}"))))
            .collect();
        let first: Vec<_> = requests
            .iter()
            .map(|request| rig.put_metadata(&alice(), request).unwrap())
            .collect();
        let again: Vec<_> = requests
            .iter()
            .map(|request| rig.put_metadata(&alice(), request).unwrap())
            .collect();
        assert_eq!(first, again);
        let page = rig.metadata_history(&Namespace::default(), id, 0, "").unwrap();
        assert_eq!(page.revisions.len(), requests.len());
        rig.remove(id).unwrap();
        assert_eq!(rig.put_metadata(&alice(), &requests[3]).unwrap(), first[3]);
        let other = request("r3".to_owned(), patch(id, "{}"));
        assert_eq!(refusal(rig.put_metadata(&alice(), &other)), Reason::RequestIdReused);
    });
}

#[test]
fn metadata_comes_with_a_put_and_with_a_commit() {
    each_backend(|rig| {
        let session = rig.session();
        let put = PutRequest {
            metadata: Some(json("1")),
            ..put_request(b"x", Tier::Ram, Durability::Volatile)
        };
        let row = rig.put(&session, &put).unwrap();
        assert_eq!(row.metadata, Some(Revision::FIRST));
        assert_eq!(text(rig, row.id, None), "1");
        assert_eq!(rig.kinds(row.id), [EventKind::Committed]);

        let request = allocate_request(3_000_000, Tier::Ram, Durability::Volatile);
        let filled = fill(rig.allocate(&session, &request).unwrap(), 3_000_000);
        let id = filled.row.id;
        let early = rig.put_metadata(&alice(), &replace(id, "1"));
        assert_eq!(refusal(early), Reason::PayloadNotCommitted);
        let mut commit = filled.commit_request();
        commit.metadata = Some(json("2"));
        let row = rig.commit(&session, &commit).unwrap();
        assert_eq!((row.metadata, row.state.kind()), (Some(number(1)), StateKind::Active));
        assert_eq!(text(rig, id, Some(1)), "2");
        rig.close_session(&session);
        rig.check_invariants();
    });
}

#[test]
fn a_patch_needs_json_and_keeps_to_the_limit() {
    each_backend(|rig| {
        let id = put(rig);
        rig.put_metadata(&alice(), &patch(id, r#"{"a":{"b":null,"c":1}}"#))
            .unwrap();
        assert_eq!(text(rig, id, None), r#"{"a":{"c":1}}"#);
        let found = rig.metadata(&Namespace::default(), id, None).unwrap();
        assert_eq!(found.about.content_type, ContentType::json());
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        for bad in ["", "{", &deep] {
            assert_eq!(refusal(rig.put_metadata(&alice(), &patch(id, bad))), Reason::BadRequest);
        }
        let text = Document::new("text/plain".parse().unwrap(), "x".into()).unwrap();
        rig.put_metadata(&alice(), &change(id, MetadataChange::Replace(text)))
            .unwrap();
        assert_eq!(
            refusal(rig.put_metadata(&alice(), &patch(id, "{}"))),
            Reason::MetadataNotJson
        );
        assert_eq!(
            rig.metadata_history(&Namespace::default(), id, 0, "")
                .unwrap()
                .revisions
                .len(),
            2
        );
    });
}

#[test]
fn applications_note_events_of_their_own_also_afterwards() {
    each_backend(|rig| {
        let id = put(rig);
        let note = Arc::new(Note {
            event_type: "quality/checked".parse().unwrap(),
            document: Document::new(ContentType::default(), vec![0, 0xff].into()).unwrap(),
        });
        let request = AppendEventRequest {
            namespace: Namespace::default(),
            payload: id.into(),
            request_id: Some("note".parse().unwrap()),
            note: Arc::clone(&note),
            reason: "".into(),
        };
        let version = rig.append_event(&alice(), &request).unwrap();
        assert_eq!(rig.append_event(&alice(), &request).unwrap(), version);
        rig.remove(id).unwrap();
        assert_eq!(rig.append_event(&alice(), &request).unwrap(), version);
        let late = AppendEventRequest {
            request_id: None,
            ..request
        };
        rig.append_event(&alice(), &late).unwrap();
        let history = rig.history(id);
        assert_eq!(history.len(), 5);
        for (place, event) in history.iter().enumerate() {
            let wanted = [1, 4].contains(&place).then_some(&note);
            assert_eq!(event.record.note.as_ref(), wanted);
        }
        assert_eq!(history[4].record.to, StateKind::Deleted);
        rig.check_invariants();
    });
}
