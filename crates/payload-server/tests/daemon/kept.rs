//! The server with its keeper in front, as users start it: killed, it comes back with what was in memory.

use payload_proto::v1;
use payload_testkit::process::{Daemon, until};

use crate::support::grpc::Grpc;
use crate::support::local::{Local, held};
use crate::support::map::Map;
use crate::support::refusal::{lease, reason};
use crate::support::samples::{acquire, commit, content};
use crate::support::{data_dir, directory, setup};

#[test]
fn fault_21_a_killed_server_comes_back_and_its_sessions_take_up_what_they_held() {
    let dir = directory();
    let setup = setup(&data_dir(&dir))
        .config("[tiers.ram]\ncapacity = \"64MiB\"\n")
        .kept();
    let mut daemon = setup.start();
    let session = Local::connect(&daemon.endpoint().socket);
    let before = session.hello().unwrap();
    let keeper = Grpc::tcp(&daemon.endpoint().grpc)
        .get_stats(v1::GetStatsRequest {})
        .unwrap()
        .keeper
        .unwrap();
    assert_eq!((&*keeper.kind, keeper.connected), ("built-in", true));

    let bytes = content(3_000_000, 1);
    let payload = session.publish(&bytes);
    let small = session.put_id(b"in a slab");
    let leased = session.lease(&payload.payload_id);
    let mapped = Map::readable(leased.fd.as_ref().unwrap(), bytes.len()).unwrap();
    let (allocation, fd) = session.allocate(crate::support::samples::allocate(5_000)).unwrap();
    Map::writable(fd.as_ref().unwrap(), 5_000)
        .unwrap()
        .write(&content(5_000, 2));
    drop(fd);

    let first = daemon.first_pid();
    assert_ne!(first, daemon.pid());
    daemon.signal(rustix::process::Signal::KILL);
    session.await_end();
    daemon.await_next();
    assert_eq!(daemon.first_pid(), first);
    assert_eq!(mapped.copy(), bytes, "who does nothing sees its bytes");

    let session = Local::connect(&daemon.endpoint().socket);
    let after = session.hello().unwrap();
    assert_eq!((&after.node_id, after.epoch), (&before.node_id, before.epoch + 1));
    let request = v1::ReclaimRequest {
        session_id: before.session_id.clone(),
        leases: vec![v1::LeaseRef {
            lease_id: leased.lease.lease_id,
            payload_id: payload.payload_id,
            replica_id: leased.lease.descriptor.unwrap().replica_id,
        }],
        allocations: vec![v1::AllocationRef {
            payload_id: allocation.payload_id.clone(),
            allocation_token: allocation.allocation_token,
        }],
        ..Default::default()
    };
    let (response, fds) = session.reclaim(request).unwrap();
    assert!(response.allocations[0].result.is_some(), "{response:?}");
    let results = v1::AcquireResponse {
        results: response.leases,
    };
    assert_eq!(held(results, fds).remove(0).unwrap().read(), bytes);
    session.commit(commit(&allocation.payload_id)).unwrap();
    assert_eq!(session.lease(&allocation.payload_id).read(), content(5_000, 2));
    assert_eq!(session.lease(&small).read(), b"in a slab");

    // A made-up session has nothing to take up.
    let forged = v1::ReclaimRequest {
        session_id: after.session_id,
        leases: vec![v1::LeaseRef {
            lease_id: "0".repeat(48),
            payload_id: small.clone(),
            replica_id: small.clone(),
        }],
        ..Default::default()
    };
    let (mut response, _) = session.reclaim(forged).unwrap();
    assert_eq!(reason(lease(response.leases.remove(0))), "SESSION_NOT_FOUND");
    let remote = Grpc::tcp(&daemon.endpoint().grpc)
        .acquire(acquire(&[&small]))
        .unwrap()
        .results
        .remove(0);
    lease(remote).unwrap();
}

#[test]
fn a_stopped_server_leaves_memory_with_its_keeper_for_the_next_one() {
    let dir = directory();
    let setup = setup(&data_dir(&dir))
        .config("[tiers.ram]\ncapacity = \"64MiB\"\n")
        .kept();
    let mut daemon = setup.start();
    let session = Local::open(&daemon.endpoint().socket);
    let payload_id = session.publish(&content(100_000, 3)).payload_id;
    drop(session);
    assert_eq!(daemon.terminate().code(), Some(0));
    let next = setup.start();
    assert_eq!(
        Local::open(&next.endpoint().socket).lease(&payload_id).read(),
        content(100_000, 3)
    );
}

#[test]
fn memory_is_made_ready_ahead_of_payloads_and_dies_with_its_server() {
    let dir = directory();
    let setup = setup(&data_dir(&dir))
        .config("[tiers.ram]\ncapacity = \"128MiB\"\n")
        .pool("24MiB")
        .kept();
    let mut daemon = setup.start();
    let ram = |daemon: &Daemon| {
        let stats = Grpc::tcp(&daemon.endpoint().grpc)
            .get_stats(v1::GetStatsRequest {})
            .unwrap();
        stats
            .tiers
            .into_iter()
            .find(|tier| tier.tier() == v1::Tier::Ram)
            .unwrap()
    };
    let ready = |daemon: &Daemon, bytes: u64| {
        until("memory to be made ready", || {
            (ram(daemon).pool_bytes == bytes).then_some(())
        });
    };
    ready(&daemon, 24 << 20);

    let bytes = content(7 << 20, 1);
    let payload = Local::open(&daemon.endpoint().socket).publish(&bytes);
    // Of what was asked for last, the 7 and one of 16 fit in.
    ready(&daemon, 23 << 20);
    let tier = ram(&daemon);
    assert_eq!((tier.charged_bytes, tier.used_bytes), (7 << 20, 30 << 20));

    daemon.signal(rustix::process::Signal::KILL);
    daemon.await_next();
    ready(&daemon, 24 << 20);
    let tier = ram(&daemon);
    assert_eq!((tier.charged_bytes, tier.used_bytes), (7 << 20, 31 << 20));
    let leased = Local::open(&daemon.endpoint().socket).lease(&payload.payload_id);
    let mapped = Map::readable(leased.fd.as_ref().unwrap(), bytes.len()).unwrap();
    assert_eq!(mapped.copy(), bytes);
}
