//! Several servers on one database: rows are everybody's, bytes and leases are their node's.

use payload_proto::v1;
use payload_testkit::process::{Cut, Postgres, Proxy, Setup, until};
use rustix::process::Signal;
use tonic::Code;

use crate::support::refusal::{lease, moved, reason};
use crate::support::samples::{acquire, allocate, commit, delete, get, put, release, to_tier};
use crate::support::{CONFIG, World, data_dir, directory, setup, used};

/// One that looks for nothing by itself: what it knows of the others it was told.
fn config(postgres: &Postgres) -> String {
    format!("[repository]\nurl = \"{}\"\npoll = \"1h\"\n", postgres.url())
}

fn world(postgres: &Postgres) -> World {
    World::with(&config(postgres))
}

fn state(world: &World, payload_id: &str) -> v1::State {
    let answer = world.grpc().get_payload(get(payload_id)).unwrap();
    answer.payload.unwrap().state()
}

fn ends(world: &World, payload_id: &str) {
    until("the payload to be deleted", || {
        (state(world, payload_id) == v1::State::Deleted).then_some(())
    });
}

fn with_ttl(ttl_ms: u64, bytes: &[u8]) -> v1::PutRequest {
    v1::PutRequest {
        ttl_ms: Some(ttl_ms),
        ..put(bytes)
    }
}

#[test]
fn fault_57_a_deletion_asked_of_another_node_waits_for_the_lease() {
    let postgres = Postgres::start();
    let (here, there) = (world(&postgres), world(&postgres));
    let session = here.session();
    let payload_id = session.publish(&[7; 3 << 20]).payload_id;
    let before = used(&here.stats(), v1::Tier::Ram);
    let held = session.lease(&payload_id);
    let answer = there.grpc().delete_payload(delete(&payload_id)).unwrap();
    assert_eq!(answer.state(), v1::State::Deleting);

    // Whoever comes before the word of it gets a lease that is as good as any that was granted before.
    until("the owner to hear of it", || {
        let answer = session.acquire(acquire(&[&payload_id])).unwrap().remove(0);
        match answer {
            Ok(early) => {
                session.release(release(&[&early.lease.lease_id])).unwrap();
                None
            }
            Err(refusal) => (refusal.reason == "PAYLOAD_DELETED").then_some(()),
        }
    });
    assert_eq!(held.read(), [7; 3 << 20]);
    assert_eq!(state(&there, &payload_id), v1::State::Deleting);
    session.release(release(&[&held.lease.lease_id])).unwrap();
    drop(held);
    ends(&there, &payload_id);
    here.await_stats("the bytes to be freed", |stats| {
        used(stats, v1::Tier::Ram) <= before - (3 << 20)
    });
    let expected = ["allocated", "committed", "delete_requested", "deleted"];
    assert_eq!(there.events(&payload_id), expected);
}

#[test]
fn bytes_are_asked_for_where_they_are() {
    let postgres = Postgres::start();
    let (here, there) = (world(&postgres), world(&postgres));
    let session = here.session();
    let payload_id = session.put_id(b"here");
    let (allocation, fd) = session.allocate(allocate(100_000)).unwrap();
    drop(fd);
    let (grpc, other) = (there.grpc(), there.session());
    assert_eq!(state(&there, &payload_id), v1::State::Active);

    let refusal = other.acquire(acquire(&[&payload_id])).unwrap().remove(0).unwrap_err();
    assert_eq!(
        (refusal.code, &*refusal.reason),
        (Code::FailedPrecondition, "PAYLOAD_ELSEWHERE")
    );
    assert!(refusal.message.contains(&here.stats().node_id), "{refusal:?}");
    let elsewhere = "PAYLOAD_ELSEWHERE";
    assert_eq!(
        reason(lease(grpc.acquire(acquire(&[&payload_id])).unwrap().results.remove(0))),
        elsewhere
    );
    for answer in [
        grpc.spill(to_tier(&payload_id, v1::Tier::Disk)),
        grpc.promote(to_tier(&payload_id, v1::Tier::Ram)),
        grpc.prefetch(to_tier(&payload_id, v1::Tier::Ram)),
    ] {
        assert_eq!(reason(moved(answer.unwrap())), elsewhere);
    }
    let by_force = v1::DeletePayloadRequest {
        force: true,
        ..delete(&payload_id)
    };
    assert_eq!(reason(grpc.delete_payload(by_force)), elsewhere);
    assert_eq!(reason(other.commit(commit(&allocation.payload_id))), elsewhere);
    let waiting = v1::AcquireRequest {
        wait_ms: 60_000,
        ..acquire(&[&allocation.payload_id])
    };
    assert_eq!(
        reason(other.acquire(waiting).unwrap().remove(0).map(|held| held.lease)),
        elsewhere
    );
    session.lease(&payload_id);
    session.commit(commit(&allocation.payload_id)).unwrap();
}

