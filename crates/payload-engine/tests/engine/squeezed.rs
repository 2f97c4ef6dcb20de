//! A machine on which others take what the RAM tier was promised.

use payload_core::{Durability, PayloadId, Tier};
use payload_engine::{AllocateRequest, Impairment};

use crate::common::calls::{allocate_request, bytes, fill, secs};
use crate::common::{Rig, Setup, wait_until};

const MIB: u64 = 1 << 20;

fn ten_mib() -> Setup {
    Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
}

/// Payloads of a MiB each, which nobody holds.
fn put_many(rig: &Rig, count: u64) -> Vec<PayloadId> {
    let session = rig.session();
    let request = allocate_request(MIB, Tier::Ram, Durability::Volatile);
    let put = |seed| {
        let filled = fill(rig.allocate(&session, &request).unwrap(), seed);
        rig.commit(&session, &filled.commit_request()).unwrap().id
    };
    (0..count).map(put).collect()
}

fn in_ram(rig: &Rig, ids: &[PayloadId]) -> usize {
    let has = |id: &&PayloadId| {
        let row = rig.repository().get(**id).unwrap().unwrap();
        row.replicas.iter().any(|replica| replica.tier() == Tier::Ram)
    };
    ids.iter().filter(has).count()
}

fn ceiling(rig: &Rig) -> u64 {
    let stats = rig.stats().unwrap();
    stats.tiers.iter().find(|tier| tier.tier == Tier::Ram).unwrap().ceiling
}

#[test]
fn ram_gives_way_to_others_and_nothing_is_lost() {
    let rig = ten_mib().start();
    let ids = put_many(&rig, 8);
    rig.look_at_machine();
    rig.evict();
    assert_eq!(in_ram(&rig, &ids), 8, "there is room for all of them");

    rig.switch.set_attainable(Tier::Ram, Some(5 * MIB));
    rig.look_at_machine();
    assert_eq!(ceiling(&rig), 5 * MIB);
    let short = Impairment::Short {
        ceiling: 5 * MIB,
        capacity: 10 * MIB,
    };
    assert_eq!(rig.degraded(), [(Tier::Ram, short)]);
    rig.evict();
    assert_eq!(in_ram(&rig, &ids), 4, "80 % of what there is");
    let session = rig.session();
    for (seed, id) in (0..).zip(&ids) {
        assert_eq!(rig.content(&session, *id), bytes(seed, MIB));
    }

    rig.switch.set_attainable(Tier::Ram, None);
    rig.look_at_machine();
    assert_eq!((ceiling(&rig), rig.degraded()), (10 * MIB, vec![]));
    rig.check_invariants();
}

#[test]
fn what_is_held_stays_however_little_there_is() {
    let rig = ten_mib().start();
    let ids = put_many(&rig, 4);
    let session = rig.session();
    let leases: Vec<_> = ids.iter().map(|id| rig.lease(&session, *id).unwrap()).collect();
    rig.switch.set_attainable(Tier::Ram, Some(0));
    rig.look_at_machine();
    rig.evict();
    assert_eq!(in_ram(&rig, &ids), 4);
    for (seed, lease) in (0..).zip(&leases) {
        assert_eq!(rig.read(lease), bytes(seed, MIB));
    }
}

#[test]
fn who_waits_because_of_the_machine_goes_on_when_it_has_some_again() {
    let rig = ten_mib().with(|settings| settings.room_wait = secs(5)).start();
    let ids = put_many(&rig, 4);
    let session = rig.session();
    let _leases: Vec<_> = ids.iter().map(|id| rig.lease(&session, *id).unwrap()).collect();
    rig.switch.set_attainable(Tier::Ram, Some(4 * MIB));
    rig.look_at_machine();
    let request = AllocateRequest {
        tier: None,
        durability: None,
        ..allocate_request(MIB, Tier::Ram, Durability::Volatile)
    };
    std::thread::scope(|scope| {
        let asking = || rig.allocate(&session, &request).unwrap().row.tier;
        let in_vain = scope.spawn(asking);
        wait_until(|| rig.stats().unwrap().room_waiting == 1);
        rig.advance(secs(5));
        assert_eq!(in_vain.join().unwrap(), Tier::Disk);

        let patient = scope.spawn(asking);
        wait_until(|| rig.stats().unwrap().room_waiting == 1);
        rig.switch.set_attainable(Tier::Ram, None);
        rig.look_at_machine();
        assert_eq!(patient.join().unwrap(), Tier::Ram);
    });
}

#[test]
fn a_commit_is_not_refused_for_what_others_take() {
    let rig = ten_mib().start();
    let session = rig.session();
    let request = allocate_request(MIB, Tier::Ram, Durability::Volatile);
    let filled = fill(rig.allocate(&session, &request).unwrap(), 3);
    rig.switch.set_attainable(Tier::Ram, Some(0));
    rig.look_at_machine();
    let id = rig.commit(&session, &filled.commit_request()).unwrap().id;
    assert_eq!(rig.content(&session, id), bytes(3, MIB));
}
