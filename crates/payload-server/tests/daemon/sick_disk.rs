//! A disk tier that is full, read-only, broken or silent: what is in memory goes on, who needs the disk is told, and it passes.

use payload_proto::v1;
use payload_proto::v1::Tier::{Disk, Ram};
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;
use payload_testkit::process::{Strace, until};

use crate::support::local::Local;
use crate::support::mount::Mount;
use crate::support::refusal::{Answer, moved};
use crate::support::samples::{allocate, content, get, to_tier};
use crate::support::{World, directory, http};

/// Big enough for a segment or a file of its own.
const SIZE: usize = 3 << 20;

/// RAM for five payloads, four of which bring it to the high watermark.
const SMALL: &str = r#"
tiers.ram.capacity = "16MiB"
tiers.disk.capacity = "32MiB"
allocations.room_wait = "200ms"
keeper.kind = "none"
"#;

/// The disk tier keeps as much of its file system free.
const RESERVE_MIB: u64 = 256;

/// A world whose disk tier has a file system of its own; nothing where this user may not mount one.
fn on_its_own_disk(dir: &tempfile::TempDir) -> Option<(Mount, World)> {
    let mount = Mount::new(&dir.path().join("small"), RESERVE_MIB + 40)?;
    let disk = mount.path().join("disk");
    let world = World::of(&format!("{SMALL}tiers.disk.path = \"{}\"\n", disk.display()));
    Some((mount, world))
}

fn tiers(world: &World, id: &str) -> Vec<v1::Tier> {
    let row = world.grpc().get_payload(get(id)).unwrap().payload.unwrap();
    let mut tiers: Vec<v1::Tier> = row.replicas.iter().map(v1::Replica::tier).collect();
    tiers.sort_unstable();
    tiers
}

fn spill(world: &World, id: &str) -> Answer<v1::Payload> {
    moved(world.grpc().spill(to_tier(id, Disk)).unwrap())
}

/// As many as fit into RAM without anybody's having to go.
fn publish_some(session: &Local, seeds: std::ops::Range<u8>) -> Vec<String> {
    seeds
        .map(|seed| session.publish(&content(SIZE, seed)).payload_id)
        .collect()
}

fn assert_readable(world: &World, ids: &[String]) {
    let session = world.session();
    for (seed, id) in (0..).zip(ids) {
        assert!(session.lease(id).read() == content(SIZE, seed), "{id}");
    }
}

