//! Payloads that are not in memory: read once however many ask, and not kept for ever.

use std::sync::Barrier;

use payload_core::{Durability, Reason, Tier};

use crate::common::calls::{bytes, put_request};
use crate::common::{Setup, refusal, secs};

#[test]
fn fault_45_thirty_two_readers_of_a_cold_payload_read_its_row_once() {
    let mut rig = Setup::default().start();
    let session = rig.session();
    let content = bytes(1, 500);
    let put = put_request(&content, Tier::Disk, Durability::Host);
    let ids: Vec<_> = (0..20).map(|_| rig.put(&session, &put).unwrap().id).collect();
    rig.restart();
    let session = rig.session();
    for id in ids {
        let before = rig.switch.calls("repository.get");
        let start = Barrier::new(32);
        std::thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    start.wait();
                    rig.lease(&session, id).unwrap();
                });
            }
        });
        assert_eq!(rig.switch.calls("repository.get") - before, 1);
    }
    assert_eq!(rig.stats().unwrap().leases, 20 * 32);
}

#[test]
fn fault_45_an_error_of_the_one_who_reads_is_not_kept() {
    let mut rig = Setup::default().start();
    let session = rig.session();
    let id = rig
        .put(&session, &put_request(b"x", Tier::Disk, Durability::Host))
        .unwrap()
        .id;
    rig.restart();
    let session = rig.session();
    let moment = payload_testkit::faulty::Moment::Before;
    rig.switch.fail_next("repository.get", moment);
    assert_eq!(refusal(rig.lease(&session, id)), Reason::Internal);
    assert_eq!(rig.content(&session, id), b"x");
    let unknown = payload_core::PayloadId::from_parts(9, [9; 10]);
    for _ in 0..3 {
        assert_eq!(refusal(rig.lease(&session, unknown)), Reason::PayloadNotFound);
    }
    assert!(rig.stats().unwrap().payloads_known <= 1);
}

#[test]
fn the_table_is_bounded_and_keeps_what_is_held() {
    let rig = Setup::default().with(|s| s.cold_entries_max = 128).start();
    let session = rig.session();
    // Many that must stay, so that those which may go have to be found among them.
    let hot: Vec<_> = (0..1_500).map(|seed| rig.put_small(&session, seed).id).collect();
    let put = put_request(b"cold", Tier::Disk, Durability::Host);
    let held: Vec<_> = (0..50).map(|_| rig.put(&session, &put).unwrap().id).collect();
    let leases: Vec<_> = held.iter().map(|id| rig.lease(&session, *id).unwrap()).collect();
    for _ in 0..3_000 {
        let id = rig.put(&session, &put).unwrap().id;
        rig.remove(id).unwrap();
        rig.get(&payload_core::Namespace::default(), id).unwrap();
        rig.lease(&session, id).unwrap_err();
    }
    let known = rig.stats().unwrap().payloads_known;
    let must_stay = hot.len() + held.len();
    assert!(
        known <= must_stay + 512,
        "{known} entries are in memory, {must_stay} have to be"
    );
    for lease in &leases {
        assert_eq!(
            rig.list_leases(Some(lease.row.id), 0, 10).len(),
            1,
            "what is leased is in memory"
        );
        rig.renew_for(&session, lease, None).unwrap();
        rig.release(&session, lease.lease).unwrap();
    }
    rig.advance(secs(1));
}
