//! Slabs and packs of which little is used any more: what is left moves out, and the room comes back.

use std::sync::Arc;

use payload_core::{Container, Durability, EventKind, Namespace, Payload, PayloadId, Pin, Reason, StateKind, Tier};
use payload_engine::{Holder, PinRequest};
use payload_testkit::faulty::Moment;

use crate::common::calls::put_request;
use crate::common::{Rig, Setup, alice, bytes, refusal, secs};

const SIZE: u64 = 60_000;
/// As many as fill two containers of a mebibyte, and begin a third.
const COUNT: u64 = 40;
/// The tiers whose containers are emptied.
const COMPACTED: [Tier; 2] = [Tier::Ram, Tier::Disk];

/// Payloads of one tier, and those of them that are left in the first container, where little else is.
struct World {
    ids: Vec<PayloadId>,
    hollow: Container,
    left: Vec<u64>,
}

fn container_of(row: &Payload) -> Container {
    row.replicas[0].location.container()
}

fn row(rig: &Rig, id: PayloadId) -> Payload {
    rig.repository().get(id).unwrap().unwrap()
}

fn hollow_out(rig: &Rig, tier: Tier) -> World {
    let session = rig.session();
    let put = |seed| {
        let request = put_request(&bytes(seed, SIZE), tier, Durability::Volatile.max(tier.durability()));
        rig.put(&session, &request).unwrap().id
    };
    let ids: Vec<PayloadId> = (0..COUNT).map(put).collect();
    // Slabs grow, so the first that is as large as any is taken.
    let hollow = container_of(&row(rig, ids[15]));
    let inside: Vec<u64> = (0..COUNT)
        .filter(|seed| container_of(&row(rig, ids[*seed as usize])) == hollow)
        .collect();
    let (left, gone) = inside.split_at(3);
    for seed in gone {
        rig.remove(ids[*seed as usize]).unwrap();
    }
    rig.tick();
    rig.close_session(&session);
    World {
        ids,
        hollow,
        left: left.to_vec(),
    }
}

/// Until there is nothing left that is worth it.
fn compact(rig: &Rig) {
    while rig.compact().unwrap() != Some(secs(1)) {}
}

fn used(rig: &Rig, tier: Tier) -> u64 {
    rig.store(tier).usage().used
}

impl World {
    fn assert_content(&self, rig: &Rig, holder: &Arc<Holder>) {
        for (seed, id) in (0..).zip(&self.ids) {
            if rig.state(*id) == StateKind::Active {
                assert_eq!(rig.content(holder, *id), bytes(seed, SIZE));
            }
        }
    }

    fn first(&self) -> PayloadId {
        self.ids[self.left[0] as usize]
    }
}

