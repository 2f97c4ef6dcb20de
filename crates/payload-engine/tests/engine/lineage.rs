//! Lineage through the use cases: published with a payload, added later, read in pages, and never half done.

use std::sync::Arc;

use payload_core::lineage::{Derivation, Parent, Scope};
use payload_core::{Durability, Namespace, Payload, PayloadId, Quota, Reason, StateKind, Tier, limits};
use payload_engine::{AddLineageRequest, LineageRequest, PutRequest};
use payload_testkit::faulty::Moment;

use crate::common::calls::{bytes, put_request};
use crate::common::{Backend, Rig, Setup, alice, bob, refusal};

/// Made from these, by `resize`.
pub(crate) fn derivation(parents: &[PayloadId]) -> Derivation {
    let parent = |id: &PayloadId| Parent {
        payload: *id,
        role: "image".parse().unwrap(),
    };
    Derivation::new("resize".parse().unwrap(), b"{}", parents.iter().map(parent).collect()).unwrap()
}

fn add(child: PayloadId, parents: &[PayloadId]) -> AddLineageRequest {
    AddLineageRequest {
        namespace: Namespace::default(),
        request_id: None,
        payload: child,
        derivation: derivation(parents),
    }
}

fn look(payload: PayloadId, scope: Scope) -> LineageRequest {
    LineageRequest {
        namespace: Namespace::default(),
        payload,
        scope,
        depth: 0,
        page_size: 0,
        page_token: String::new(),
    }
}

/// A small payload that was made from others.
fn derived(seed: u64, parents: &[PayloadId]) -> PutRequest {
    PutRequest {
        lineage: Some(derivation(parents)),
        ..put_request(&bytes(seed, 100), Tier::Ram, Durability::Volatile)
    }
}

impl Rig {
    /// A small payload that was made from others, or from nothing.
    pub(crate) fn put_derived(&self, seed: u64, parents: &[PayloadId]) -> Arc<Payload> {
        let request = PutRequest {
            lineage: (!parents.is_empty()).then(|| derivation(parents)),
            ..put_request(&bytes(seed, 100), Tier::Ram, Durability::Volatile)
        };
        self.put(&self.remote(&alice()), &request).unwrap()
    }

    fn edges(&self, request: &LineageRequest) -> Vec<(PayloadId, PayloadId)> {
        let found = self.lineage(request).unwrap();
        assert_eq!(found.next_token, None);
        found.page.edges.iter().map(|edge| (edge.child, edge.parent)).collect()
    }
}

fn backends(test: impl Fn(Rig)) {
    for backend in Backend::ALL {
        test(
            Setup {
                backend,
                ..Setup::default()
            }
            .start(),
        );
    }
}

#[test]
fn a_put_and_a_commit_publish_their_lineage() {
    backends(|rig| {
        let session = rig.session();
        let parent = rig.put_small(&session, 1).id;
        let small = rig.put_derived(2, &[parent]).id;
        let filled = rig.allocate_filled(&session, 3 << 20, 3);
        let mut request = filled.commit_request();
        request.lineage = Some(derivation(&[parent, small]));
        let large = rig.commit(&session, &request).unwrap().id;
        assert_eq!(
            rig.edges(&look(large, Scope::Up)),
            [(large, parent), (large, small), (small, parent)]
        );
        let found = rig.lineage(&look(parent, Scope::Down)).unwrap().page;
        assert_eq!(found.edges.len(), 3);
        let edge = &found.edges[0];
        assert_eq!((edge.operation.as_str(), edge.role.as_str()), ("resize", "image"));
        assert_eq!((&*edge.parameters, edge.actor.as_str()), (&b"{}"[..], alice().as_str()));
        rig.check_invariants();
    });
}

#[test]
fn a_payload_with_bad_lineage_is_not_published_and_costs_nothing() {
    backends(|rig| {
        let session = rig.session();
        let nobody = PayloadId::from_parts(7, [7; 10]);
        let open = rig.allocate_filled(&session, 10, 1);
        for (parent, reason) in [
            (nobody, Reason::PayloadNotFound),
            (open.row.id, Reason::PayloadNotCommitted),
        ] {
            assert_eq!(refusal(rig.put(&session, &derived(2, &[parent]))), reason);
            let mut request = open.commit_request();
            request.lineage = Some(derivation(&[parent]));
            // Its own allocation is its own parent, which is another reason.
            let reason = if parent == open.row.id {
                Reason::LineageCycle
            } else {
                reason
            };
            assert_eq!(refusal(rig.commit(&session, &request)), reason);
        }
        rig.tick();
        rig.check_invariants();
        assert_eq!(rig.state(open.row.id), StateKind::Allocated);
        // The allocation is as good as before.
        let row = rig.commit(&session, &open.commit_request()).unwrap();
        assert_eq!(rig.content(&session, row.id), open.content);
        assert_eq!(rig.edges(&look(row.id, Scope::Both)), []);
        rig.check_invariants();
    });
}

