//! Lineage over both doors: published, told later, read in pages, and there after a kill.

use payload_proto::v1;
use payload_proto::v1::LineageScope::{Both, Down, Up};

use crate::support::World;
use crate::support::grpc::Grpc;
use crate::support::refusal::reason;
use crate::support::samples::{add_lineage, allocate, commit, delete, derivation, get_lineage, put};

/// A small payload that was made from others.
fn derived(grpc: &Grpc, content: &[u8], parents: &[&str]) -> String {
    let request = v1::PutRequest {
        lineage: (!parents.is_empty()).then(|| derivation(parents)),
        ..put(content)
    };
    grpc.put(request).unwrap().payload.unwrap().payload_id
}

fn pairs(found: &v1::GetLineageResponse) -> Vec<(&str, &str)> {
    found
        .edges
        .iter()
        .map(|edge| (&*edge.child_id, &*edge.parent_id))
        .collect()
}

#[test]
fn what_was_published_over_either_door_is_one_graph_and_outlives_the_bytes() {
    let world = World::start();
    let (grpc, local) = (world.grpc(), world.session());
    let raw = derived(&grpc, b"raw", &[]);
    let put_local = v1::PutRequest {
        lineage: Some(derivation(&[&raw])),
        ..put(b"small")
    };
    let small = local.put(put_local).unwrap().payload.unwrap().payload_id;
    let (allocation, fd) = local.allocate(allocate(100)).unwrap();
    drop(fd);
    let request = v1::CommitRequest {
        lineage: Some(derivation(&[&small])),
        ..commit(&allocation.payload_id)
    };
    let large = local.commit(request).unwrap().payload.unwrap().payload_id;
    grpc.delete_payload(delete(&raw)).unwrap();

    let world = world.kill_and_restart();
    let grpc = world.grpc();
    let found = grpc.get_lineage(get_lineage(&small, Both)).unwrap();
    assert_eq!(pairs(&found), [(&*small, &*raw), (&*large, &*small)]);
    assert_eq!((found.next_page_token.as_str(), found.deeper), ("", false));
    let edge = &found.edges[0];
    assert_eq!(
        (&*edge.operation, &*edge.role, &*edge.parameters),
        ("resize", "image", &b"\xff\0"[..])
    );
    assert!(edge.actor.starts_with("uid:") && edge.at_us > 0);
    let states: Vec<_> = found
        .nodes
        .iter()
        .map(|node| (&*node.payload_id, node.state(), node.size))
        .collect();
    // Nobody keeps this server's memory, so what was in it is lost with it; the graph is not.
    let (lost, deleted) = (v1::State::Lost, v1::State::Deleted);
    assert_eq!(states, [(&*small, lost, 5), (&*raw, deleted, 3), (&*large, lost, 100)]);
}

#[test]
fn lineage_is_told_later_and_read_in_pages() {
    let world = World::start();
    let grpc = world.grpc();
    let raw = derived(&grpc, b"raw", &[]);
    let mut children: Vec<String> = (0..5u8).map(|content| derived(&grpc, &[content], &[])).collect();
    for child in &children {
        let request = v1::AddLineageRequest {
            request_id: child.clone(),
            ..add_lineage(child, &[&raw])
        };
        for _ in 0..2 {
            grpc.add_lineage(request.clone()).unwrap();
        }
    }
    assert_eq!(
        reason(grpc.add_lineage(add_lineage(&raw, &[&children[3]]))),
        "LINEAGE_CYCLE"
    );
    assert_eq!(grpc.get_lineage(get_lineage(&raw, Up)).unwrap().edges, []);

    children.sort();
    let mut request = v1::GetLineageRequest {
        page_size: 2,
        ..get_lineage(&raw, Down)
    };
    let mut found = Vec::new();
    loop {
        let page = grpc.get_lineage(request.clone()).unwrap();
        assert!(page.edges.len() <= 2);
        assert!(page.nodes.iter().any(|node| node.payload_id == raw));
        found.extend(page.edges.into_iter().map(|edge| edge.child_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, children);
}

#[test]
fn fault_50_pages_of_edges_that_say_much_fit_into_messages() {
    let world = World::start();
    let grpc = world.grpc();
    let parents: Vec<String> = (0..256u16)
        .map(|number| derived(&grpc, &number.to_be_bytes(), &[]))
        .collect();
    let child = derived(&grpc, b"child", &[]);
    let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
    for operation in 0..8 {
        let lineage = v1::Derivation {
            operation: format!("{operation}"),
            parameters: vec![7; 4 << 10],
            ..derivation(&parents)
        };
        let request = v1::AddLineageRequest {
            lineage: Some(lineage),
            ..add_lineage(&child, &[])
        };
        grpc.add_lineage(request).unwrap();
    }
    let mut request = v1::GetLineageRequest {
        page_size: 10_000,
        ..get_lineage(&child, Up)
    };
    let first = grpc.get_lineage(request.clone()).unwrap();
    assert!(first.edges.len() > 256 && !first.next_page_token.is_empty());
    let mut count = first.edges.len();
    request.page_token = first.next_page_token;
    while !request.page_token.is_empty() {
        let page = grpc.get_lineage(request.clone()).unwrap();
        count += page.edges.len();
        request.page_token = page.next_page_token;
    }
    assert_eq!(count, 8 * 256);
}

#[test]
fn deletions_mind_what_descends_from_a_payload() {
    let world = World::start();
    let grpc = world.grpc();
    let raw = derived(&grpc, b"raw", &[]);
    let child = derived(&grpc, b"child", &[&raw]);
    let last = derived(&grpc, b"last", &[&child]);
    let impact = v1::GetImpactRequest {
        payload_id: raw.clone(),
        ..Default::default()
    };
    let found = grpc.get_impact(impact).unwrap();
    assert_eq!(
        (found.live, found.live_bytes, found.ended, found.complete),
        (2, 9, 0, true)
    );

    let mut request = v1::DeletePayloadRequest {
        dependents: v1::OnDependents::Cascade.into(),
        dry_run: true,
        ..delete(&raw)
    };
    let tried = grpc.delete_payload(request.clone()).unwrap();
    let order: Vec<&str> = tried.dependents.iter().map(|node| &*node.payload_id).collect();
    assert_eq!((tried.state(), order), (v1::State::Deleted, vec![&*last, &*child]));
    request.dry_run = false;
    let deleted = grpc.delete_payload(request).unwrap();
    assert_eq!((deleted.state(), deleted.dependents_deleted), (v1::State::Deleted, 2));
    assert_eq!(world.events(&last), ["committed", "delete_requested", "deleted"]);
}
