//! Names over both doors: what is meant by a name is what it points at when the call is made.

use payload_proto::v1;

use crate::support::World;
use crate::support::samples::{acquire, commit, delete, get, put};

fn named(name: &str) -> Option<v1::Naming> {
    Some(v1::Naming {
        name: name.to_owned(),
        replace: true,
        ..Default::default()
    })
}

#[test]
fn a_name_leads_to_its_payload_by_both_doors() {
    let world = World::start();
    let (session, grpc) = (world.session(), world.grpc());
    let put = v1::PutRequest {
        naming: named("cal/left"),
        ..put(b"first")
    };
    let first = grpc.put(put).unwrap().payload.unwrap().payload_id;
    let meant = acquire(&["name:cal/left"]);
    let lease = session.acquire(meant.clone()).unwrap().remove(0).unwrap();
    assert_eq!(lease.read(), b"first");

    let (allocation, fd) = session.allocate(crate::support::samples::allocate(100_000)).unwrap();
    drop(fd);
    let commit = v1::CommitRequest {
        naming: Some(v1::Naming {
            name: "cal/left".to_owned(),
            if_payload_id: first.clone(),
            replace: false,
        }),
        ..commit(&allocation.payload_id)
    };
    let second = session.commit(commit).unwrap().payload.unwrap().payload_id;
    for leases in [
        session.acquire(meant.clone()).unwrap().remove(0).unwrap().lease,
        crate::support::refusal::lease(grpc.acquire(meant).unwrap().results.remove(0)).unwrap(),
    ] {
        assert_eq!(leases.descriptor.unwrap().payload_id, second);
    }

    let set = v1::SetNameRequest {
        payload_id: "name:cal/left".to_owned(),
        naming: named("best"),
        reason: "sharp".to_owned(),
        ..Default::default()
    };
    assert_eq!(grpc.set_name(set).unwrap().payload_id, second);
    let found = grpc.get_payload(get("name:best")).unwrap();
    assert_eq!(found.payload.unwrap().payload_id, second);
    assert_eq!(found.names, ["best", "cal/left"]);
    assert_eq!(world.events("name:best"), ["allocated", "committed"]);
    let listed = grpc.list_names(v1::ListNamesRequest::default()).unwrap().names;
    let names: Vec<_> = listed.into_iter().map(|name| (name.name, name.payload_id)).collect();
    assert_eq!(
        names,
        ["best", "cal/left"].map(|name| (name.to_owned(), second.clone()))
    );
}

#[test]
fn a_name_is_taken_away_with_its_history_kept() {
    let world = World::start();
    let grpc = world.grpc();
    let put = v1::PutRequest {
        naming: named("n"),
        ..put(b"x")
    };
    let id = grpc.put(put).unwrap().payload.unwrap().payload_id;
    let pointing = grpc.get_name(v1::GetNameRequest {
        name: "n".to_owned(),
        ..Default::default()
    });
    let pointing = pointing.unwrap().name.unwrap();
    assert_eq!((&pointing.payload_id, pointing.version), (&id, 1));
    assert_eq!(grpc.delete_payload(delete("name:n")).unwrap().payload_id, id);
    let remove = v1::RemoveNameRequest {
        name: "n".to_owned(),
        reason: "tidy".to_owned(),
        ..Default::default()
    };
    grpc.remove_name(remove).unwrap();
    let history = v1::ListNameHistoryRequest {
        name: "n".to_owned(),
        ..Default::default()
    };
    let moves = grpc.list_name_history(history).unwrap().moves;
    let ends: Vec<_> = moves
        .iter()
        .map(|moved| (&*moved.from_payload_id, &*moved.to_payload_id, &*moved.reason))
        .collect();
    assert_eq!(ends, [(&*id, "", "tidy"), ("", &*id, "")]);
}