#[test]
fn a_parent_of_another_namespace_is_unknown() {
    let rig = Setup::default().start();
    let namespace: Namespace = "elsewhere".parse().unwrap();
    rig.create_namespace(&alice(), namespace.clone(), Quota::default())
        .unwrap();
    let elsewhere = PutRequest {
        namespace,
        ..put_request(b"x", Tier::Ram, Durability::Volatile)
    };
    let stranger = rig.put(&rig.session(), &elsewhere).unwrap().id;
    let own = rig.put_derived(1, &[]).id;
    assert_eq!(
        refusal(rig.add_lineage(&alice(), &add(own, &[stranger]))),
        Reason::PayloadNotFound
    );
    assert_eq!(
        refusal(rig.add_lineage(&alice(), &add(stranger, &[own]))),
        Reason::PayloadNotFound
    );
    assert_eq!(
        refusal(rig.lineage(&look(stranger, Scope::Both))),
        Reason::PayloadNotFound
    );
}

#[test]
fn lineage_can_be_told_later_and_a_retry_gets_the_first_answer() {
    backends(|rig| {
        let [one, two, three] = [1, 2, 3].map(|seed| rig.put_derived(seed, &[]).id);
        let mut request = add(two, &[one]);
        request.request_id = Some("l1".parse().unwrap());
        for _ in 0..2 {
            rig.add_lineage(&alice(), &request).unwrap();
        }
        // What was said without an id may be said again, too.
        rig.add_lineage(&bob(), &add(two, &[one])).unwrap();
        assert_eq!(rig.edges(&look(one, Scope::Down)), [(two, one)]);
        let other = AddLineageRequest {
            request_id: request.request_id.clone(),
            ..add(two, &[three])
        };
        assert_eq!(refusal(rig.add_lineage(&alice(), &other)), Reason::RequestIdReused);
        assert_eq!(
            refusal(rig.add_lineage(&alice(), &add(one, &[two]))),
            Reason::LineageCycle
        );
        // The first answer stands even when the same words would be refused today.
        let mut back = add(three, &[two]);
        back.request_id = Some("l2".parse().unwrap());
        rig.add_lineage(&alice(), &back).unwrap();
        assert_eq!(
            refusal(rig.add_lineage(&alice(), &add(one, &[three]))),
            Reason::LineageCycle
        );
        rig.add_lineage(&alice(), &back).unwrap();
        assert_eq!(rig.get(&Namespace::default(), two).unwrap().version.as_u64(), 1);
    });
}

#[test]
fn lineage_outlives_the_bytes_and_the_server() {
    let mut rig = Setup::default().start();
    let one = rig.put_derived(1, &[]).id;
    let two = rig.put_derived(2, &[one]).id;
    rig.remove(one).unwrap();
    let three = rig.put_derived(3, &[one, two]).id;
    rig.rebuild();
    rig.recover().unwrap();
    let found = rig.lineage(&look(three, Scope::Up)).unwrap().page;
    assert_eq!(found.edges.len(), 3);
    let states: Vec<_> = found.nodes.iter().map(|node| (node.id, node.state)).collect();
    let (live, gone) = (Some(StateKind::Active), Some(StateKind::Deleted));
    assert_eq!(states, [(three, live), (one, gone), (two, live)]);
}

#[test]
fn pages_are_bound_to_their_query_and_their_sizes_are_bounded() {
    let rig = Setup::default().start();
    let one = rig.put_derived(1, &[]).id;
    let children: Vec<_> = (2..7).map(|seed| rig.put_derived(seed, &[one]).id).collect();
    let first = LineageRequest {
        page_size: 2,
        ..look(one, Scope::Down)
    };
    let token = rig.lineage(&first).unwrap().next_token.unwrap();
    let second = LineageRequest {
        page_token: token.clone(),
        page_size: 100,
        ..first.clone()
    };
    let edges = rig.edges(&second);
    assert_eq!(edges.len(), 3);
    let reason = |request: LineageRequest| refusal(rig.lineage(&request));
    for other in [
        LineageRequest {
            scope: Scope::Both,
            ..second.clone()
        },
        LineageRequest {
            depth: 7,
            ..second.clone()
        },
        LineageRequest {
            payload: children[0],
            ..second.clone()
        },
        LineageRequest {
            page_token: format!("9{token}"),
            ..second.clone()
        },
        LineageRequest {
            page_token: "x".repeat(300),
            ..second.clone()
        },
        LineageRequest {
            page_token: "1.2.3".to_owned(),
            ..second.clone()
        },
    ] {
        let found = reason(other.clone());
        // One that is well-formed but leads nowhere looks like a graph that has changed.
        assert!(
            matches!(found, Reason::BadPageToken | Reason::Conflict),
            "{other:?}: {found:?}"
        );
    }
    let depth = limits::LINEAGE_DEPTH_MAX + 1;
    assert_eq!(reason(LineageRequest { depth, ..first.clone() }), Reason::BadSize);
    let page_size = limits::LINEAGE_PAGE_SIZE_MAX + 1;
    assert_eq!(reason(LineageRequest { page_size, ..first }), Reason::BadSize);
}

#[test]
fn an_answer_that_was_lost_is_resolved_by_the_request_id() {
    backends(|rig| {
        let [one, two] = [1, 2].map(|seed| rig.put_derived(seed, &[]).id);
        let mut request = add(two, &[one]);
        request.request_id = Some("lost".parse().unwrap());
        rig.switch.fail_next("repository.commit", Moment::After);
        rig.add_lineage(&alice(), &request).unwrap();
        assert_eq!(rig.edges(&look(two, Scope::Up)), [(two, one)]);
    });
}
