//! Quotas of namespaces: what is refused, what is not, and what it is refused before.

use payload_core::{Durability, Namespace, NamespaceUse, Quota, Reason, Tier};

use crate::common::calls::{allocate_request, fill, put_request};
use crate::common::{Backend, Rig, Setup, bytes, refusal};

const MIB: u64 = 1 << 20;

fn bound(rig: &Rig, bytes: Option<u64>, payloads: Option<u64>) {
    rig.update_namespace(&Namespace::default(), Quota { bytes, payloads }, None)
        .unwrap();
}

fn used(rig: &Rig) -> NamespaceUse {
    rig.namespace_use(&Namespace::default()).unwrap()
}

#[test]
fn what_would_exceed_the_quota_is_refused_and_leaves_nothing() {
    for backend in Backend::ALL {
        let rig = Setup {
            backend,
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        bound(&rig, Some(3 * MIB), Some(3));
        let first = rig.put_large(&session, MIB, 1);
        let open = rig.allocate_filled(&session, MIB, 2);
        let request = allocate_request(MIB + 1, Tier::Ram, Durability::Volatile);
        let error = rig.allocate(&session, &request).unwrap_err();
        assert_eq!(error.reason(), Reason::QuotaExceeded);
        let numbers = "may have 3145728 bytes; it has 2097152, and this needs 1048577 more";
        assert!(error.message().contains(numbers), "{error}");
        rig.put_small(&session, 3);
        let fourth = put_request(b"", Tier::Ram, Durability::Volatile);
        assert_eq!(refusal(rig.put(&session, &fourth)), Reason::QuotaExceeded);

        // What was begun can be finished, and what ends makes room.
        bound(&rig, Some(0), Some(0));
        rig.commit(&session, &open.commit_request()).unwrap();
        rig.remove(first.id).unwrap();
        bound(&rig, None, Some(3));
        rig.put(&session, &fourth).unwrap();
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn a_durable_copy_counts_from_the_allocation_on() {
    let rig = Setup::default().start();
    let session = rig.session();
    bound(&rig, Some(3 * MIB), None);
    let request = allocate_request(MIB, Tier::Ram, Durability::Host);
    let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
    assert_eq!(used(&rig).bytes, 2 * MIB);
    assert_eq!(refusal(rig.allocate(&session, &request)), Reason::QuotaExceeded);
    rig.commit(&session, &filled.commit_request()).unwrap();
    assert_eq!(used(&rig).bytes, 2 * MIB);
}

#[test]
fn memory_is_freed_and_hot_payloads_stay_below_whatever_the_quota_says() {
    let rig = Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
    .start();
    let session = rig.session();
    let ids: Vec<_> = (0..10).map(|seed| rig.put_large(&session, MIB, seed).id).collect();
    bound(&rig, Some(10 * MIB), None);
    rig.evict();
    assert_eq!(used(&rig).bytes, 10 * MIB, "what went down is charged below");
    let promoted = rig.promote(&Namespace::default(), ids[0], Tier::Ram);
    assert_eq!(refusal(promoted), Reason::QuotaExceeded);
    rig.lease(&session, ids[0]).unwrap();
    rig.lease(&session, ids[0]).unwrap();
    rig.fetch_wishes();
    assert_eq!(
        rig.content(&session, ids[0]),
        bytes(0, MIB),
        "readable from where it is"
    );
    assert_eq!(used(&rig).bytes, 10 * MIB);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn who_has_no_quota_left_does_not_wait_for_room_and_has_nobody_evicted() {
    let rig = Setup {
        ram: 10 * MIB,
        ..Setup::default()
    }
    .with(|settings| settings.room_wait = payload_core::Span::from_secs(3600))
    .start();
    let session = rig.session();
    let held: Vec<_> = (0..10)
        .map(|seed| rig.lease(&session, rig.put_large(&session, MIB, seed).id).unwrap())
        .collect();
    bound(&rig, Some(10 * MIB), None);
    // With room in the quota this would wait for an hour that never comes.
    let request = allocate_request(MIB, Tier::Ram, Durability::Volatile);
    assert_eq!(refusal(rig.allocate(&session, &request)), Reason::QuotaExceeded);
    drop(held);
}

#[test]
fn what_is_counted_survives_a_restart_and_a_reboot() {
    let mut rig = Setup::default().start();
    let session = rig.session();
    let kept = allocate_request(MIB, Tier::Ram, Durability::Host);
    let filled = fill(rig.allocate(&session, &kept).unwrap(), 1);
    rig.commit(&session, &filled.commit_request()).unwrap();
    rig.put_large(&session, MIB, 2);
    let before = used(&rig);
    drop(session);
    rig.restart();
    assert_eq!(used(&rig), before);
    rig.reboot();
    assert_eq!(
        used(&rig),
        NamespaceUse {
            payloads: 1,
            bytes: MIB
        }
    );
    rig.quiesce();
    rig.check_at_rest();
}
