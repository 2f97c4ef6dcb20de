//! Changes of which nobody knows whether they happened, ports that fail once, and what the engine makes of it.

use std::sync::mpsc::channel;

use payload_core::{Digest, Durability, EventKind, Namespace, Reason, StateKind, Tier};
use payload_engine::AcquireOptions;
use payload_testkit::faulty::Moment::{After, Before};

use crate::common::calls::{allocate_request, bytes, fill, put_request};
use crate::common::{Setup, refusal, secs};

#[test]
fn a_commit_whose_answer_was_lost_is_found_out_about() {
    let rig = Setup::default().start();
    let session = rig.session();
    let mut request = allocate_request(10_000, Tier::Ram, Durability::Host);
    request.ttl = Some(secs(60));
    let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
    let (answer, answers) = channel();
    let options = AcquireOptions::default();
    let id = filled.row.id;
    rig.acquire_when_committed(&session, &Namespace::default(), id, options, secs(50), move |grant| {
        answer.send(grant).unwrap();
    });
    rig.switch.fail_next("repository.commit", After);
    rig.commit(&session, &filled.commit_request()).unwrap_err();
    rig.run_drains();
    let grant = answers.try_recv().expect("whoever waited is answered").unwrap();
    assert_eq!(rig.read(&grant), filled.content);
    assert_eq!(rig.stats().unwrap().allocations, 0, "the allocation is off the books");
    assert_eq!(
        refusal(rig.commit(&session, &filled.commit_request())),
        Reason::PayloadCommitted
    );
    assert_eq!(rig.expire_due().unwrap(), Some(secs(60)));
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_commit_that_fails_leaves_the_allocation_open() {
    let rig = Setup::default().start();
    let session = rig.session();
    for (call, durability) in [
        ("repository.commit", Durability::Volatile),
        ("tier.seal", Durability::Volatile),
        ("tier.digest", Durability::Volatile),
        ("tier.open", Durability::Host),
        ("tier.copy_in", Durability::Host),
    ] {
        let filled = fill(
            rig.allocate(&session, &allocate_request(100_000, Tier::Ram, durability))
                .unwrap(),
            1,
        );
        let mut request = filled.commit_request();
        request.digest = Some(Digest::of(&filled.content));
        rig.switch.fail_next(call, Before);
        assert_eq!(refusal(rig.commit(&session, &request)), Reason::Internal, "{call}");
        assert_eq!(rig.state(filled.row.id), StateKind::Allocated);
        rig.check_invariants();
        rig.commit(&session, &filled.commit_request()).unwrap();
        assert_eq!(rig.content(&session, filled.row.id), filled.content);
    }
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn a_deletion_whose_answer_was_lost_frees_the_bytes_all_the_same() {
    for held in [false, true] {
        let rig = Setup::default().start();
        let session = rig.session();
        let id = rig.put_large(&session, 3 << 20, 1).id;
        let lease = held.then(|| rig.lease(&session, id).unwrap());
        rig.switch.fail_next("repository.commit", After);
        rig.remove(id).unwrap_err();
        if let Some(grant) = lease {
            assert_eq!(rig.read(&grant), bytes(1, 3 << 20));
            assert_eq!(rig.state(id), StateKind::Deleting);
            rig.release(&session, grant.lease).unwrap();
        }
        rig.tick();
        assert_eq!(rig.state(id), StateKind::Deleted);
        rig.check_at_rest();
    }
}

#[test]
fn a_put_or_allocation_whose_answer_was_lost_is_swept_or_retried() {
    for moment in [Before, After] {
        let rig = Setup::default().start();
        let session = rig.session();
        let mut put = put_request(&bytes(1, 3_000), Tier::Ram, Durability::Host);
        put.request_id = Some("p".parse().unwrap());
        rig.switch.fail_next("repository.commit", moment);
        let first = rig.put(&session, &put);
        assert_eq!(
            first.is_ok(),
            moment == After,
            "the request id finds the answer that was lost"
        );
        let id = rig.put(&session, &put).unwrap().id;
        assert_eq!(rig.content(&session, id), bytes(1, 3_000));

        let mut allocate = allocate_request(3_000, Tier::Ram, Durability::Volatile);
        rig.switch.fail_next("repository.commit", moment);
        rig.allocate(&session, &allocate).unwrap_err();
        allocate.request_id = Some("a".parse().unwrap());
        rig.switch.fail_next("repository.commit", moment);
        let first = rig.allocate(&session, &allocate);
        assert_eq!(first.is_ok(), moment == After);
        drop(first);
        let filled = fill(rig.allocate(&session, &allocate).unwrap(), 2);
        rig.commit(&session, &filled.commit_request()).unwrap();
        rig.close_session(&session);
        rig.advance(secs(600));
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn a_payload_in_doubt_keeps_its_leases_and_grants_no_new_ones() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = rig.put_small(&session, 1).id;
    let grant = rig.lease(&session, id).unwrap();
    // The repository takes the deletion, and then cannot even be read.
    rig.switch.fail_next("repository.commit", After);
    rig.switch.fail_next("repository.get", Before);
    rig.remove(id).unwrap_err();
    assert_eq!(rig.read(&grant), bytes(1, 1_000));
    assert!(
        rig.acquire_quick(&session, &Namespace::default(), id, AcquireOptions::default())
            .is_none()
    );
    assert_eq!(
        refusal(rig.lease(&session, id)),
        Reason::PayloadDeleted,
        "asked again, the repository knows"
    );
    rig.tick();
    assert_eq!(
        rig.state(id),
        StateKind::Deleting,
        "the lease that was there before still counts"
    );
    rig.release(&session, grant.lease).unwrap();
    rig.tick();
    rig.check_at_rest();
}

#[test]
fn a_sweep_that_fails_half_way_goes_on_where_it_was() {
    for call in ["repository.containers_in_use", "tier.drop_container", "fds.remove"] {
        let mut rig = Setup::default().start();
        let session = rig.session();
        rig.put_large(&session, 3 << 20, 1);
        // A segment of its own without a row: the server died before it was written down.
        rig.switch.kill_before("repository.commit");
        rig.allocate(&session, &allocate_request(3 << 20, Tier::Ram, Durability::Volatile))
            .unwrap_err();
        rig.restart();
        rig.switch.fail_next(call, Before);
        rig.sweep().unwrap_err();
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn bytes_that_could_not_be_freed_are_freed_later() {
    for call in ["tier.remove", "fds.remove"] {
        let rig = Setup::default().start();
        // The first sweep looks at everything; those after it look at what they are told of.
        rig.sweep().unwrap();
        let session = rig.session();
        let id = rig.put_large(&session, 3 << 20, 1).id;
        rig.switch.fail_next(call, Before);
        assert_eq!(rig.remove(id).unwrap().state, StateKind::Deleted);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn a_drain_that_fails_is_tried_again() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = rig.put_small(&session, 1).id;
    let grant = rig.lease(&session, id).unwrap();
    rig.remove(id).unwrap();
    rig.switch.fail_next("repository.commit", Before);
    rig.release(&session, grant.lease).unwrap();
    rig.run_drains();
    assert_eq!(rig.state(id), StateKind::Deleting);
    rig.advance(secs(1));
    assert_eq!(rig.kinds(id).last(), Some(&EventKind::Deleted));
    rig.check_at_rest();
}

#[test]
fn a_deletion_that_fails_leaves_the_payload_leasable() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = rig.put_small(&session, 1).id;
    rig.switch.fail_next("repository.commit", Before);
    rig.remove(id).unwrap_err();
    assert_eq!(rig.content(&session, id), bytes(1, 1_000));
    let mut force = crate::common::calls::delete_request(id);
    force.force = true;
    rig.switch.fail_next("repository.commit", Before);
    rig.delete(&crate::common::alice(), &force).unwrap_err();
    assert_eq!(rig.content(&session, id), bytes(1, 1_000));
}
