//! Updates: labels and expiry of a committed payload, from the version that was seen, with one event each.

use payload_core::{Durability, EventKind, Label, Namespace, Payload, PayloadId, Reason, StateKind, Tier, Version};
use payload_engine::{Expiry, LabelEdit, PutRequest, UpdateRequest};

use crate::common::calls::{put_request, secs};
use crate::common::{Backend, Setup, alice, refusal};

fn update(id: PayloadId) -> UpdateRequest {
    UpdateRequest {
        namespace: Namespace::default(),
        payload: id.into(),
        request_id: None,
        if_version: None,
        labels: LabelEdit::Change {
            set: Vec::new(),
            remove: Vec::new(),
        },
        expiry: None,
        reason: "test".into(),
    }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
    payload_core::name::labels(pairs.iter().copied()).unwrap()
}

fn labelled(pairs: &[(&str, &str)]) -> PutRequest {
    PutRequest {
        labels: labels(pairs),
        ..put_request(b"x", Tier::Ram, Durability::Volatile)
    }
}

fn expiring(id: PayloadId, expiry: Expiry) -> UpdateRequest {
    UpdateRequest {
        expiry: Some(expiry),
        ..update(id)
    }
}

#[test]
fn labels_are_set_removed_and_replaced_with_an_event_each() {
    for backend in Backend::ALL {
        let setup = Setup {
            backend,
            ..Setup::default()
        };
        let rig = setup.start();
        let session = rig.session();
        let id = rig.put(&session, &labelled(&[("a", "1"), ("b", "2")])).unwrap().id;
        let edit = LabelEdit::Change {
            set: labels(&[("b", "3"), ("c", "4")]),
            remove: vec!["a".into(), "missing".into()],
        };
        let row = rig
            .update(
                &alice(),
                &UpdateRequest {
                    labels: edit,
                    ..update(id)
                },
            )
            .unwrap();
        assert_eq!(row.labels, labels(&[("b", "3"), ("c", "4")]));
        let replace = LabelEdit::Replace(labels(&[("z", "")]));
        rig.update(
            &alice(),
            &UpdateRequest {
                labels: replace,
                ..update(id)
            },
        )
        .unwrap();
        let stored: Payload = rig.repository().get(id).unwrap().unwrap();
        assert_eq!(
            (stored.labels, stored.version),
            (labels(&[("z", "")]), Version::from_u64(3))
        );
        let kinds = [EventKind::Committed, EventKind::Updated, EventKind::Updated];
        assert_eq!(rig.kinds(id), kinds);
    }
}

#[test]
fn an_update_starts_from_the_version_that_was_seen() {
    let rig = Setup::default().start();
    let session = rig.session();
    let first = rig.put(&session, &labelled(&[])).unwrap();
    let at = |version| UpdateRequest {
        if_version: Some(version),
        labels: LabelEdit::Replace(labels(&[("a", "1")])),
        ..update(first.id)
    };
    let second = rig.update(&alice(), &at(first.version)).unwrap();
    assert_eq!(refusal(rig.update(&alice(), &at(first.version))), Reason::Conflict);
    rig.update(&alice(), &at(second.version)).unwrap();
}

#[test]
fn a_retried_update_is_done_once() {
    let rig = Setup::default().start();
    let session = rig.session();
    let first = rig.put(&session, &labelled(&[])).unwrap();
    let once = UpdateRequest {
        request_id: Some("once".parse().unwrap()),
        if_version: Some(first.version),
        labels: LabelEdit::Replace(labels(&[("a", "1")])),
        ..update(first.id)
    };
    let version = rig.update(&alice(), &once).unwrap().version;
    assert_eq!(rig.update(&alice(), &once).unwrap().version, version);
    let other = UpdateRequest {
        reason: "another".into(),
        ..once
    };
    assert_eq!(refusal(rig.update(&alice(), &other)), Reason::RequestIdReused);
}

#[test]
fn an_expiry_is_put_off_taken_away_and_brought_forward() {
    let rig = Setup::default().start();
    let session = rig.session();
    let put = PutRequest {
        ttl: Some(secs(10)),
        ..labelled(&[])
    };
    let [late, never, soon] = [(); 3].map(|()| rig.put(&session, &put).unwrap().id);
    rig.update(&alice(), &expiring(late, Expiry::In(secs(100)))).unwrap();
    let row = rig.update(&alice(), &expiring(never, Expiry::Never)).unwrap();
    assert_eq!((row.state.deadline(), row.ttl), (None, None));
    rig.update(&alice(), &expiring(soon, Expiry::In(secs(1)))).unwrap();
    let states = || [late, never, soon].map(|id| rig.state(id));
    rig.clock.advance(secs(2));
    rig.expire_due().unwrap();
    assert_eq!(states(), [StateKind::Active, StateKind::Active, StateKind::Deleted]);
    rig.clock.advance(secs(50));
    rig.expire_due().unwrap();
    assert_eq!(states(), [StateKind::Active, StateKind::Active, StateKind::Deleted]);
    rig.clock.advance(secs(50));
    rig.expire_due().unwrap();
    assert_eq!(states(), [StateKind::Deleted, StateKind::Active, StateKind::Deleted]);
}

/// Nobody may be surprised by a payload that comes back.
#[test]
fn what_has_expired_or_ended_is_changed_no_more() {
    let rig = Setup::default().start();
    let session = rig.session();
    let put = PutRequest {
        ttl: Some(secs(10)),
        ..labelled(&[])
    };
    let id = rig.put(&session, &put).unwrap().id;
    rig.clock.advance(secs(10));
    assert_eq!(
        refusal(rig.update(&alice(), &expiring(id, Expiry::Never))),
        Reason::PayloadExpired
    );
    assert_eq!(refusal(rig.update(&alice(), &update(id))), Reason::PayloadExpired);
    rig.expire_due().unwrap();
    assert_eq!(
        refusal(rig.update(&alice(), &expiring(id, Expiry::Never))),
        Reason::PayloadDeleted
    );
    let id = rig.put(&session, &labelled(&[])).unwrap().id;
    let past = payload_core::port::Clock::wall(&*rig.clock);
    rig.update(&alice(), &expiring(id, Expiry::At(past))).unwrap();
    assert_eq!(refusal(rig.lease(&session, id)), Reason::PayloadExpired);
}