#[test]
fn what_is_said_about_a_payload_can_be_said_anywhere() {
    let postgres = Postgres::start();
    let (here, there) = (world(&postgres), world(&postgres));
    let payload_id = here.session().put_id(b"here");
    let labels = |world: &World| {
        let answer = world.grpc().get_payload(get(&payload_id)).unwrap();
        answer.payload.unwrap().labels
    };
    for (round, (writer, reader)) in [(&there, &here), (&here, &there), (&there, &here)]
        .into_iter()
        .enumerate()
    {
        let update = v1::UpdatePayloadRequest {
            payload_id: payload_id.clone(),
            update_mask: vec!["labels".to_owned()],
            labels: [("round".to_owned(), round.to_string())].into(),
            ..Default::default()
        };
        writer.grpc().update_payload(update).unwrap();
        until("the label to be seen", || {
            labels(reader)
                .get("round")
                .filter(|seen| **seen == round.to_string())
                .map(drop)
        });
    }
    assert_eq!(here.events(&payload_id), ["committed", "updated", "updated", "updated"]);
    assert_eq!(there.events(&payload_id), here.events(&payload_id));
}

/// One of the two loses the database for a while; what it would have been told is said meanwhile.
#[test]
fn what_could_not_be_heard_is_made_up_for() {
    let postgres = Postgres::start();
    let wire = Proxy::before(&postgres);
    let here = World::with(&format!("[repository]\nurl = \"{}\"\npoll = \"1h\"\n", wire.url()));
    let there = world(&postgres);
    let session = here.session();
    let (deleted, labelled) = (session.put_id(b"deleted"), session.put_id(b"labelled"));
    wire.cut(Cut::All);
    there.grpc().delete_payload(delete(&deleted)).unwrap();
    let update = v1::UpdatePayloadRequest {
        payload_id: labelled.clone(),
        update_mask: vec!["labels".to_owned()],
        labels: [("k".to_owned(), "v".to_owned())].into(),
        ..Default::default()
    };
    there.grpc().update_payload(update).unwrap();
    // Its bytes are there all the same.
    session.lease(&labelled);
    assert_eq!(state(&there, &deleted), v1::State::Deleting);
    wire.cut(Cut::Never);
    ends(&there, &deleted);
    let seen = here.grpc().get_payload(get(&labelled)).unwrap().payload.unwrap();
    assert_eq!(seen.labels.get("k").map(String::as_str), Some("v"));
}

#[test]
fn one_node_expires_what_is_on_another() {
    let postgres = Postgres::start();
    let (here, there) = (world(&postgres), world(&postgres));
    let session = here.session();
    let payload_id = session
        .put(with_ttl(300, b"short"))
        .unwrap()
        .payload
        .unwrap()
        .payload_id;
    ends(&there, &payload_id);
    assert_eq!(here.events(&payload_id), ["committed", "expired", "deleted"]);

    // The node of this one is gone when its time is over; it finishes what was begun when it comes back.
    let request = v1::PutRequest {
        tier: v1::Tier::Disk.into(),
        ..put(b"on disk")
    };
    let payload_id = session.put(request).unwrap().payload.unwrap().payload_id;
    here.daemon.signal(Signal::STOP);
    let update = v1::UpdatePayloadRequest {
        payload_id: payload_id.clone(),
        update_mask: vec!["expiry".to_owned()],
        expires_in_ms: Some(1),
        ..Default::default()
    };
    there.grpc().update_payload(update).unwrap();
    until("the payload to expire", || {
        (state(&there, &payload_id) == v1::State::Deleting).then_some(())
    });
    let here = here.kill_and_restart();
    ends(&there, &payload_id);
    assert_eq!(here.events(&payload_id), ["committed", "updated", "expired", "deleted"]);
}

#[test]
fn a_deletion_asked_of_both_happens_once() {
    let postgres = Postgres::start();
    let (here, there) = (world(&postgres), world(&postgres));
    let session = here.session();
    for round in 0..10_u8 {
        let payload_id = session.put_id(&[round; 100]);
        let asked = std::thread::scope(|scope| {
            let ask = |world: &World| world.grpc().delete_payload(delete(&payload_id));
            let asked = [&here, &there].map(|world| scope.spawn(move || ask(world)));
            asked.map(|thread| thread.join().unwrap())
        });
        let done = asked.iter().filter(|answer| answer.is_ok()).count();
        assert!(done == 1, "{asked:?}");
        ends(&there, &payload_id);
        assert_eq!(there.events(&payload_id), ["committed", "delete_requested", "deleted"]);
    }
}

