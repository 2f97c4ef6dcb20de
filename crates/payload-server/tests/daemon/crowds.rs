//! Readers of what is on disk: a crowd that wants one payload, and one that goes round and round over a little too much.

use payload_proto::v1;
use payload_proto::v1::Tier::{Disk, Ram};
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;
use payload_testkit::process::until;

use crate::support::local::Local;
use crate::support::refusal::{lease, moved};
use crate::support::samples::{acquire, content, release, to_tier};
use crate::support::{World, http};

/// Big enough for a segment or a file of its own.
const SIZE: usize = 3 << 20;

/// RAM for five payloads, four of which it is emptied down to.
const SMALL: &str = r#"
tiers.ram.capacity = "16MiB"
tiers.disk.capacity = "256MiB"
allocations.room_wait = "1m"
keeper.kind = "none"
"#;

/// The sum of the samples of a metric whose name and labels begin so.
fn sum(world: &World, begin: &str) -> u64 {
    let metrics = http::get(&world.daemon.endpoint().http, "/metrics");
    let samples = metrics.lines().filter(|line| line.starts_with(begin));
    samples
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn fault_45_a_thousand_readers_of_one_payload_on_disk_make_one_copy() {
    let world = World::of(SMALL);
    let bytes = content(SIZE, 1);
    let id = world.session().publish(&bytes).payload_id;
    moved(world.grpc().spill(to_tier(&id, Disk)).unwrap()).unwrap();
    let request = v1::AcquireRequest {
        min_tier: Ram.into(),
        ..acquire(&[&id])
    };
    let crowd: Vec<Local> = (0..50).map(|_| world.session()).collect();
    for session in &crowd {
        for _ in 0..20 {
            session.send(Request::Acquire(request.clone()));
        }
    }
    for session in &crowd {
        for _ in 0..20 {
            let Response::Acquire(mut response) = session.answer().message.response.unwrap() else {
                panic!("not an answer to an acquire");
            };
            let lease = lease(response.results.remove(0)).unwrap();
            assert_eq!(lease.descriptor.unwrap().tier(), Ram);
        }
    }
    assert_eq!(sum(&world, "payload_moves_total{path=\"disk-ram\""), 1);
    assert!(world.session().lease(&id).read() == bytes);
}

#[test]
fn fault_46_readers_of_a_little_more_than_fits_move_at_most_twice_that() {
    let world = World::of(SMALL);
    let session = world.session();
    let ids: Vec<String> = (0..6)
        .map(|seed| session.publish(&content(SIZE, seed)).payload_id)
        .collect();
    for _ in 0..20 {
        for (seed, id) in (0..).zip(&ids) {
            let held = session.lease(id);
            if let Some(fd) = &held.fd {
                assert!(crate::support::samples::read(&held.lease, fd) == content(SIZE, seed));
            }
            session.release(release(&[&held.lease.lease_id])).unwrap();
        }
    }
    let grpc = world.grpc();
    until("nothing to move any more", || {
        let moves = grpc.list_transfers(v1::ListTransfersRequest {}).unwrap();
        (moves.running.is_empty() && moves.queued_total == 0).then_some(())
    });
    let moved = sum(&world, "payload_moved_bytes_total");
    println!("{} MiB moved of a working set of {} MiB", moved >> 20, (6 * SIZE) >> 20);
    assert!(moved > 0 && moved <= 2 * 6 * SIZE as u64, "{moved}");
}
