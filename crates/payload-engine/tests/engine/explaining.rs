//! What operators are told: why bytes are where they are, what keeps them there, what goes next, and who holds what.

use std::sync::Arc;

use payload_core::tiering::{Exit, Keep};
use payload_core::{Durability, EventKind, Namespace, PayloadId, Policy, Priority, Reason, SpillTarget, Tier};
use payload_engine::{AllocateRequest, Explanation, Holder, Plan, Wish};

use crate::common::calls::{allocate_request, fill};
use crate::common::{Rig, Setup, refusal};

const MIB: u64 = 1 << 20;

/// RAM for ten payloads of a mebibyte; the tenth brings it above its high watermark.
fn rig() -> Rig {
    Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
    .start()
}

fn put(rig: &Rig, holder: &Arc<Holder>, policy: Policy) -> PayloadId {
    let request = AllocateRequest {
        policy,
        ..allocate_request(MIB, Tier::Ram, Durability::Volatile)
    };
    let filled = fill(rig.allocate(holder, &request).unwrap(), 1);
    rig.commit(holder, &filled.commit_request()).unwrap().id
}

fn explain(rig: &Rig, id: PayloadId) -> Explanation {
    rig.explain(&Namespace::default(), &id.into()).unwrap()
}

fn keeps(explained: &Explanation) -> Vec<(Tier, Vec<Keep>)> {
    let views = explained.replicas.iter();
    views.map(|view| (view.replica.tier(), view.keeps.clone())).collect()
}

#[test]
fn each_replica_says_how_it_came_and_what_keeps_it() {
    let rig = rig();
    let session = rig.session();
    let id = put(&rig, &session, Policy::default());
    let explained = explain(&rig, id);
    assert_eq!(keeps(&explained), [(Tier::Ram, vec![])]);
    assert_eq!(
        (explained.plan, explained.replicas[0].exit),
        (Plan::MayLeave(Tier::Ram), Exit::Spill)
    );
    let arrival = explained.replicas[0].arrival.clone().unwrap();
    assert_eq!(arrival.kind, EventKind::Allocated);

    let grant = rig.lease(&session, id).unwrap();
    rig.spill(&Namespace::default(), id, Tier::Disk).unwrap();
    let explained = explain(&rig, id);
    assert_eq!(
        keeps(&explained),
        [(Tier::Ram, vec![Keep::Leased]), (Tier::Disk, vec![Keep::LowestTier])]
    );
    assert_eq!(explained.plan, Plan::LeavesWhenReleased(Tier::Ram));
    assert_eq!((explained.lease_count, explained.leases[0].peer.pid), (1, 42));
    assert_eq!((explained.replicas[0].leases, explained.replicas[1].leases), (1, 0));
    let below = explained.replicas[1].arrival.clone().unwrap();
    assert_eq!(
        (below.kind, below.reason.as_deref()),
        (EventKind::ReplicaAdded, Some("spill"))
    );

    rig.release(&session, grant.lease).unwrap();
    rig.tick();
    assert_eq!(keeps(&explain(&rig, id)), [(Tier::Disk, vec![Keep::LowestTier])]);
    assert_eq!(explain(&rig, id).plan, Plan::Stays);
    let pressure = rig.tiers().unwrap()[0].pressure.clone().unwrap();
    assert_eq!(
        (pressure.candidates, pressure.candidate_bytes),
        (0, 0),
        "what has left cannot leave again"
    );
    rig.prefetch(&Namespace::default(), id, Tier::Ram).unwrap();
    assert_eq!(explain(&rig, id).plan, Plan::Fetched(Wish::Asked));
    rig.fetch_wishes();
    let explained = explain(&rig, id);
    assert_eq!(
        (explained.plan, explained.replicas[0].exit),
        (Plan::MayLeave(Tier::Ram), Exit::Drop)
    );
}

#[test]
fn policies_and_endings_explain_themselves() {
    let rig = rig();
    let session = rig.session();
    let never = Policy {
        priority: Priority::Never,
        ..Policy::default()
    };
    let kept = put(&rig, &session, never);
    assert_eq!(keeps(&explain(&rig, kept)), [(Tier::Ram, vec![Keep::Priority])]);
    assert_eq!(explain(&rig, kept).plan, Plan::Stays);
    let void = Policy {
        spill_to: SpillTarget::Void,
        ..Policy::default()
    };
    assert_eq!(explain(&rig, put(&rig, &session, void)).replicas[0].exit, Exit::Discard);

    let open = rig.allocate_filled(&session, MIB, 1);
    let explained = explain(&rig, open.row.id);
    assert_eq!(
        (&keeps(&explained)[0].1[..], explained.plan),
        (&[Keep::Unsettled][..], Plan::Unsettled)
    );
    rig.remove(kept).unwrap();
    let explained = explain(&rig, kept);
    assert!(explained.replicas.is_empty() && explained.plan == Plan::Unsettled);
    let unknown = PayloadId::from_parts(1, [9; 10]);
    assert_eq!(
        refusal(rig.explain(&Namespace::default(), &unknown.into())),
        Reason::PayloadNotFound
    );
}

