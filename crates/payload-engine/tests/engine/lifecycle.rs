//! A payload's life end to end, in each tier and durability.

use payload_core::{Digest, Durability, EventKind, LogFilter, Namespace, Quota, Reason, StateKind, Tier};
use payload_engine::{Access, AcquireOptions, Filling, ListRequest};

use crate::common::calls::{allocate_request, fill, has_writer, put_request};
use crate::common::{Backend, Rig, Setup, alice, bytes, refusal};

/// Every combination that makes sense.
const PLACES: [(Tier, Durability); 3] = [
    (Tier::Ram, Durability::Volatile),
    (Tier::Ram, Durability::Host),
    (Tier::Disk, Durability::Host),
];
/// Empty, inside a slab or pack, and in a container of its own.
const SIZES: [u64; 4] = [0, 1, 5_000, 3 << 20];

fn each_place(test: impl Fn(&Rig, Tier, Durability)) {
    for backend in Backend::ALL {
        let rig = Setup {
            backend,
            ..Setup::default()
        }
        .start();
        let strongest = rig.repository().strongest();
        for (tier, durability) in PLACES.into_iter().filter(|(_, class)| *class <= strongest) {
            test(&rig, tier, durability);
        }
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn allocate_write_commit_acquire_release_delete() {
    each_place(|rig, tier, durability| {
        let session = rig.session();
        for size in SIZES {
            let allocation = rig
                .allocate(&session, &allocate_request(size, tier, durability))
                .unwrap();
            assert_eq!(has_writer(&allocation), size > 0);
            let id = allocation.row.id;
            assert_eq!(refusal(rig.lease(&session, id)), Reason::PayloadNotCommitted);
            let filled = fill(allocation, size);
            let row = rig.commit(&session, &filled.commit_request()).unwrap();
            assert_eq!((row.size, row.state.kind()), (size, StateKind::Active));
            assert_eq!(rig.content(&session, id), filled.content);
            rig.check_invariants();

            let deletion = rig.remove(id).unwrap();
            assert_eq!((deletion.state, deletion.leases), (StateKind::Deleted, 0));
            assert_eq!(refusal(rig.lease(&session, id)), Reason::PayloadDeleted);
            let events: Vec<_> = rig.history(id).into_iter().map(|event| event.record).collect();
            let told: Vec<_> = events.iter().map(|e| (e.kind, e.from, e.to)).collect();
            let (allocated, active, deleting) = (StateKind::Allocated, StateKind::Active, StateKind::Deleting);
            assert_eq!(
                told,
                [
                    (EventKind::Allocated, None, allocated),
                    (EventKind::Committed, Some(allocated), active),
                    (EventKind::DeleteRequested, Some(active), deleting),
                    (EventKind::Deleted, Some(deleting), StateKind::Deleted),
                ]
            );
            assert!(events.iter().all(|event| event.actor == (&alice()).into()));
            let reasons: Vec<_> = events.iter().map(|e| e.reason.as_deref()).collect();
            assert_eq!(reasons, [None, None, Some("test"), Some("test")]);
        }
        rig.close_session(&session);
    });
}

#[test]
fn a_put_is_there_whole_and_at_once() {
    each_place(|rig, tier, durability| {
        let session = rig.session();
        for size in [0, 1, 64 << 10] {
            let content = bytes(size, size);
            let row = rig.put(&session, &put_request(&content, tier, durability)).unwrap();
            assert_eq!((row.digest, row.size), (Some(Digest::of(&content)), size));
            assert_eq!(rig.kinds(row.id), [EventKind::Committed]);
            assert_eq!(rig.content(&session, row.id), content);
            let inline = AcquireOptions {
                inline_max: u64::MAX,
                ..AcquireOptions::default()
            };
            let grant = rig.acquire(&session, &Namespace::default(), row.id, inline).unwrap();
            assert!(matches!(&grant.access, Access::Content(inline) if *inline == content));
            rig.release(&session, grant.lease).unwrap();
            rig.remove(row.id).unwrap();
        }
        let too_big = put_request(&bytes(0, (64 << 10) + 1), tier, durability);
        assert_eq!(refusal(rig.put(&session, &too_big)), Reason::BadSize);
        rig.close_session(&session);
    });
}

#[test]
fn a_commit_may_keep_less_than_was_allocated() {
    each_place(|rig, tier, durability| {
        let session = rig.session();
        for (size, kept) in [(3 << 20, 5_000), (5_000, 4_999), (5_000, 0), (1, 1)] {
            let filled = fill(
                rig.allocate(&session, &allocate_request(size, tier, durability))
                    .unwrap(),
                size,
            );
            let mut request = filled.commit_request();
            request.size = Some(size + 1);
            assert_eq!(refusal(rig.commit(&session, &request)), Reason::BadSize);
            request.size = Some(kept);
            let row = rig.commit(&session, &request).unwrap();
            assert_eq!(row.size, kept);
            assert_eq!(rig.content(&session, row.id), filled.content[..kept as usize]);
            rig.check_invariants();
            rig.remove(row.id).unwrap();
        }
        rig.close_session(&session);
    });
}

#[test]
fn a_wrong_digest_refuses_the_commit_and_the_right_one_makes_it() {
    each_place(|rig, tier, durability| {
        let session = rig.session();
        for size in SIZES {
            let filled = fill(
                rig.allocate(&session, &allocate_request(size, tier, durability))
                    .unwrap(),
                size,
            );
            let mut request = filled.commit_request();
            request.digest = Some(Digest::of(b"something else"));
            assert_eq!(refusal(rig.commit(&session, &request)), Reason::DigestMismatch);
            assert_eq!(rig.state(filled.row.id), StateKind::Allocated);
            rig.sweep().unwrap();
            rig.check_invariants();
            request.digest = Some(Digest::of(&filled.content));
            let row = rig.commit(&session, &request).unwrap();
            assert_eq!(row.digest, request.digest);
            assert_eq!(rig.content(&session, row.id), filled.content);
        }
        let mut put = put_request(b"bytes", tier, durability);
        put.digest = Some(Digest::of(b"other"));
        assert_eq!(refusal(rig.put(&session, &put)), Reason::DigestMismatch);
        rig.close_session(&session);
    });
}

#[test]
fn bytes_that_a_refused_commit_gave_back_cannot_be_committed_later() {
    each_place(|rig, tier, durability| {
        let session = rig.session();
        let size = 100 << 10;
        let filled = fill(
            rig.allocate(&session, &allocate_request(size, tier, durability))
                .unwrap(),
            9,
        );
        let mut request = filled.commit_request();
        (request.size, request.digest) = (Some(100), Some(Digest::of(b"something else")));
        assert_eq!(refusal(rig.commit(&session, &request)), Reason::DigestMismatch);
        (request.size, request.digest) = (None, None);
        rig.commit(&session, &request).unwrap_err();
        assert_eq!(rig.state(filled.row.id), StateKind::Allocated);
        (request.size, request.digest) = (Some(100), Some(Digest::of(&filled.content[..100])));
        let row = rig.commit(&session, &request).unwrap();
        assert_eq!(rig.content(&session, row.id), filled.content[..100]);
        rig.close_session(&session);
    });
}

#[test]
fn a_write_through_commit_leaves_two_equal_replicas() {
    let rig = Setup::default().start();
    let session = rig.session();
    for size in SIZES {
        let request = allocate_request(size, Tier::Ram, Durability::Host);
        let filled = fill(rig.allocate(&session, &request).unwrap(), size);
        let row = rig.commit(&session, &filled.commit_request()).unwrap();
        let tiers: Vec<Tier> = Tier::ALL
            .into_iter()
            .filter(|tier| row.replicas.iter().any(|replica| replica.tier() == *tier))
            .collect();
        assert_eq!((row.replicas.len(), tiers), (2, vec![Tier::Ram, Tier::Disk]));
        for replica in &row.replicas {
            let digest = rig.store(replica.tier()).digest(&replica.location, size).unwrap();
            assert_eq!(Some(digest), row.digest);
        }
        rig.check_invariants();
    }
}

#[test]
fn an_aborted_allocation_leaves_nothing_but_its_tombstone() {
    each_place(|rig, tier, durability| {
        let session = rig.session();
        for size in SIZES {
            let filled = fill(
                rig.allocate(&session, &allocate_request(size, tier, durability))
                    .unwrap(),
                size,
            );
            let id = filled.row.id;
            let abort = || rig.abort(&session, &Namespace::default(), id, None, "changed my mind".into());
            abort().unwrap();
            assert_eq!(refusal(abort()), Reason::PayloadAborted);
            assert_eq!(
                refusal(rig.commit(&session, &filled.commit_request())),
                Reason::PayloadAborted
            );
            assert_eq!(rig.kinds(id), [EventKind::Allocated, EventKind::Aborted]);
            assert_eq!(rig.history(id)[1].record.reason.as_deref(), Some("changed my mind"));
        }
        assert_eq!(rig.stats().unwrap().allocations, 0);
        rig.close_session(&session);
    });
}

#[test]
fn fault_23_a_commit_under_a_mapped_writer_is_refused_and_can_be_repeated() {
    let rig = Setup::default().start();
    let session = rig.session();
    let request = allocate_request(8 << 10, Tier::Disk, Durability::Host);
    let mut allocation = rig.allocate(&session, &request).unwrap();
    let writer = std::mem::replace(&mut allocation.filling, Filling::Nothing);
    let filled = fill(allocation, 1);
    assert_eq!(
        refusal(rig.commit(&session, &filled.commit_request())),
        Reason::WriterMapped
    );
    drop(writer);
    rig.commit(&session, &filled.commit_request()).unwrap();
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn another_namespace_sees_nothing() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = rig.put_small(&session, 1).id;
    let other: Namespace = "other".parse().unwrap();
    let options = AcquireOptions::default();
    assert_eq!(refusal(rig.get(&other, id)), Reason::PayloadNotFound);
    assert_eq!(
        refusal(rig.acquire(&session, &other, id, options)),
        Reason::PayloadNotFound
    );
    let quick = rig.acquire_quick(&session, &other, id, options).unwrap();
    assert_eq!(refusal(quick), Reason::PayloadNotFound);
    assert_eq!(
        refusal(rig.events(&LogFilter::payload(other.clone(), id), 0, "")),
        Reason::PayloadNotFound
    );
    rig.create_namespace(&alice(), other.clone(), Quota::default()).unwrap();
    assert!(rig.list(&ListRequest::all(other)).unwrap().rows.is_empty());
}
