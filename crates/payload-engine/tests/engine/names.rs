//! Names: given with a payload or later, moved under a guard, and followed wherever a payload is meant.

use payload_core::{Durability, NameGuard, Namespace, Naming, PayloadId, PayloadRef, Reason, StateKind, Tier};
use payload_engine::{AcquireOptions, CommitRequest, DeleteRequest, ListRequest, NameRequest, PutRequest};

use crate::common::calls::{allocate_request, delete_request, fill, put_request};
use crate::common::{Backend, Setup, alice, refusal};

const NS: fn() -> Namespace = Namespace::default;

fn naming(name: &str, guard: NameGuard) -> Naming {
    Naming {
        name: name.parse().unwrap(),
        guard,
    }
}

fn by_name(name: &str) -> PayloadRef {
    PayloadRef::Name(name.parse().unwrap())
}

fn request(name: &str, guard: NameGuard, payload: impl Into<PayloadRef>) -> NameRequest {
    NameRequest {
        namespace: NS(),
        payload: payload.into(),
        naming: naming(name, guard),
        reason: "test".into(),
    }
}

fn named_put(name: &str, guard: NameGuard) -> PutRequest {
    PutRequest {
        naming: Some(naming(name, guard)),
        ..put_request(b"content", Tier::Ram, Durability::Volatile)
    }
}

#[test]
fn a_name_is_given_with_a_put_or_a_commit_or_later_and_followed() {
    for backend in Backend::ALL {
        let setup = Setup {
            backend,
            ..Setup::default()
        };
        let rig = setup.start();
        let session = rig.session();
        let first = rig.put(&session, &named_put("latest", NameGuard::Free)).unwrap().id;
        assert_eq!(rig.resolve(&NS(), &by_name("latest")).unwrap(), first);

        let allocation = rig.allocate(&session, &allocate_request(10_000, Tier::Ram, Durability::Volatile));
        let filled = fill(allocation.unwrap(), 1);
        let commit = |guard| CommitRequest {
            naming: Some(naming("latest", guard)),
            ..filled.commit_request()
        };
        assert_eq!(
            refusal(rig.commit(&session, &commit(NameGuard::Free))),
            Reason::NameTaken
        );
        assert_eq!(rig.state(filled.row.id), StateKind::Allocated);
        let second = rig.commit(&session, &commit(NameGuard::PointsAt(first))).unwrap().id;
        assert_eq!(rig.resolve(&NS(), &by_name("latest")).unwrap(), second);

        let stable = rig.set_name(&alice(), &request("stable", NameGuard::Free, by_name("latest")));
        assert_eq!(stable.unwrap(), second);
        let names = rig.names_of(second).unwrap();
        assert_eq!(names, ["latest", "stable"].map(|name| name.parse().unwrap()));
        let history = rig.name_history(&NS(), &"latest".parse().unwrap(), 0, "").unwrap();
        let ends: Vec<(Option<PayloadId>, Option<PayloadId>)> =
            history.moves.iter().map(|moved| (moved.from, moved.to)).collect();
        assert_eq!(ends, [(Some(first), Some(second)), (None, Some(first))]);
    }
}

#[test]
fn a_put_whose_name_is_taken_leaves_nothing_behind() {
    let rig = Setup::default().start();
    let session = rig.session();
    rig.put(&session, &named_put("n", NameGuard::Free)).unwrap();
    rig.quiesce();
    let used = rig.store(Tier::Ram).usage().used;
    assert_eq!(
        refusal(rig.put(&session, &named_put("n", NameGuard::Free))),
        Reason::NameTaken
    );
    rig.quiesce();
    assert_eq!(rig.store(Tier::Ram).usage().used, used);
    assert_eq!(rig.list(&ListRequest::all(NS())).unwrap().rows.len(), 1);
    rig.check_at_rest();
}

#[test]
fn a_retried_put_does_not_move_its_name_again() {
    let rig = Setup::default().start();
    let session = rig.session();
    let put = PutRequest {
        request_id: Some("once".parse().unwrap()),
        ..named_put("n", NameGuard::Any)
    };
    let first = rig.put(&session, &put).unwrap().id;
    let other = rig
        .put(&session, &named_put("n", NameGuard::PointsAt(first)))
        .unwrap()
        .id;
    assert_eq!(rig.put(&session, &put).unwrap().id, first);
    assert_eq!(rig.resolve(&NS(), &by_name("n")).unwrap(), other);
    let unnamed = PutRequest { naming: None, ..put };
    assert_eq!(refusal(rig.put(&session, &unnamed)), Reason::RequestIdReused);
}

/// The name stays where it was until somebody takes it: what it leads to says what became of it.
#[test]
fn a_name_leads_to_the_tombstone_of_its_payload_until_it_is_given_again() {
    let rig = Setup::default().start();
    let session = rig.session();
    let first = rig.put(&session, &named_put("n", NameGuard::Free)).unwrap().id;
    let delete = DeleteRequest {
        payload: by_name("n"),
        request_id: Some("gone".parse().unwrap()),
        ..delete_request(first)
    };
    assert_eq!(rig.delete(&alice(), &delete).unwrap().payload, first);
    let id = rig.resolve(&NS(), &by_name("n")).unwrap();
    assert_eq!(
        refusal(rig.acquire(&session, &NS(), id, AcquireOptions::default())),
        Reason::PayloadDeleted
    );
    let again = request("n", NameGuard::Any, first);
    assert_eq!(refusal(rig.set_name(&alice(), &again)), Reason::PayloadDeleted);
    let second = rig.put(&session, &named_put("n", NameGuard::Free)).unwrap().id;
    assert_eq!(rig.resolve(&NS(), &by_name("n")).unwrap(), second);
    // The retry of a deletion means what the name pointed at then.
    assert_eq!(rig.delete(&alice(), &delete).unwrap().payload, first);
    assert_eq!(rig.state(second), StateKind::Active);
}

#[test]
fn names_survive_the_host_and_are_listed_in_pages() {
    let mut rig = Setup::default().start();
    let session = rig.session();
    let put = put_request(b"content", Tier::Disk, Durability::Host);
    let id = rig.put(&session, &put).unwrap().id;
    for name in ["a/1", "a/2", "a/3", "b"] {
        rig.set_name(&alice(), &request(name, NameGuard::Free, id)).unwrap();
    }
    rig.remove_name(&alice(), &NS(), "b".parse().unwrap(), Some(id), &"".into())
        .unwrap();
    rig.reboot();
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = rig.names(&NS(), "a/", 2, &token).unwrap();
        seen.extend(page.rows.iter().map(|row| row.name.to_string()));
        match page.next_token {
            Some(next) => token = next,
            None => break,
        }
    }
    assert_eq!(seen, ["a/1", "a/2", "a/3"]);
    assert!(token.len() < payload_core::limits::PAGE_TOKEN_LEN_MAX);
    assert_eq!(refusal(rig.names(&NS(), "a", 2, &token)), Reason::BadPageToken);
    assert_eq!(refusal(rig.resolve(&NS(), &by_name("b"))), Reason::NameNotFound);
    assert_eq!(
        refusal(rig.name(&"other".parse().unwrap(), &"a/1".parse().unwrap())),
        Reason::NameNotFound
    );
    let history = rig.name_history(&NS(), &"b".parse().unwrap(), 1, "").unwrap();
    assert_eq!((history.moves[0].to, history.next_token.is_some()), (None, true));
}
