//! A server whose RAM is too small: payloads go down and come up under the eyes of their readers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use payload_proto::v1;
use payload_proto::v1::Tier::{Disk, Ram};
use payload_testkit::process::until;

use crate::support::World;
use crate::support::http;
use crate::support::local::Held;
use crate::support::refusal::moved;
use crate::support::samples::{acquire, allocate, commit, content, get, release, to_tier};

/// Big enough for a segment or a file of its own.
const SIZE: usize = 3 << 20;

/// RAM for five payloads.
const SMALL: &str = r#"
tiers.ram.capacity = "16MiB"
tiers.disk.capacity = "256MiB"
allocations.room_wait = "1m"
keeper.kind = "none"
"#;

fn tiers(payload: &v1::Payload) -> Vec<v1::Tier> {
    let mut tiers: Vec<v1::Tier> = payload.replicas.iter().map(v1::Replica::tier).collect();
    tiers.sort_unstable();
    tiers
}

fn tier_of(held: &Held) -> v1::Tier {
    held.lease.descriptor.as_ref().unwrap().tier()
}

#[test]
fn three_times_more_than_ram_holds_is_written_and_read_back_while_leases_are_held() {
    let world = World::of(SMALL);
    let session = world.session();
    let first: Vec<String> = (0..2)
        .map(|seed| session.publish(&content(SIZE, seed)).payload_id)
        .collect();
    let held: Vec<Held> = first.iter().map(|id| session.lease(id)).collect();
    let ids: Vec<String> = (2..18)
        .map(|seed| session.publish(&content(SIZE, seed)).payload_id)
        .collect();
    for (seed, held) in (0..).zip(&held) {
        assert_eq!(tier_of(held), Ram);
        assert_eq!(held.read(), content(SIZE, seed));
    }
    let reader = world.session();
    for (seed, id) in (0..).zip(first.iter().chain(&ids)) {
        let lease = reader.lease(id);
        assert_eq!(lease.read(), content(SIZE, seed));
        reader.release(release(&[&lease.lease.lease_id])).unwrap();
    }
    let stats = world.stats();
    let ram = stats.tiers.iter().find(|tier| tier.tier() == Ram).unwrap();
    assert!(ram.used_bytes <= ram.capacity_bytes, "{ram:?}");
    let metrics = http::get(&world.daemon.endpoint().http, "/metrics");
    for name in [
        "payload_moves_total{path=\"ram-disk\",result=\"done\"}",
        "payload_moved_bytes_total{path=\"ram-disk\"}",
        "payload_move_seconds_count{path=\"ram-disk\"}",
        "payload_evictions_total{how=\"spilled\",tier=\"ram\"}",
        "payload_evicted_bytes_total",
        "payload_room_waiting 0",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
}

#[test]
fn payloads_are_spilled_promoted_and_prefetched_on_request() {
    let world = World::start();
    let (session, grpc) = (world.session(), world.grpc());
    let bytes = content(SIZE, 1);
    let id = session.publish(&bytes).payload_id;
    let above = session.lease(&id);
    assert_eq!(
        tiers(&moved(grpc.spill(to_tier(&id, Disk)).unwrap()).unwrap()),
        [Ram, Disk]
    );
    let below = session.lease(&id);
    assert_eq!((tier_of(&above), tier_of(&below)), (Ram, Disk));
    assert_eq!((above.read(), below.read()), (bytes.clone(), bytes.clone()));
    let leases = [&*above.lease.lease_id, &*below.lease.lease_id];
    session.release(release(&leases)).unwrap();
    let now = || tiers(&grpc.get_payload(get(&id)).unwrap().payload.unwrap());
    until("the last lease's end to drop the replica in RAM", || {
        (now() == [Disk]).then_some(())
    });

    assert_eq!(
        tiers(&moved(grpc.promote(to_tier(&id, Ram)).unwrap()).unwrap()),
        [Ram, Disk]
    );
    assert_eq!(session.lease(&id).read(), bytes);
    let other = session.publish(&content(SIZE, 2)).payload_id;
    moved(grpc.spill(to_tier(&other, Disk)).unwrap()).unwrap();
    moved(grpc.prefetch(to_tier(&other, Ram)).unwrap()).unwrap();
    until("the payload to be fetched", || {
        let row = grpc.get_payload(get(&other)).unwrap().payload.unwrap();
        (tiers(&row) == [Ram, Disk]).then_some(())
    });
}

#[test]
fn an_acquire_may_insist_on_a_tier_or_take_what_there_is() {
    let world = World::start();
    let (session, grpc) = (world.session(), world.grpc());
    let bytes = content(SIZE, 1);
    let id = session.publish(&bytes).payload_id;
    moved(grpc.spill(to_tier(&id, Disk)).unwrap()).unwrap();
    let wish = |take_slower| v1::AcquireRequest {
        min_tier: Ram.into(),
        take_slower,
        ..acquire(&[&id])
    };
    let slower = session.acquire(wish(true)).unwrap().remove(0).unwrap();
    assert_eq!(tier_of(&slower), Disk);
    let fast = session.acquire(wish(false)).unwrap().remove(0).unwrap();
    assert_eq!((tier_of(&fast), fast.read()), (Ram, bytes.clone()));
    assert_eq!(slower.read(), bytes);
}

#[test]
fn fault_10_a_damaged_file_is_found_and_made_again_from_memory() {
    let world = World::start();
    let (session, grpc) = (world.session(), world.grpc());
    let bytes = content(SIZE, 1);
    let id = session.publish(&bytes).payload_id;
    moved(grpc.spill(to_tier(&id, Disk)).unwrap()).unwrap();
    let row = moved(grpc.promote(to_tier(&id, Ram)).unwrap()).unwrap();
    let below = row.replicas.iter().find(|replica| replica.tier() == Disk).unwrap();
    let file = file_named(&world.disk(), &below.location.as_ref().unwrap().container_id);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, vec![7; SIZE]).unwrap();
    let all = v1::VerifyBytesRequest::default();
    let found = grpc.verify_bytes(all.clone()).unwrap();
    let fates: Vec<_> = found[0]
        .damages
        .iter()
        .map(|damage| (damage.tier(), damage.fate()))
        .collect();
    assert_eq!(
        (&*found[0].payload_id, fates),
        (&*id, vec![(Disk, v1::DamageFate::Mended)])
    );
    assert!(grpc.verify_bytes(all).unwrap()[0].damages.is_empty());
    moved(grpc.spill(to_tier(&id, Disk)).unwrap()).unwrap();
    assert_eq!(session.lease(&id).read(), bytes);
}

