//! Clients that die, sleep, overstay, tamper or want too much.

use payload_proto::v1;
use payload_proto::v1::notice::Notice;
use payload_testkit::process::{elapsed, until};
use rustix::process::Signal;

use crate::support::child::Actor;
use crate::support::local::Local;
use crate::support::map::Map;
use crate::support::refusal::{Refusal, lease, reason};
use crate::support::samples::{acquire, allocate, content, delete, fill, get, put};
use crate::support::{World, used};

/// A client process with two leases and a half-written allocation, and the ids of payload and allocation.
fn holder(world: &World) -> (Actor, String, String) {
    let mut actor = Actor::start("holder", world.socket());
    let ids = actor.hear();
    let (payload, allocation) = ids.split_once(' ').unwrap();
    let stats = world.stats();
    assert_eq!((stats.sessions, stats.leases, stats.allocations), (1, 2, 1));
    (actor, payload.to_owned(), allocation.to_owned())
}

#[test]
fn fault_16_a_killed_holders_leases_end_at_once() {
    let world = World::start();
    let (actor, payload, _) = holder(&world);
    let deletion = world.grpc().delete_payload(delete(&payload)).unwrap();
    assert_eq!((deletion.state(), deletion.leases), (v1::State::Deleting, 1));
    let ((), took) = elapsed(|| {
        actor.signal(Signal::KILL);
        world.await_stats("the leases to end", |stats| (stats.sessions, stats.leases) == (0, 0));
    });
    println!("leases of a killed holder ended after {took:?}");
    // What waited for its lease is gone too.
    await_deleted(&world, &payload);
}

#[test]
fn fault_17_a_killed_writers_allocation_is_aborted_and_freed() {
    let world = World::start();
    let (actor, _, allocation) = holder(&world);
    let before = used(&world.stats(), v1::Tier::Ram);
    let ((), took) = elapsed(|| {
        actor.signal(Signal::KILL);
        world.await_stats("the allocation to end", |stats| stats.allocations == 0);
    });
    println!("allocation of a killed writer ended after {took:?}");
    assert_eq!(world.events(&allocation), ["allocated", "writer_died"]);
    let payload = world.grpc().get_payload(get(&allocation)).unwrap().payload.unwrap();
    assert_eq!(payload.state(), v1::State::Aborted);
    world.await_stats("the room to be free", |stats| {
        used(stats, v1::Tier::Ram) <= before - 100_000
    });
}

#[test]
fn fault_18_what_is_mapped_stays_right_when_the_lease_ends_and_new_opens_are_refused() {
    let world = World::start();
    let session = world.session();
    let bytes = content(200_000, 1);
    let payload_id = session.publish(&bytes).payload_id;
    let request = v1::AcquireRequest {
        ttl_ms: Some(1),
        ..acquire(&[&payload_id])
    };
    let held = session.acquire(request).unwrap().remove(0).unwrap();
    let mapped = Map::readable(held.fd.unwrap(), bytes.len()).unwrap();
    assert!(matches!(session.notice(), Notice::LeaseEnded(_)));
    world.grpc().delete_payload(delete(&payload_id)).unwrap();
    await_deleted(&world, &payload_id);
    fill_ram(&world.session());
    assert_eq!(mapped.copy(), bytes);
    let refusal = session.acquire(acquire(&[&payload_id])).unwrap().remove(0);
    assert_eq!(reason(refusal), "PAYLOAD_DELETED");
}

#[test]
fn fault_19_a_reader_that_sleeps_through_its_terms_sees_its_own_bytes() {
    let world = World::start();
    let mut reader = Actor::start("sleeper", world.socket());
    let ids = reader.hear();
    reader.signal(Signal::STOP);
    world.await_stats("its leases to run out", |stats| stats.leases == 0);
    replace(&world, &ids);
    reader.signal(Signal::CONT);
    reader.go_on();
    assert_eq!(reader.hear(), "unchanged");
}

#[test]
fn fault_19_a_reader_that_keeps_its_mapping_when_its_socket_is_closed_sees_its_own_bytes() {
    let world = World::start();
    let mut reader = Actor::start("leaver", world.socket());
    let ids = reader.hear();
    world.await_stats("its session to end", |stats| (stats.sessions, stats.leases) == (0, 0));
    replace(&world, &ids);
    reader.go_on();
    assert_eq!(reader.hear(), "unchanged");
}

