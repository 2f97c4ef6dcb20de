//! Retention: what has been over for long enough goes, a little at a time, and nobody overlooks that it is gone.

use payload_core::log::LogFilter;
use payload_core::{
    ContentType, Document, Durability, Error, NameGuard, Namespace, Naming, PayloadId, Reason, Revision, Span, Tier,
};
use payload_engine::{AppendEventRequest, DeleteRequest, MetadataChange, NameRequest, PutMetadataRequest, WatchFrom};

use crate::common::calls::{delete_request, put_request};
use crate::common::{Backend, KEPT, Rig, Setup, alice, refusal};

fn each_backend(test: impl Fn(&Rig)) {
    for backend in Backend::ALL {
        let setup = Setup {
            backend,
            ..Setup::default()
        };
        test(&setup.start());
    }
}

fn ours() -> Namespace {
    Namespace::default()
}

fn put(rig: &Rig) -> PayloadId {
    let request = put_request(b"x", Tier::Ram, Durability::Volatile);
    rig.put(&rig.session(), &request).unwrap().id
}

fn describe(rig: &Rig, id: PayloadId, text: &str) {
    let document = Document::new(ContentType::default(), text.to_owned().into()).unwrap();
    let request = PutMetadataRequest {
        namespace: ours(),
        payload: id.into(),
        request_id: None,
        change: MetadataChange::Replace(document),
        if_revision: None,
        reason: "".into(),
    };
    rig.put_metadata(&alice(), &request).unwrap();
}

fn name(rig: &Rig, id: PayloadId, guard: NameGuard) {
    let request = NameRequest {
        namespace: ours(),
        payload: id.into(),
        naming: Naming {
            name: "n".parse().unwrap(),
            guard,
        },
        reason: "".into(),
    };
    rig.set_name(&alice(), &request).unwrap();
}

/// All that is due.
fn remove(rig: &Rig) {
    while rig.remove_history().unwrap() {}
}

fn log() -> LogFilter {
    LogFilter {
        namespace: ours(),
        payload: None,
        kinds: Vec::new(),
    }
}

#[test]
fn what_is_over_goes_when_its_time_has_come_and_not_before() {
    each_backend(|rig| {
        let (id, other) = (put(rig), put(rig));
        for text in ["1", "2", "3"] {
            describe(rig, id, text);
        }
        name(rig, id, NameGuard::Free);
        name(rig, other, NameGuard::Any);
        rig.remove(other).unwrap();
        let count = |rig: &Rig| rig.metadata_history(&ours(), id, 0, "").unwrap().revisions.len();

        rig.advance(KEPT - Span::from_secs(1));
        remove(rig);
        assert_eq!((count(rig), rig.history(id).len()), (3, 4));
        assert_eq!(
            rig.name_history(&ours(), &"n".parse().unwrap(), 0, "")
                .unwrap()
                .moves
                .len(),
            2
        );
        rig.get(&ours(), other).unwrap();

        rig.advance(Span::from_secs(2));
        remove(rig);
        assert_eq!((count(rig), rig.history(id).len()), (1, 0));
        assert_eq!(refusal(rig.get(&ours(), other)), Reason::PayloadNotFound);
        let moves = rig.name_history(&ours(), &"n".parse().unwrap(), 0, "");
        assert_eq!(refusal(moves), Reason::NameNotFound);
        assert_eq!(refusal(rig.name(&ours(), &"n".parse().unwrap())), Reason::NameNotFound);
        // What is live stays whatever its age.
        assert_eq!(rig.metadata(&ours(), id, None).unwrap().body, "3");
        rig.check_invariants();
    });
}

#[test]
fn events_add_up_also_where_the_first_are_gone() {
    each_backend(|rig| {
        let (id, quiet) = (put(rig), put(rig));
        describe(rig, id, "1");
        rig.advance(KEPT / 2);
        describe(rig, id, "2");
        rig.advance(KEPT / 2 + Span::from_secs(1));
        remove(rig);
        assert_eq!(rig.history(id).len(), 1);
        let verified = rig.verify_events(&ours(), None).unwrap();
        assert_eq!((verified.payloads, verified.trimmed, verified.faults), (2, 2, vec![]));
        describe(rig, quiet, "3");
        rig.remove(id).unwrap();
        let verified = rig.verify_events(&ours(), None).unwrap();
        assert_eq!((verified.payloads, verified.trimmed, verified.faults), (2, 2, vec![]));
        let one = rig.verify_events_of(&ours(), quiet).unwrap();
        assert_eq!((one.payloads, one.trimmed, one.faults), (1, 1, vec![]));
    });
}

#[test]
fn whoever_pages_behind_what_is_gone_is_told_so() {
    each_backend(|rig| {
        let id = put(rig);
        for text in ["1", "2", "3", "4", "5"] {
            describe(rig, id, text);
        }
        name(rig, id, NameGuard::Free);
        for _ in 0..4 {
            let next = put(rig);
            name(rig, next, NameGuard::Any);
        }
        let label = "n".parse().unwrap();
        let revisions = rig.metadata_history(&ours(), id, 2, "").unwrap().next_token.unwrap();
        let moves = rig.name_history(&ours(), &label, 2, "").unwrap().next_token.unwrap();
        let events = rig.events(&log(), 2, "").unwrap().cursor;
        rig.advance(KEPT + Span::from_secs(1));
        remove(rig);

        let gone = |error: Error| {
            assert_eq!(error.reason(), Reason::HistoryRemoved);
            error.to_string()
        };
        let error = rig.metadata_history(&ours(), id, 2, &revisions).unwrap_err();
        assert!(gone(error).contains("the earliest is 5"));
        let error = rig.metadata(&ours(), id, Revision::from_u64(2)).unwrap_err();
        assert!(gone(error).contains("the earliest is 5"));
        gone(rig.name_history(&ours(), &label, 2, &moves).unwrap_err());
        let message = gone(rig.events(&log(), 2, &events).unwrap_err());
        let wake = std::sync::Arc::new(|| {});
        gone(rig.watch_events(log(), &WatchFrom::Cursor(events), wake).unwrap_err());
        // The message names the cursor to go on from.
        let earliest = message.rsplit(' ').next().unwrap();
        assert_eq!(rig.events(&log(), 2, earliest).unwrap().events, []);
    });
}

#[test]
fn a_payload_that_is_gone_is_gone_for_whoever_knew_it() {
    each_backend(|rig| {
        let id = put(rig);
        let delete = DeleteRequest {
            request_id: Some("again".parse().unwrap()),
            ..delete_request(id)
        };
        rig.delete(&alice(), &delete).unwrap();
        rig.advance(KEPT + Span::from_secs(1));
        remove(rig);
        assert_eq!(refusal(rig.delete(&alice(), &delete)), Reason::PayloadNotFound);
        let note = AppendEventRequest {
            namespace: ours(),
            payload: id.into(),
            request_id: None,
            note: std::sync::Arc::new(payload_core::Note {
                event_type: "late".parse().unwrap(),
                document: Document::new(ContentType::default(), "x".into()).unwrap(),
            }),
            reason: "".into(),
        };
        assert_eq!(refusal(rig.append_event(&alice(), &note)), Reason::PayloadNotFound);
        rig.check_invariants();
    });
}