fn file_named(directory: &Path, name: &str) -> PathBuf {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.file_name().is_some_and(|found| found == name) {
                return path;
            }
        }
    }
    panic!("there is no file {name}");
}

#[test]
fn operators_see_why_bytes_are_where_they_are_and_who_holds_them() {
    let world = World::of(SMALL);
    let (session, grpc) = (world.session(), world.grpc());
    let id = session.publish(&content(SIZE, 1)).payload_id;
    let held = session.lease(&id);
    moved(grpc.spill(to_tier(&id, Disk)).unwrap()).unwrap();
    let explained = grpc.explain(explain(&id)).unwrap();
    let standing: Vec<_> = explained
        .replicas
        .iter()
        .map(|view| (view.tier(), view.kept_by().collect()))
        .collect();
    let expected = [(Ram, vec![v1::Keep::Leased]), (Disk, vec![v1::Keep::LowestTier])];
    assert_eq!(standing, expected);
    assert_eq!(explained.replicas[1].arrival.as_ref().unwrap().reason, "spill");
    assert_eq!(explained.leases[0].holder.as_ref().unwrap().pid, std::process::id());
    let next = explained.plan.unwrap().next.unwrap();
    assert_eq!(next, v1::plan::Next::LeavesWhenReleased(Ram.into()));

    let holders = grpc.list_holders(v1::ListHoldersRequest {}).unwrap().holders;
    let sums: Vec<_> = holders
        .iter()
        .map(|sum| (sum.leases, sum.payloads, sum.bytes))
        .collect();
    assert_eq!(sums, [(1, 1, SIZE as u64)]);
    session.release(release(&[&held.lease.lease_id])).unwrap();
    until("the replica in RAM to go", || {
        (grpc.explain(explain(&id)).unwrap().replicas.len() == 1).then_some(())
    });

    let other = session.publish(&content(SIZE, 2)).payload_id;
    let tiers = grpc.list_tiers(v1::ListTiersRequest {}).unwrap().tiers;
    let pressure = tiers[0].pressure.as_ref().unwrap();
    assert_eq!(
        (pressure.high_watermark, pressure.low_watermark, pressure.candidates),
        (90, 80, 1)
    );
    assert_eq!(
        (&*pressure.next[0].payload_id, pressure.next[0].exit()),
        (&*other, v1::Exit::Spill)
    );
    assert!(tiers[1].pressure.is_none());
    let moves = grpc.list_transfers(v1::ListTransfersRequest {}).unwrap();
    assert_eq!((moves.running.len(), moves.queued_total), (0, 0));
    let cancel = v1::CancelTransferRequest {
        payload_id: other,
        ..Default::default()
    };
    assert!(!grpc.cancel_transfer(cancel).unwrap().cancelled, "nothing moves");
}

