//! Clients that stop, die or are in the way: what they held is free in bounded time, and what they read was right.

use std::io::Read;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use payload_proto::v1;
use payload_testkit::process::{pass, until};

use super::client::Connection;
use super::{IMPATIENT, path};
use crate::support::samples::{allocate, commit, content, delete};
use crate::support::{World, used};

/// More than the kernel takes for a receiver that does not read.
const LARGE: usize = 32 << 20;

impl World {
    /// A transfer that has begun and is not read on.
    fn stalled(&self, id: &str) -> Connection {
        let mut connection = self.bytes();
        connection.request("GET", &path(id), "");
        assert!(connection.head().unwrap().starts_with("HTTP/1.1 200 "));
        connection
    }

    fn state(&self, id: &str) -> v1::State {
        let request = crate::support::samples::get(id);
        self.grpc().get_payload(request).unwrap().payload.unwrap().state()
    }
}

#[test]
fn fault_19_a_reader_that_stalls_keeps_nothing_for_ever() {
    let world = World::with(IMPATIENT);
    let id = world.session().publish(&content(LARGE, 1)).payload_id;
    let stalled = world.stalled(&id);
    let deletion = world.grpc().delete_payload(delete(&id)).unwrap();
    assert_eq!((deletion.state(), deletion.leases), (v1::State::Deleting, 1));
    until("the stalled transfer to be cut off", || {
        (world.state(&id) == v1::State::Deleted).then_some(())
    });
    assert!(stalled.drained() < LARGE);
    world.await_stats("the memory to be free", |stats| used(stats, v1::Tier::Ram) == 0);
}

#[test]
fn fault_19_peers_that_move_next_to_nothing_are_cut_off_too() {
    let world = World::with(IMPATIENT);
    let id = world.session().publish(&content(LARGE, 1)).payload_id;
    let mut reader = world.stalled(&id);
    let (filled, token) = world.allocated(100_000, v1::Tier::Ram);
    let mut writer = world.bytes();
    let headers = format!("Payload-Allocation: {token}\r\nContent-Length: 100000\r\n");
    writer.request("PUT", &path(&filled), &headers);
    world.grpc().delete_payload(delete(&id)).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Something moves all the time, and to the end it would take minutes.
        scope.spawn(|| {
            let mut step = [0; 1_000];
            while !over.load(Ordering::Relaxed) {
                let _ = reader.stream.read(&mut step);
                writer.send(b"x");
                pass(Duration::from_millis(5));
            }
        });
        until("the transfer to be cut off", || {
            (world.state(&id) == v1::State::Deleted).then_some(())
        });
        until("the upload to be cut off", || {
            let reply = world.upload(&filled, &token, "", &[7; 100_000]);
            (reply.status == 204).then_some(())
        });
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn fault_16_a_reader_that_dies_gives_its_lease_back_at_once() {
    let world = World::start();
    let id = world.session().publish(&content(LARGE, 2)).payload_id;
    let stalled = world.stalled(&id);
    assert_eq!(world.stats().leases, 1);
    let leases = world
        .grpc()
        .list_leases(v1::ListLeasesRequest::default())
        .unwrap()
        .leases;
    let holder = leases[0].holder.as_ref().unwrap();
    assert_eq!((&*holder.principal, &*holder.command), ("loopback", "byte endpoint"));
    drop(stalled);
    world.await_leases(0);
}

#[test]
fn a_deletion_by_force_ends_a_transfer() {
    let world = World::start();
    let bytes = content(LARGE, 3);
    let id = world.session().publish(&bytes).payload_id;
    let stalled = world.stalled(&id);
    let request = v1::DeletePayloadRequest {
        force: true,
        ..delete(&id)
    };
    assert_eq!(
        world.grpc().delete_payload(request).unwrap().state(),
        v1::State::Deleted
    );
    // What was on its way comes, and then the connection breaks.
    assert!(stalled.drained() < LARGE);
}

#[test]
fn fault_19_an_upload_that_stalls_is_cut_off() {
    let world = World::with(IMPATIENT);
    let (id, token) = world.allocated(1_000, v1::Tier::Ram);
    let mut stalled = world.bytes();
    let headers = format!("Payload-Allocation: {token}\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n");
    stalled.request("PUT", &path(&id), &headers);
    // Only then it is the first.
    assert!(stalled.head().unwrap().starts_with("HTTP/1.1 100 "));
    stalled.send(b"half of i");
    until("the stalled upload to end", || {
        let reply = world.upload(&id, &token, "", &[7; 1_000]);
        (reply.status == 204).then_some(())
    });
    assert_eq!(stalled.head(), None);
    world.grpc().commit(commit(&id)).unwrap();
}

#[test]
fn fault_08_a_stop_lets_transfers_end_and_idle_connections_go() {
    let world = World::start();
    let bytes = content(LARGE, 4);
    let id = world.session().publish(&bytes).payload_id;
    let request = v1::AllocateRequest {
        tier: v1::Tier::Disk.into(),
        ..allocate(1_000)
    };
    let grpc = world.grpc();
    let allocation = grpc.allocate(request).unwrap();
    let mut reading = world.stalled(&id);
    let mut idle = world.bytes();
    idle.request("HEAD", &path(&id), "");
    idle.reply_to("HEAD");
    let mut writing = world.bytes();
    let token = &allocation.allocation_token;
    let headers = format!("Payload-Allocation: {token}\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n");
    writing.request("PUT", &path(&allocation.payload_id), &headers);
    assert!(writing.head().unwrap().starts_with("HTTP/1.1 100 "));
    drop(grpc);

    world.daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(idle.head(), None, "an idle connection ends at once");
    writing.send([9; 1_000]);
    let written = writing.reply_to("PUT");
    assert_eq!((written.status, written.header("Connection")), (204, Some("close")));
    let _ = writing.stream.shutdown(Shutdown::Both);
    assert!(
        reading.take(LARGE) == bytes,
        "a transfer that is under way ends as it should"
    );
    let mut daemon = world.daemon;
    assert!(daemon.wait().success());
}
