//! A full tier refuses, keeps what it has, and works again when there is room.

use payload_core::{Durability, Reason, Tier};

use crate::common::calls::{allocate_request, bytes, put_request};
use crate::common::{Setup, refusal};

#[test]
fn fault_14_a_full_tier_refuses_leaves_nothing_and_works_after_a_delete() {
    for (tier, durability) in [(Tier::Ram, Durability::Volatile), (Tier::Disk, Durability::Host)] {
        let rig = Setup {
            ram: 4 << 20,
            disk: 4 << 20,
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        let big = rig
            .allocate(&session, &allocate_request(3 << 20, tier, durability))
            .unwrap();
        let big = crate::common::calls::fill(big, 1);
        let id = rig.commit(&session, &big.commit_request()).unwrap().id;
        for _ in 0..3 {
            let refused = rig
                .allocate(&session, &allocate_request(2 << 20, tier, durability))
                .unwrap_err();
            assert_eq!(refused.reason(), Reason::TierFull);
            assert!(refused.retry_delay().is_some(), "it says when to come again");
        }
        let mut puts = Vec::new();
        loop {
            match rig.put(&session, &put_request(&bytes(2, 60_000), tier, durability)) {
                Ok(row) => puts.push(row.id),
                Err(error) => {
                    assert_eq!(error.reason(), Reason::TierFull);
                    assert!(error.retry_delay().is_some(), "it says when to come again");
                    break;
                }
            }
        }
        assert_eq!(rig.rows().len(), 1 + puts.len());
        assert_eq!(rig.stats().unwrap().allocations, 0);
        rig.check_invariants();
        assert_eq!(rig.content(&session, id), big.content);

        rig.remove(id).unwrap();
        let again = rig
            .allocate(&session, &allocate_request(2 << 20, tier, durability))
            .unwrap();
        drop(again);
        for id in puts {
            rig.remove(id).unwrap();
        }
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn fault_14_a_write_through_that_finds_the_disk_full_leaves_the_allocation_open() {
    let rig = Setup {
        disk: 1 << 20,
        ..Setup::default()
    }
    .start();
    let session = rig.session();
    let filled = {
        let request = allocate_request(2 << 20, Tier::Ram, Durability::Host);
        crate::common::calls::fill(rig.allocate(&session, &request).unwrap(), 1)
    };
    assert_eq!(
        refusal(rig.commit(&session, &filled.commit_request())),
        Reason::TierFull
    );
    rig.sweep().unwrap();
    rig.check_invariants();
    let mut smaller = filled.commit_request();
    smaller.size = Some(100_000);
    let id = rig.commit(&session, &smaller).unwrap().id;
    assert_eq!(rig.content(&session, id), filled.content[..100_000]);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}