#[test]
fn what_is_pinned_stays_in_ram_until_its_moment_and_more_than_half_of_ram_is_not() {
    let world = World::of(SMALL);
    let (session, grpc) = (world.session(), world.grpc());
    let ids: Vec<String> = (0..3)
        .map(|seed| session.publish(&content(SIZE, seed)).payload_id)
        .collect();
    let pin = |payload_id: &str, term_ms| v1::PinPayloadRequest {
        payload_id: payload_id.to_owned(),
        term_ms,
        ..Default::default()
    };
    let is_pinned = |payload: &v1::Payload| payload.replicas.iter().any(|replica| replica.pin.is_some());
    let pinned = grpc.pin_payload(pin(&ids[0], None)).unwrap().payload.unwrap();
    assert!(is_pinned(&pinned));
    let brief = grpc.pin_payload(pin(&ids[1], Some(1))).unwrap().payload.unwrap();
    until("the pin has ended", || {
        let now = grpc.get_payload(get(&brief.payload_id)).unwrap().payload.unwrap();
        (!is_pinned(&now)).then_some(())
    });
    grpc.pin_payload(pin(&ids[1], None)).unwrap();
    let refused = grpc.pin_payload(pin(&ids[2], None)).unwrap_err();
    assert_eq!(
        (refused.reason.as_str(), refused.code),
        ("PIN_LIMIT", tonic::Code::ResourceExhausted)
    );

    for seed in 3..13 {
        session.publish(&content(SIZE, seed));
    }
    let payload = grpc.get_payload(get(&ids[0])).unwrap().payload.unwrap();
    assert_eq!(tiers(&payload), [Ram]);
    let explained = grpc.explain(explain(&ids[0])).unwrap();
    assert_eq!(explained.replicas[0].kept_by, [i32::from(v1::Keep::Pinned)]);
    let unpin = v1::UnpinPayloadRequest {
        payload_id: ids[0].clone(),
        ..Default::default()
    };
    assert!(!is_pinned(&grpc.unpin_payload(unpin).unwrap().payload.unwrap()));
}

fn explain(payload_id: &str) -> v1::ExplainRequest {
    v1::ExplainRequest {
        payload_id: payload_id.to_owned(),
        ..Default::default()
    }
}

/// The first sample of a metric, by its name and labels.
fn sample(world: &World, name: &str) -> u64 {
    let metrics = http::get(&world.daemon.endpoint().http, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

#[test]
fn an_evictor_that_finds_no_room_below_waits_before_it_tries_again() {
    let world = World::of(
        r#"
tiers.ram.capacity = "16MiB"
tiers.disk.capacity = "4MiB"
allocations.room_wait = "2s"
keeper.kind = "none"
"#,
    );
    let session = world.session();
    // More than memory and disk have room for together.
    for seed in 0..8 {
        let request = allocate(SIZE as u64);
        match session.allocate(request) {
            Ok((allocation, fd)) => {
                File::from(fd.unwrap()).write_all_at(&content(SIZE, seed), 0).unwrap();
                session.commit(commit(&allocation.payload_id)).unwrap();
            }
            Err(refusal) => assert_eq!(refusal.reason, "TIER_FULL", "{refusal:?}"),
        }
    }
    let failed = sample(&world, "payload_moves_total{path=\"ram-disk\",result=\"failed\"}");
    // Each wait for room wakes it, and so does each payload that comes; what fails is tried after 0.1 s, 0.2 s, 0.4 s.
    assert!((1..200).contains(&failed), "{failed} attempts");
}