#[test]
fn what_was_inherited_stays_until_nobody_can_come_back() {
    let mut rig = rig();
    let session = rig.session();
    let id = put(&rig, &session, Policy::default());
    drop(session);
    rig.restart();
    assert_eq!(keeps(&explain(&rig, id)), [(Tier::Ram, vec![Keep::MayReturn])]);
    rig.quiesce();
    assert_eq!(keeps(&explain(&rig, id)), [(Tier::Ram, vec![])]);
}

#[test]
fn tiers_show_what_is_reserved_and_what_goes_next() {
    let rig = rig();
    let session = rig.session();
    let ids: Vec<PayloadId> = (0..8).map(|_| put(&rig, &session, Policy::default())).collect();
    let open = rig.allocate_filled(&session, 2 * MIB, 1);
    let tiers = rig.tiers().unwrap();
    let ram = tiers.iter().find(|view| view.stats.tier == Tier::Ram).unwrap();
    let pressure = ram.pressure.as_ref().unwrap();
    assert_eq!((ram.reserved, ram.stats.charged), (2 * MIB, 10 * MIB));
    assert_eq!(
        (pressure.candidates, pressure.candidate_bytes, pressure.excess),
        (8, 8 * MIB, 2 * MIB)
    );
    let next: Vec<PayloadId> = pressure.next.iter().map(|candidate| candidate.payload).collect();
    assert_eq!(next, ids[..next.len()]);
    assert_eq!(explain(&rig, ids[0]).plan, Plan::Leaves(Tier::Ram));
    rig.evict();
    let left = |id: &PayloadId| explain(&rig, *id).replicas[0].replica.tier() == Tier::Disk;
    assert_eq!(ids.iter().filter(|id| left(id)).count(), 2);
    assert!(left(&next[0]) && left(&next[1]), "what was shown has gone");
    rig.commit(&session, &open.commit_request()).unwrap();
    assert_eq!(rig.tiers().unwrap().iter().map(|view| view.reserved).sum::<u64>(), 0);
}

#[test]
fn transfers_show_what_moves_while_it_moves() {
    let rig = rig();
    let session = rig.session();
    let id = put(&rig, &session, Policy::default());
    let other = put(&rig, &session, Policy::default());
    assert!(rig.transfers().running.is_empty());
    rig.spill(&Namespace::default(), other, Tier::Disk).unwrap();
    rig.prefetch(&Namespace::default(), other, Tier::Ram).unwrap();
    let stuck = rig.switch.hold_next("tier.copy_in");
    std::thread::scope(|scope| {
        let spill = scope.spawn(|| rig.spill(&Namespace::default(), id, Tier::Disk).map(drop));
        stuck.wait_until_reached();
        let list = rig.transfers();
        let copy = &list.running[0];
        assert_eq!(
            (copy.payload, copy.from, copy.to, copy.why),
            (id, Tier::Ram, Tier::Disk, "spill")
        );
        assert_eq!(
            (list.queued_total, list.queued[0].payload, list.queued[0].why),
            (1, other, "prefetch")
        );
        let explained = explain(&rig, id);
        assert!(matches!(explained.plan, Plan::Copying { to: Tier::Disk, .. }));
        assert_eq!(keeps(&explained), [(Tier::Ram, vec![Keep::Moving])]);
        stuck.open();
        spill.join().unwrap().unwrap();
    });
    assert!(rig.transfers().running.is_empty());
}

#[test]
fn holders_are_summed_up_those_first_who_hold_most() {
    let rig = rig();
    let (writer, reader) = (rig.session(), rig.session());
    let ids: Vec<PayloadId> = (0..2).map(|_| put(&rig, &writer, Policy::default())).collect();
    assert!(rig.holders().is_empty(), "who holds nothing is not there");
    let _grants: Vec<_> = [ids[0], ids[0], ids[1]]
        .map(|id| rig.lease(&reader, id).unwrap())
        .into();
    let _open = rig.allocate_filled(&writer, MIB, 1);
    rig.clock.advance(crate::common::secs(7));
    let holders = rig.holders();
    let sums: Vec<_> = holders
        .iter()
        .map(|view| (view.leases, view.payloads, view.bytes, view.allocations))
        .collect();
    assert_eq!(sums, [(3, 2, 2 * MIB, 0), (0, 0, 0, 1)]);
    assert_eq!(
        (holders[0].oldest, holders[1].oldest),
        (Some(crate::common::secs(7)), None)
    );
    assert_eq!(&*holders[0].peer.command, "test");
}
