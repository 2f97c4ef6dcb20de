//! Namespaces: payloads are made in those that are there, and nothing is taken from under them.

use payload_core::{Durability, Namespace, Quota, Reason, Tier, Version};
use payload_engine::{AllocateRequest, ListRequest, PutRequest};

use crate::common::calls::{allocate_request, put_request};
use crate::common::{Backend, Setup, alice, refusal};

fn lab() -> Namespace {
    "lab".parse().unwrap()
}

fn put() -> PutRequest {
    PutRequest {
        namespace: lab(),
        ..put_request(b"x", Tier::Ram, Durability::Volatile)
    }
}

fn allocate(size: u64) -> AllocateRequest {
    AllocateRequest {
        namespace: lab(),
        ..allocate_request(size, Tier::Ram, Durability::Volatile)
    }
}

#[test]
fn payloads_are_made_in_namespaces_that_are_there_and_only_there() {
    for backend in Backend::ALL {
        let setup = Setup {
            backend,
            ..Setup::default()
        };
        let rig = setup.start();
        let session = rig.session();
        let (put, allocate) = (put(), allocate(10_000));
        assert_eq!(refusal(rig.put(&session, &put)), Reason::NamespaceNotFound);
        assert_eq!(refusal(rig.allocate(&session, &allocate)), Reason::NamespaceNotFound);
        assert_eq!(refusal(rig.list(&ListRequest::all(lab()))), Reason::NamespaceNotFound);
        rig.create_namespace(&alice(), lab(), Quota::default()).unwrap();
        rig.put(&session, &put).unwrap();
        let id = rig.allocate(&session, &allocate).unwrap().row.id;
        let refused = rig.remove_namespace(&alice(), &lab(), None);
        assert_eq!(refusal(refused), Reason::NamespaceInUse);
        rig.abort(&session, &lab(), id, None, "".into()).unwrap();
    }
}

/// Another server on the same catalog takes it away; what this one remembers lets the call through as far as the rows.
#[test]
fn a_namespace_that_was_removed_elsewhere_gets_no_payload_and_costs_no_room() {
    let rig = Setup::default().start();
    let session = rig.session();
    rig.create_namespace(&alice(), lab(), Quota::default()).unwrap();
    assert!(rig.list(&ListRequest::all(lab())).unwrap().rows.is_empty());
    let used = rig.store(Tier::Ram).usage().used;
    rig.repository().remove_namespace(&lab(), Version::FIRST).unwrap();
    let refused = rig.allocate(&session, &allocate(10_000_000));
    assert_eq!(refusal(refused), Reason::NamespaceNotFound);
    assert_eq!(refusal(rig.put(&session, &put())), Reason::NamespaceNotFound);
    rig.quiesce();
    assert_eq!(rig.store(Tier::Ram).usage().used, used);
    rig.check_at_rest();
}

#[test]
fn a_quota_is_changed_from_the_version_that_was_seen() {
    let rig = Setup::default().start();
    let first = rig.create_namespace(&alice(), lab(), Quota::default()).unwrap();
    let quota = Quota {
        bytes: Some(1 << 30),
        payloads: Some(7),
    };
    let second = rig.update_namespace(&lab(), quota, Some(first.version)).unwrap();
    assert_eq!((second.version, second.quota), (first.version.next(), quota));
    let stale = rig.update_namespace(&lab(), Quota::default(), Some(first.version));
    assert_eq!(refusal(stale), Reason::Conflict);
    assert_eq!(rig.namespace(&lab()).unwrap(), second);
}

#[test]
fn pages_of_namespaces_hold_each_once() {
    let rig = Setup::default().start();
    for number in 0..5 {
        let name = format!("n{number}").parse().unwrap();
        rig.create_namespace(&alice(), name, Quota::default()).unwrap();
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = rig.namespaces(2, &token).unwrap();
        seen.extend(page.rows.into_iter().map(|row| row.name.to_string()));
        match page.next_token {
            Some(next) => token = next,
            None => break,
        }
    }
    assert_eq!(seen, ["default", "n0", "n1", "n2", "n3", "n4"]);
    assert_eq!(refusal(rig.namespaces(2, "N")), Reason::BadPageToken);
}