/// What `/readyz` says about the disk, if anything; the server is ready in any case.
fn complaint(world: &World) -> Option<String> {
    let answer = http::get(&world.daemon.endpoint().http, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let degraded = answer.split_once("\"degraded\":").unwrap().1;
    degraded.contains("\"tier\":\"disk\"").then(|| degraded.to_owned())
}

#[test]
fn fault_13_a_full_disk_leaves_everything_in_ram_until_it_has_room_again() {
    let dir = directory();
    let Some((mount, world)) = on_its_own_disk(&dir) else {
        return;
    };
    let session = world.session();
    let ids = publish_some(&session, 0..4);
    let ballast = mount.fill_but(RESERVE_MIB + 1);
    let refusal = spill(&world, &ids[0]).unwrap_err();
    assert_eq!(
        (refusal.code, &*refusal.reason),
        (tonic::Code::ResourceExhausted, "TIER_FULL")
    );
    let last = publish_some(&session, 4..5);
    let refusal = session.allocate(allocate(SIZE as u64)).unwrap_err();
    assert_eq!(refusal.reason, "TIER_FULL");
    assert!(refusal.retry_after_ms.is_some(), "{refusal:?}");
    let ids = [ids, last].concat();
    assert!(ids.iter().all(|id| tiers(&world, id) == [Ram]));
    assert_readable(&world, &ids);
    until("the operators to be told", || complaint(&world));

    // Nobody asks for anything: what was to go goes.
    std::fs::remove_file(ballast).unwrap();
    until("RAM to be down to its watermark", || {
        ids.iter().any(|id| tiers(&world, id) == [Disk]).then_some(())
    });
    until("nothing to be wrong any more", || {
        complaint(&world).is_none().then_some(())
    });
    assert_readable(&world, &ids);
}

#[test]
fn fault_15_a_read_only_disk_is_read_and_everything_above_goes_on() {
    let dir = directory();
    let Some((mount, world)) = on_its_own_disk(&dir) else {
        return;
    };
    let session = world.session();
    let below = session.publish_on_disk(&content(SIZE, 0)).payload_id;
    mount.remount("ro");
    let above = session.publish(&content(SIZE, 1)).payload_id;
    let refusal = spill(&world, &above).unwrap_err();
    assert_eq!(
        (refusal.code, &*refusal.reason),
        (tonic::Code::Unavailable, "TIER_UNAVAILABLE")
    );
    let on_disk = v1::AllocateRequest {
        tier: Disk.into(),
        ..allocate(SIZE as u64)
    };
    assert_eq!(session.allocate(on_disk).unwrap_err().reason, "TIER_UNAVAILABLE");
    let told = complaint(&world).expect("the operators are told");
    assert!(told.contains("could not be written"), "{told}");
    assert_eq!(tiers(&world, &above), [Ram]);
    assert_readable(&world, &[below, above.clone()]);

    mount.remount("rw");
    spill(&world, &above).unwrap();
    assert_eq!((tiers(&world, &above), complaint(&world)), (vec![Disk], None));
}

#[test]
fn fault_11_a_file_whose_sync_fails_is_given_up_and_the_payload_stays_where_it_was() {
    let world = World::of(SMALL);
    let ids = publish_some(&world.session(), 0..3);
    let log = world.daemon.data_dir().with_extension("strace");
    let arguments = ["-e", "trace=fsync", "-e", "inject=fsync:error=EIO"];
    let Some(strace) = Strace::attach(world.daemon.pid(), &log, &arguments) else {
        return println!("this user may not look into the server, so no sync fails");
    };
    for id in &ids {
        let refusal = spill(&world, id).unwrap_err();
        assert_eq!(refusal.reason, "TIER_UNAVAILABLE", "{refusal:?}");
        assert_eq!(tiers(&world, id), [Ram]);
    }
    assert!(complaint(&world).is_some());
    drop(strace);
    assert_eq!(files(&world.disk().join("files")), 0);
    assert_readable(&world, &ids);
    for id in &ids {
        spill(&world, id).unwrap();
    }
    assert_eq!((complaint(&world), files(&world.disk().join("files"))), (None, 3));
    assert_readable(&world, &ids);
}

/// How many files are below a directory.
fn files(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[test]
fn fault_15_a_disk_that_never_ends_a_sync_holds_up_only_who_needs_it_and_not_for_ever() {
    let world = World::of(SMALL);
    let session = world.session();
    let below = session.publish_on_disk(&content(SIZE, 0)).payload_id;
    let mut ids = vec![below];
    ids.extend(publish_some(&session, 1..5));
    let log = world.daemon.data_dir().with_extension("strace");
    let arguments = ["-e", "trace=fsync", "-e", "inject=fsync:delay_enter=600000000"];
    let Some(strace) = Strace::attach(world.daemon.pid(), &log, &arguments) else {
        return println!("this user may not look into the server, so no sync takes long");
    };
    ids.extend(publish_some(&session, 5..6));
    let grpc = world.grpc();
    until("something to be on its way down", || {
        let moves = grpc.list_transfers(v1::ListTransfersRequest {}).unwrap();
        (!moves.running.is_empty()).then_some(())
    });
    // Many more than may wait, from one who does not wait for the answers.
    let in_ram = v1::AllocateRequest {
        tier: Ram.into(),
        ..allocate(SIZE as u64)
    };
    let asked: Vec<u64> = (0..100)
        .map(|_| session.send(Request::Allocate(in_ram.clone())))
        .collect();
    assert_readable(&world, &ids);
    let mut refused = 0;
    for _ in &asked {
        match session.answer().message.response.unwrap() {
            Response::Failure(failure) => {
                assert_eq!(failure.reason, "TIER_FULL", "{failure:?}");
                assert!(failure.retry_after_ms.is_some(), "{failure:?}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, asked.len());
    drop(strace);
    until("RAM to be down to its watermark", || {
        ids[1..].iter().any(|id| tiers(&world, id) == [Disk]).then_some(())
    });
    session.publish(&content(SIZE, 9));
    assert_readable(&world, &ids);
}
