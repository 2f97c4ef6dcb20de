//! What may not sink below a tier, where there are three of them.

use std::sync::Arc;

use payload_core::tiering::Keep;
use payload_core::{Durability, Namespace, PayloadId, Policy, Replica, SpillTarget, Tier};
use payload_engine::{AllocateRequest, Holder};

use crate::common::calls::{allocate_request, fill};
use crate::common::{Rig, Setup, bytes};

const MIB: u64 = 1 << 20;

/// RAM and disk for ten payloads each; the tenth brings one above its high watermark, and two have to go.
fn three_tiers() -> Rig {
    Setup {
        ram: 10 * MIB,
        disk: 10 * MIB,
        ..Setup::with_bucket()
    }
    .start()
}

fn down_to(slowest: Tier) -> Policy {
    Policy {
        min_tier: Some(slowest),
        ..Policy::default()
    }
}

fn put(rig: &Rig, holder: &Arc<Holder>, seed: u64, tier: Tier, policy: Policy) -> PayloadId {
    let request = AllocateRequest {
        policy,
        durability: None,
        ..allocate_request(MIB, tier, Durability::Volatile)
    };
    let filled = fill(rig.allocate(holder, &request).unwrap(), seed);
    rig.commit(holder, &filled.commit_request()).unwrap().id
}

fn tiers(rig: &Rig, id: PayloadId) -> Vec<Tier> {
    let row = rig.repository().get(id).unwrap().unwrap();
    row.replicas.iter().map(Replica::tier).collect()
}

fn keeps(rig: &Rig, id: PayloadId) -> Vec<Keep> {
    let explained = rig.explain(&Namespace::default(), &id.into()).unwrap();
    explained.replicas[0].keeps.clone()
}

#[test]
fn what_sinks_to_disk_at_most_stays_there_while_the_others_go_to_the_bucket() {
    let rig = three_tiers();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..10)
        .map(|seed| {
            let policy = if seed < 8 {
                down_to(Tier::Disk)
            } else {
                Policy::default()
            };
            put(&rig, &session, seed, Tier::Disk, policy)
        })
        .collect();
    rig.evict_from(Tier::Disk);
    for (at, id) in ids.iter().enumerate() {
        let expected = if at < 8 { Tier::Disk } else { Tier::Object };
        assert_eq!(tiers(&rig, *id), [expected], "payload {at}");
    }
    assert_eq!(keeps(&rig, ids[0]), [Keep::MinTier, Keep::LowestTier]);
    // By hand it goes, and comes back no further than it was told to.
    rig.spill(&Namespace::default(), ids[0], Tier::Object).unwrap();
    assert_eq!(tiers(&rig, ids[0]), [Tier::Object]);
    assert_eq!(rig.content(&session, ids[0]), bytes(0, MIB));
}

#[test]
fn a_bucket_as_the_target_of_spills_is_passed_over_by_what_may_not_sink_so_far() {
    let rig = three_tiers();
    let session = rig.session();
    let to_bucket = |policy| Policy {
        spill_to: SpillTarget::Object,
        ..policy
    };
    let stays = (0..2).map(|seed| put(&rig, &session, seed, Tier::Ram, to_bucket(down_to(Tier::Ram))));
    let stays: Vec<PayloadId> = stays.collect();
    let to_disk = put(&rig, &session, 2, Tier::Ram, to_bucket(down_to(Tier::Disk)));
    let sinks = put(&rig, &session, 3, Tier::Ram, to_bucket(Policy::default()));
    for seed in 4..10 {
        put(&rig, &session, seed, Tier::Ram, Policy::default());
    }
    rig.evict();
    assert!(stays.iter().all(|id| tiers(&rig, *id) == [Tier::Ram]));
    assert_eq!(
        (tiers(&rig, to_disk), tiers(&rig, sinks)),
        (vec![Tier::Disk], vec![Tier::Object])
    );
    // A copy below, made by hand, does not let it go by itself either.
    rig.spill(&Namespace::default(), stays[0], Tier::Object).unwrap();
    rig.promote(&Namespace::default(), stays[0], Tier::Ram).unwrap();
    assert_eq!(keeps(&rig, stays[0]), [Keep::MinTier, Keep::LowestTier]);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}