#[test]
fn fault_19_a_client_that_maps_a_slab_and_never_leaves_is_shown_and_holds_up_nothing_else() {
    let world = World::start();
    let ram = |stats: &v1::GetStatsResponse| {
        let tier = stats.tiers.iter().find(|tier| tier.tier() == v1::Tier::Ram).unwrap();
        (tier.replicas, tier.used_bytes, tier.zombie_bytes, tier.containers)
    };
    let mut reader = Actor::start("leaver", world.socket());
    let ids = reader.hear();
    world.await_stats("its session to end", |stats| (stats.sessions, stats.leases) == (0, 0));
    for payload_id in ids.split(' ') {
        world.grpc().delete_payload(delete(payload_id)).unwrap();
        await_deleted(&world, payload_id);
    }
    world.await_stats("nothing but its memory to be left", |stats| {
        let (replicas, used, zombie, _) = ram(stats);
        replicas == 0 && zombie > 0 && used == zombie
    });
    let metrics = crate::support::http::get(&world.daemon.endpoint().http, "/metrics");
    let zombie = ram(&world.stats()).2;
    let line = format!("payload_tier_bytes{{kind=\"zombie\",tier=\"RAM\"}} {zombie}").to_lowercase();
    assert!(metrics.to_lowercase().contains(&line), "{metrics}");

    // The rest of the tier is for others, again and again.
    for _ in 0..3 {
        let session = world.session();
        let payload_id = session.publish(&content(20 << 20, 1)).payload_id;
        world.grpc().delete_payload(delete(&payload_id)).unwrap();
        await_deleted(&world, &payload_id);
    }
    assert!(ram(&world.stats()).2 >= zombie);
    reader.go_on();
    assert_eq!(reader.hear(), "unchanged");
    reader.signal(Signal::KILL);
    world.await_stats("its memory to be free", |stats| ram(stats) == (0, 0, 0, 0));
}

/// Deletes payloads and fills the RAM tier with others.
fn replace(world: &World, ids: &str) {
    for payload_id in ids.split(' ') {
        world.grpc().delete_payload(delete(payload_id)).unwrap();
        await_deleted(world, payload_id);
    }
    fill_ram(&world.session());
}

fn await_deleted(world: &World, payload_id: &str) {
    let grpc = world.grpc();
    until("the payload to be deleted", || {
        let payload = grpc.get_payload(get(payload_id)).unwrap().payload.unwrap();
        (payload.state() == v1::State::Deleted).then_some(())
    });
}

/// Until no room is left, with large and with small payloads.
fn fill_ram(session: &Local) {
    let full = |refusal: Refusal| assert_eq!(refusal.reason, "TIER_FULL", "{refusal:?}");
    loop {
        let in_ram = v1::AllocateRequest {
            tier: v1::Tier::Ram.into(),
            ..allocate(4 << 20)
        };
        match session.allocate(in_ram) {
            Ok((allocation, fd)) => {
                fill(fd.unwrap(), &content(4 << 20, 0xff));
                session
                    .commit(crate::support::samples::commit(&allocation.payload_id))
                    .unwrap();
            }
            Err(refusal) => break full(refusal),
        }
    }
    loop {
        let in_ram = v1::PutRequest {
            tier: v1::Tier::Ram.into(),
            ..put(&content(64 << 10, 0xff))
        };
        if let Err(refusal) = session.put(in_ram) {
            break full(refusal);
        }
    }
}

#[test]
fn fault_23_a_commit_is_refused_while_the_writer_can_still_write() {
    let world = World::start();
    let session = world.session();
    let (allocation, fd) = session.allocate(allocate(3 << 20)).unwrap();
    let mapped = Map::writable(fd.unwrap(), 3 << 20).unwrap();
    let commit = crate::support::samples::commit(&allocation.payload_id);
    assert_eq!(reason(session.commit(commit.clone())), "WRITER_MAPPED");
    mapped.write(&content(3 << 20, 4));
    drop(mapped);
    session.commit(commit).unwrap();
    assert_eq!(session.lease(&allocation.payload_id).read(), content(3 << 20, 4));
}

#[test]
fn fault_24_the_kernel_refuses_another_process_that_tampers() {
    let world = World::start();
    let session = world.session();
    let small = session.put_id(&content(1_000, 2));
    let mut tamperer = Actor::start("tamperer", world.socket());
    let large = tamperer.hear();
    // The producer's own descriptor, and a reader's of a shared slab.
    assert_eq!(tamperer.hear(), "write truncate punch grow map reopen: all refused");
    session.put_id(&content(1_000, 3));
    assert_eq!(tamperer.hear(), "write truncate punch grow map reopen: all refused");
    assert_eq!(session.lease(&large).read(), content(3_000_000, 1));
    assert_eq!(session.lease(&small).read(), content(1_000, 2));
}

