//! Recovery: rows and bytes are brought together again, whatever was lost and however often it is interrupted.

use payload_core::{Durability, EventKind, Namespace, Reason, StateKind, Tier};
use payload_engine::Recovered;

use crate::common::calls::{allocate_request, bytes, fill, put_request};
use crate::common::{Setup, alice, refusal};

const NS: fn() -> Namespace = Namespace::default;

#[test]
fn a_reservation_on_disk_dies_with_the_server() {
    let mut rig = Setup::default().start();
    let session = rig.session();
    let request = allocate_request(100_000, Tier::Disk, Durability::Host);
    let id = fill(rig.allocate(&session, &request).unwrap(), 1).row.id;
    assert_eq!(rig.restart().lost, 1);
    assert_eq!(rig.state(id), StateKind::Aborted);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_reboot_loses_memory_and_keeps_the_disk() {
    let mut rig = Setup::default().start();
    let session = rig.session();
    let volatile = rig.put_small(&session, 1).id;
    let large = rig.put_large(&session, 3 << 20, 2).id;
    let content = bytes(3, 2_000);
    let host = rig
        .put(&session, &put_request(&content, Tier::Ram, Durability::Host))
        .unwrap()
        .id;
    let disk = rig
        .put(&session, &put_request(&content, Tier::Disk, Durability::Host))
        .unwrap()
        .id;
    let open = rig.allocate_filled(&session, 5_000, 4).row.id;
    let held = rig.put_small(&session, 5).id;
    rig.lease(&session, held).unwrap();
    rig.remove(held).unwrap();

    let found = rig.reboot();
    let expected = Recovered {
        lost: 4,
        degraded: 1,
        kept: 1,
        ..Recovered::default()
    };
    assert_eq!(found, expected);
    let session = rig.session();
    for id in [volatile, large] {
        assert_eq!(rig.state(id), StateKind::Lost);
        assert_eq!(refusal(rig.lease(&session, id)), Reason::PayloadLost);
        assert_eq!(rig.kinds(id).last(), Some(&EventKind::Lost));
    }
    assert_eq!(
        (rig.state(open), rig.state(held)),
        (StateKind::Aborted, StateKind::Deleted)
    );
    assert_eq!(rig.kinds(host), [EventKind::Committed, EventKind::ReplicaLost]);
    for id in [host, disk] {
        assert_eq!(rig.content(&session, id), content);
    }
    assert_eq!(
        rig.remove(volatile).unwrap().state,
        StateKind::Deleted,
        "a lost payload can be cleared away"
    );
    let fresh = rig.put_small(&session, 6).id;
    rig.check_invariants();
    rig.remove(fresh).unwrap();
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn fault_08_recovery_twice_or_interrupted_comes_to_the_same() {
    for interrupt in 0..12 {
        let mut rig = Setup::default().start();
        let session = rig.session();
        let content = bytes(3, 2_000);
        rig.put_small(&session, 1);
        rig.put(&session, &put_request(&content, Tier::Ram, Durability::Host))
            .unwrap();
        rig.allocate_filled(&session, 5_000, 4);
        let held = rig.put_small(&session, 5).id;
        rig.lease(&session, held).unwrap();
        rig.remove(held).unwrap();
        rig.fds.clear();
        for moment in [
            payload_testkit::faulty::Moment::Before,
            payload_testkit::faulty::Moment::After,
        ] {
            rig.rebuild();
            rig.switch.kill_at(interrupt, moment);
            let _interrupted = rig.recover();
        }
        rig.restart();
        rig.recover().unwrap();
        rig.quiesce();
        rig.check_at_rest();
        let mut ends: Vec<_> = rig.rows().iter().map(|row| row.state.kind().as_str()).collect();
        ends.sort_unstable();
        assert_eq!(ends, ["ABORTED", "ACTIVE", "DELETED", "LOST"]);
        for row in rig.rows() {
            assert!(
                rig.kinds(row.id).len() <= 3,
                "an interrupted recovery adds no event twice"
            );
        }
    }
}

#[test]
fn fault_10_a_damaged_replica_gives_way_to_the_next_and_the_last_one_is_data_loss() {
    let mut rig = Setup::default().start();
    let session = rig.session();
    let filled = fill(
        rig.allocate(&session, &allocate_request(200_000, Tier::Ram, Durability::Host))
            .unwrap(),
        1,
    );
    let row = rig.commit(&session, &filled.commit_request()).unwrap();
    let ram = row.replicas.iter().find(|replica| replica.tier() == Tier::Ram).unwrap();
    rig.store(Tier::Ram).remove(&ram.location, ram.charged).unwrap();
    let grant = rig.lease(&session, row.id).unwrap();
    assert_eq!(grant.replica().tier(), Tier::Disk);
    assert_eq!(rig.read(&grant), filled.content);
    rig.release(&session, grant.lease).unwrap();
    assert_eq!(rig.kinds(row.id).last(), Some(&EventKind::ReplicaLost));

    let disk = rig.get(&NS(), row.id).unwrap().replicas[0].clone();
    rig.store(Tier::Disk).remove(&disk.location, disk.charged).unwrap();
    assert_eq!(refusal(rig.lease(&session, row.id)), Reason::BytesMissing);
    assert_eq!(refusal(rig.lease(&session, row.id)), Reason::PayloadLost);
    assert_eq!(rig.stats().unwrap().leases, 0);
    rig.restart();
    assert_eq!(rig.state(row.id), StateKind::Lost);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn fault_10_a_transfer_under_a_lease_on_a_damaged_replica_gets_the_next_one_or_data_loss() {
    let rig = Setup::default().start();
    let (session, afar) = (rig.session(), rig.remote(&alice()));
    let request = allocate_request(200_000, Tier::Ram, Durability::Host);
    let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
    let row = rig.commit(&session, &filled.commit_request()).unwrap();
    let lease = rig.lease(&afar, row.id).unwrap().lease;
    let find_out = |tier| {
        let row = rig.get(&NS(), row.id).unwrap();
        let bad = row.replicas.iter().find(|replica| replica.tier() == tier).unwrap();
        rig.store(tier).remove(&bad.location, bad.charged).unwrap();
        // Somebody who does not have the descriptor yet.
        rig.lease(&rig.session(), row.id)
    };
    find_out(Tier::Ram).unwrap();
    let content = rig.open_content(&alice(), &NS(), row.id, Some(lease)).unwrap();
    assert_eq!(content.row().replicas.len(), 1);
    drop(content);
    assert_eq!(refusal(find_out(Tier::Disk)), Reason::BytesMissing);
    let refused = rig.open_content(&alice(), &NS(), row.id, Some(lease));
    assert_eq!(refusal(refused.map(drop)), Reason::PayloadLost);
}
