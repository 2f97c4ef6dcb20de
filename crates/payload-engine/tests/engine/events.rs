//! The log of a namespace, and whether it adds up to the rows.

use std::sync::Arc;

use payload_core::{
    Actor, Change, ChangeSet, Durability, EventKind, EventRecord, LogFilter, Namespace, Payload, PayloadId, Reason,
    Tier,
};
use payload_engine::{Fault, Verified};

use crate::common::calls::put_request;
use crate::common::{Backend, Rig, Setup, refusal};

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

fn everything() -> LogFilter {
    LogFilter {
        namespace: Namespace::default(),
        payload: None,
        kinds: Vec::new(),
    }
}

fn put(rig: &Rig, count: u8) -> Vec<PayloadId> {
    let session = rig.session();
    let put = |content| put_request(&[content], Tier::Ram, Durability::Volatile);
    (0..count)
        .map(|content| rig.put(&session, &put(content)).unwrap().id)
        .collect()
}

#[test]
fn a_cursor_leads_through_the_log_and_on_to_what_happens_next() {
    each_backend(|rig| {
        let ids = put(rig, 7);
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = rig.events(&everything(), 3, &cursor).unwrap();
            seen.extend(page.events.iter().map(|event| event.payload));
            cursor = page.cursor;
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, ids);
        assert!(rig.events(&everything(), 3, &cursor).unwrap().events.is_empty());
        rig.remove(ids[3]).unwrap();
        let later = rig.events(&everything(), 0, &cursor).unwrap().events;
        let kinds: Vec<_> = later.iter().map(|event| event.record.kind).collect();
        assert_eq!(kinds, [EventKind::DeleteRequested, EventKind::Deleted]);
        let of_one = LogFilter::payload(Namespace::default(), ids[3]);
        assert_eq!(refusal(rig.events(&of_one, 3, &cursor)), Reason::BadPageToken);
        assert_eq!(rig.events(&of_one, 0, "").unwrap().events.len(), 3);
    });
}

#[test]
fn events_that_add_up_to_their_rows_are_verified_in_pages() {
    each_backend(|rig| {
        let mut ids = put(rig, 130);
        ids.sort_unstable();
        rig.remove(ids[0]).unwrap();
        let first = rig.verify_events(&Namespace::default(), None).unwrap();
        assert_eq!((first.payloads, first.last), (100, Some(ids[99])));
        let second = rig.verify_events(&Namespace::default(), first.last).unwrap();
        let good = Verified {
            payloads: 30,
            ..Verified::default()
        };
        assert_eq!(second, good);
        assert_eq!(first.faults, []);
    });
}

/// A row that changed behind its events: the change says that the size was what it becomes.
#[test]
fn events_that_do_not_add_up_are_found() {
    each_backend(|rig| {
        let ids = put(rig, 3);
        let row = rig.get(&Namespace::default(), ids[1]).unwrap();
        let before = Payload {
            size: 999,
            ..Payload::clone(&row)
        };
        let after = Payload {
            version: row.version.next(),
            ..before.clone()
        };
        let change = Change {
            event: EventRecord {
                kind: EventKind::Committed,
                actor: Actor::server("test"),
                reason: None,
                at: row.created_at,
                from: Some(row.state.kind()),
                to: row.state.kind(),
                note: None,
            },
            before: Some(Arc::new(before)),
            after: Arc::new(after),
            metadata: None,
        };
        let set = ChangeSet::new(vec![change], Durability::Volatile);
        rig.repository().commit(set).unwrap();
        let found = rig.verify_events(&Namespace::default(), None).unwrap();
        assert_eq!(found.payloads, 3);
        assert_eq!(found.faults, [(ids[1], Fault::Differs(vec!["size".to_owned()]))]);
        let one = rig.verify_events_of(&Namespace::default(), ids[1]).unwrap();
        assert_eq!(one.faults, found.faults);
        let other: Namespace = "other".parse().unwrap();
        assert_eq!(refusal(rig.verify_events_of(&other, ids[1])), Reason::PayloadNotFound);
        assert_eq!(refusal(rig.verify_events(&other, None)), Reason::NamespaceNotFound);
    });
}