#[test]
fn fault_26_one_principal_cannot_have_everything_and_administration_goes_on() {
    let world = World::with(
        "[sessions]\nmax = 8\nper_principal_max = 4\nleases_per_principal_max = 100\nallocations_per_principal_max = 10\n",
    );
    let greedy = world.session();
    let payload_id = greedy.put_id(b"x");
    let granted = (0..).find(|_| greedy.acquire(acquire(&[&payload_id])).unwrap().remove(0).is_err());
    assert_eq!(granted, Some(100));
    let refusal = greedy.acquire(acquire(&[&payload_id])).unwrap().remove(0).unwrap_err();
    assert_eq!(
        (&*refusal.reason, refusal.retry_after_ms),
        ("TOO_MANY_LEASES", Some(1_000))
    );

    let mut allocations = Vec::new();
    let refusal = loop {
        match greedy.allocate(allocate(1)) {
            Ok(allocation) => allocations.push(allocation),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!((allocations.len(), &*refusal.reason), (10, "TOO_MANY_ALLOCATIONS"));

    let others = [world.session(), world.session(), world.session()];
    let fifth = Local::connect(world.socket());
    assert_eq!(reason(fifth.hello()), "TOO_MANY_SESSIONS");
    assert_eq!(
        reason(others[0].acquire(acquire(&[&payload_id])).unwrap().remove(0)),
        "TOO_MANY_LEASES"
    );

    // Connections that never greet are bounded as well.
    let silent: Vec<Local> = (0..40).map(|_| Local::connect(world.socket())).collect();
    let answered = |local: &&Local| local.socket.wait_readable(Some(std::time::Duration::ZERO)).unwrap();
    let refused = until("all but 16 connections to be refused", || {
        let refused: Vec<&Local> = silent.iter().filter(answered).collect();
        (refused.len() >= 40 - 16).then_some(refused)
    });
    let answer = refused[0].answer().message.response;
    assert!(format!("{answer:?}").contains("TOO_MANY_SESSIONS"), "{answer:?}");

    // Another principal, administration and health do not notice.
    let grpc = world.grpc();
    let other = lease(grpc.acquire(acquire(&[&payload_id])).unwrap().results.remove(0));
    other.unwrap();
    assert_eq!(world.stats().leases, 101);
    let health = crate::support::http::get(&world.daemon.endpoint().http, "/readyz");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
}

#[test]
fn fault_53_what_a_session_was_granted_is_of_no_use_to_another() {
    let world = World::start();
    let owner = Local::connect(world.socket());
    let session_id = owner.hello().unwrap().session_id;
    let payload = owner.publish(&content(100_000, 1));
    let held = owner.lease(&payload.payload_id);
    let (allocation, _fd) = owner.allocate(allocate(10)).unwrap();

    let thief = world.session();
    let request = v1::ReclaimRequest {
        session_id,
        leases: vec![v1::LeaseRef {
            lease_id: held.lease.lease_id.clone(),
            payload_id: payload.payload_id.clone(),
            replica_id: held.lease.descriptor.unwrap().replica_id,
        }],
        allocations: vec![v1::AllocationRef {
            payload_id: allocation.payload_id.clone(),
            allocation_token: allocation.allocation_token,
        }],
        ..Default::default()
    };
    let (mut response, fds) = thief.reclaim(request).unwrap();
    assert!(fds.is_empty());
    assert_eq!(reason(lease(response.leases.remove(0))), "SESSION_NOT_FOUND");
    let Some(v1::reclaimed_allocation::Result::Failure(failure)) = response.allocations.remove(0).result else {
        panic!("somebody else's allocation was reclaimed");
    };
    assert_eq!(failure.reason, "ALLOCATION_NOT_OWNED");
    let commit = crate::support::samples::commit(&allocation.payload_id);
    assert_eq!(thief.commit(commit).unwrap_err().reason, "ALLOCATION_NOT_OWNED");
    assert_eq!(world.stats().leases, 1);
    owner
        .commit(crate::support::samples::commit(&allocation.payload_id))
        .unwrap();
}