#[test]
fn a_name_that_both_want_to_move_is_moved_once() {
    let postgres = Postgres::start();
    let (here, there) = (world(&postgres), world(&postgres));
    let point = |world: &World, payload_id: &str, from: &str| {
        let request = v1::SetNameRequest {
            payload_id: payload_id.to_owned(),
            naming: Some(v1::Naming {
                name: "latest".to_owned(),
                if_payload_id: from.to_owned(),
                replace: false,
            }),
            ..Default::default()
        };
        world.grpc().set_name(request)
    };
    let mut last = here.session().put_id(b"first");
    point(&here, &last, "").unwrap();
    for round in 0..10_u8 {
        let next = [&here, &there].map(|world| world.session().put_id(&[round; 10]));
        let asked = std::thread::scope(|scope| {
            let (point, last) = (&point, &last);
            let asked = [(&here, &next[0]), (&there, &next[1])]
                .map(|(world, next)| scope.spawn(move || point(world, next, last)));
            asked.map(|thread| thread.join().unwrap())
        });
        let done: Vec<usize> = (0..2).filter(|one| asked[*one].is_ok()).collect();
        assert_eq!(done.len(), 1, "{asked:?}");
        last.clone_from(&next[done[0]]);
        for world in [&here, &there] {
            let found = world.grpc().get_payload(get("name:latest")).unwrap();
            assert_eq!(found.payload.unwrap().payload_id, last);
        }
    }
}

#[test]
fn one_server_works_while_the_other_is_dead() {
    let postgres = Postgres::start();
    let (here, there) = (world(&postgres), world(&postgres));
    let (lost, deleted) = (here.session().put_id(b"lost"), here.session().put_id(b"deleted"));
    let here = {
        // In the middle of things, for all that the other one knows.
        here.daemon.signal(Signal::STOP);
        assert_eq!(state(&there, &lost), v1::State::Active);
        let answer = there.grpc().delete_payload(delete(&deleted)).unwrap();
        assert_eq!(answer.state(), v1::State::Deleting);
        let own = there.session().put_id(b"own");
        there.session().lease(&own);
        there.grpc().delete_payload(delete(&own)).unwrap();
        // The session that had the lease ends in a thread of its own.
        until("what was leased to go", || {
            (state(&there, &own) == v1::State::Deleted).then_some(())
        });
        here.kill_and_restart()
    };
    // Nobody kept its memory.
    assert_eq!(state(&there, &lost), v1::State::Lost);
    assert_eq!(state(&there, &deleted), v1::State::Deleted);
    assert_eq!(state(&here, &deleted), v1::State::Deleted);
}

/// A server with the identity of another one, as from a copy of its data directory.
fn twin(of: &World, postgres: &Postgres) -> (tempfile::TempDir, Setup) {
    let dir = directory();
    let copy = data_dir(&dir);
    std::fs::create_dir(&copy).unwrap();
    for file in ["node.json", "node.key"] {
        std::fs::copy(of.daemon.data_dir().join(file), copy.join(file)).unwrap();
    }
    let setup = setup(&copy).config(&format!("{CONFIG}{}", config(postgres)));
    (dir, setup)
}

#[test]
fn an_empty_server_stands_in_for_one_that_is_gone_for_ever() {
    let postgres = Postgres::start();
    let (gone, there) = (world(&postgres), world(&postgres));
    let session = gone.session();
    let in_memory = session.put_id(b"in memory");
    let on_disk = session.publish_on_disk(&[7; 100_000]).payload_id;
    let deleted = session.put_id(b"deleted");
    let (_dir, stand_in) = twin(&gone, &postgres);
    let World { daemon, .. } = gone;
    daemon.kill();
    there.grpc().delete_payload(delete(&deleted)).unwrap();
    assert_eq!(state(&there, &in_memory), v1::State::Active);

    let stand_in = stand_in.start();
    assert_eq!(state(&there, &in_memory), v1::State::Lost);
    ends(&there, &deleted);
    let session = crate::support::local::Local::open(&stand_in.endpoint().socket);
    let refusal = session.acquire(acquire(&[&on_disk])).unwrap().remove(0).unwrap_err();
    assert_eq!(refusal.code, Code::DataLoss, "{refusal:?}");
    assert_eq!(state(&there, &on_disk), v1::State::Lost);
}

#[test]
fn fault_57_a_copy_of_a_data_directory_does_not_start_next_to_it() {
    let postgres = Postgres::start();
    let world = world(&postgres);
    let (_dir, twin) = twin(&world, &postgres);
    let mut second = twin.spawn();
    assert!(!second.wait().success());
    assert!(
        second.log().contains("another server works for this node"),
        "{}",
        second.log()
    );
    world.session().put_id(b"not disturbed");
}

#[test]
fn fault_57_a_server_that_was_replaced_while_it_stood_still_is_fenced() {
    let postgres = Postgres::start();
    let mut world = world(&postgres);
    let session = world.session();
    session.put_id(b"before");
    world.daemon.signal(Signal::STOP);
    // What a database does by itself when the host of a server is gone.
    postgres.psql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'payloadd'");
    let (_dir, twin) = twin(&world, &postgres);
    let replacement = twin.start();
    world.daemon.signal(Signal::CONT);
    // It may be cut off before it has answered.
    session.send(v1::client_message::Request::Put(put(b"too late")));
    assert_eq!(world.daemon.wait().code(), Some(70));
    assert!(
        world.daemon.log().contains("another server has taken over this node"),
        "{}",
        world.daemon.log()
    );
    crate::support::local::Local::open(&replacement.endpoint().socket).put_id(b"after");
}