#[test]
fn what_is_left_moves_out_and_the_room_comes_back() {
    for tier in COMPACTED {
        let rig = Setup::default().start();
        let world = hollow_out(&rig, tier);
        let (before, dead) = (used(&rig, tier), rig.store(tier).usage().dead);
        assert!(dead > 600_000, "{tier}: {dead} bytes are dead");
        compact(&rig);
        assert!(used(&rig, tier) < before - 600_000, "{tier}");
        for seed in &world.left {
            let id = world.ids[*seed as usize];
            assert_ne!(container_of(&row(&rig, id)), world.hollow);
            assert_eq!(rig.kinds(id).last(), Some(&EventKind::ReplicaMoved));
        }
        let session = rig.session();
        world.assert_content(&rig, &session);
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn what_is_pinned_moves_and_stays_pinned() {
    for tier in COMPACTED {
        let rig = Setup::default().start();
        let world = hollow_out(&rig, tier);
        let request = PinRequest {
            namespace: Namespace::default(),
            payload: world.first().into(),
            tier,
            term: None,
        };
        rig.pin(&alice(), &request).unwrap();
        compact(&rig);
        let moved = row(&rig, world.first());
        assert_ne!(container_of(&moved), world.hollow);
        assert_eq!(moved.replicas[0].pin, Some(Pin::Unlimited));
    }
}

#[test]
fn a_container_that_is_used_enough_stays() {
    let rig = Setup::default().with(|settings| settings.compaction.below = 10).start();
    let world = hollow_out(&rig, Tier::Disk);
    compact(&rig);
    assert_eq!(container_of(&row(&rig, world.first())), world.hollow);
    let rig = Setup::default().with(|settings| settings.compaction.below = 0).start();
    hollow_out(&rig, Tier::Disk);
    assert_eq!(rig.compact().unwrap(), None, "zero is never");
}

#[test]
fn nothing_moves_out_of_a_container_in_which_somebody_holds_a_lease() {
    for tier in COMPACTED {
        let rig = Setup::default().start();
        let world = hollow_out(&rig, tier);
        let session = rig.session();
        let lease = rig.lease(&session, world.first()).unwrap();
        compact(&rig);
        for seed in &world.left {
            assert_eq!(container_of(&row(&rig, world.ids[*seed as usize])), world.hollow);
        }
        rig.release(&session, lease.lease).unwrap();
        rig.advance(secs(60));
        compact(&rig);
        assert_ne!(container_of(&row(&rig, world.first())), world.hollow);
    }
}

#[test]
fn a_lease_that_comes_while_the_row_is_written_keeps_the_bytes_it_was_granted() {
    for tier in COMPACTED {
        let rig = Setup::default().start();
        let world = hollow_out(&rig, tier);
        let session = rig.session();
        let old = row(&rig, world.first()).replicas[0].location;
        let writing = rig.switch.hold_next("repository.commit");
        let lease = std::thread::scope(|scope| {
            let compacting = scope.spawn(|| compact(&rig));
            writing.wait_until_reached();
            // Whichever of them is being written, all three are leased now.
            let lease = |seed: &u64| rig.lease(&session, world.ids[*seed as usize]).unwrap();
            let leases: Vec<_> = world.left.iter().map(lease).collect();
            writing.open();
            compacting.join().unwrap();
            leases
        });
        rig.sweep().unwrap();
        for (grant, seed) in lease.iter().zip(&world.left) {
            let location = grant.replica().location;
            rig.store(tier).check(&location, SIZE).unwrap();
            assert_eq!(rig.read(grant), bytes(*seed, SIZE));
        }
        assert!(
            lease
                .iter()
                .any(|grant| grant.replica().location.container() == old.container())
        );
        for grant in &lease {
            rig.release(&session, grant.lease).unwrap();
        }
        rig.advance(secs(60));
        compact(&rig);
        rig.tick();
        assert!(
            rig.store(tier).check(&old, SIZE).is_err(),
            "{tier}: the room comes back when the last lease ends"
        );
        world.assert_content(&rig, &session);
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn a_container_of_which_only_a_lease_has_a_part_is_let_alone() {
    for tier in COMPACTED {
        let rig = Setup::default().start();
        let world = hollow_out(&rig, tier);
        for seed in &world.left[1..] {
            rig.remove(world.ids[*seed as usize]).unwrap();
        }
        let session = rig.session();
        let old = row(&rig, world.first()).replicas[0].location;
        let writing = rig.switch.hold_next("repository.commit");
        let lease = std::thread::scope(|scope| {
            // Comes to an end although the container stays.
            let compacting = scope.spawn(|| compact(&rig));
            writing.wait_until_reached();
            let lease = rig.lease(&session, world.first()).unwrap();
            writing.open();
            compacting.join().unwrap();
            lease
        });
        assert_eq!(lease.replica().location, old);
        assert_ne!(container_of(&row(&rig, world.first())), world.hollow);
        rig.release(&session, lease.lease).unwrap();
        rig.tick();
        assert!(
            rig.store(tier).check(&old, SIZE).is_err(),
            "{tier}: the room comes back"
        );
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn what_an_earlier_server_left_is_counted_and_compacted() {
    for tier in COMPACTED {
        let mut rig = Setup::default().start();
        let world = hollow_out(&rig, tier);
        rig.restart();
        rig.quiesce();
        let before = used(&rig, tier);
        for _ in 0..10 {
            compact(&rig);
        }
        assert!(used(&rig, tier) < before - 600_000, "{tier}");
        assert_ne!(container_of(&row(&rig, world.first())), world.hollow);
        let session = rig.session();
        world.assert_content(&rig, &session);
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn fault_10_rotten_bytes_are_not_moved() {
    let rig = Setup::default().start();
    let world = hollow_out(&rig, Tier::Disk);
    let location = row(&rig, world.first()).replicas[0].location;
    let Container::File(pack) = location.container() else {
        panic!("{location:?} is in no pack")
    };
    let path = rig.disk_dir().join(format!("packs/{pack}"));
    let mut content = std::fs::read(&path).unwrap();
    content[location.offset() as usize] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, content).unwrap();
    compact(&rig);
    assert_eq!(rig.state(world.first()), StateKind::Lost);
    rig.advance(secs(60));
    compact(&rig);
    let session = rig.session();
    assert_eq!(refusal(rig.lease(&session, world.first())), Reason::PayloadLost);
    world.assert_content(&rig, &session);
}

#[test]
fn kill_at_every_step_of_compaction() {
    for (tier, moment) in [
        (Tier::Disk, Moment::Before),
        (Tier::Disk, Moment::After),
        (Tier::Ram, Moment::After),
    ] {
        for number in 0.. {
            let mut rig = Setup::default().with(|settings| settings.movers = 1).start();
            let world = hollow_out(&rig, tier);
            rig.switch.kill_at(number, moment);
            let _killed = rig.compact();
            let killed = rig.switch.is_dead();
            rig.restart();
            let session = rig.session();
            for seed in &world.left {
                let id = world.ids[*seed as usize];
                assert_eq!(
                    rig.content(&session, id),
                    bytes(*seed, SIZE),
                    "kill {number} {moment:?}"
                );
            }
            rig.close_session(&session);
            rig.quiesce();
            rig.check_at_rest();
            if !killed {
                assert!(number > 8, "only {number} steps");
                break;
            }
        }
    }
}
