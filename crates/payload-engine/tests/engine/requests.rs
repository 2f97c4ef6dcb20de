//! Request ids: a retry gets the first answer, does nothing twice, and leaves nothing behind.

use std::sync::Barrier;

use payload_core::{Durability, EventKind, Namespace, PayloadId, Reason, StateKind, Tier};

use crate::common::calls::{allocate_request, bytes, fill, has_writer, put_request};
use crate::common::{Backend, Setup, refusal, secs};

#[test]
fn retries_get_the_first_answer_and_change_nothing() {
    for backend in Backend::ALL {
        let rig = Setup {
            backend,
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        let mut allocate = allocate_request(10_000, Tier::Ram, Durability::Volatile);
        allocate.request_id = Some("a1".parse().unwrap());
        let first = rig.allocate(&session, &allocate).unwrap();
        let again = rig.allocate(&session, &allocate).unwrap();
        assert_eq!((first.row.id, first.token), (again.row.id, again.token));
        assert!(
            has_writer(&again),
            "the producer may write with the descriptor of the retry"
        );
        assert_eq!(rig.stats().unwrap().allocations, 1);
        drop(again);
        rig.sweep().unwrap();
        rig.check_invariants();

        let filled = fill(first, 1);
        let mut commit = filled.commit_request();
        commit.request_id = Some("c1".parse().unwrap());
        let first = rig.commit(&session, &commit).unwrap();
        assert_eq!(rig.commit(&session, &commit).unwrap(), first);
        assert_eq!(rig.allocate(&session, &allocate).unwrap().row.id, first.id);
        assert!(
            !has_writer(&rig.allocate(&session, &allocate).unwrap()),
            "what is committed is not written"
        );
        assert_eq!(rig.kinds(first.id), [EventKind::Allocated, EventKind::Committed]);

        let mut put = put_request(&bytes(1, 5_000), Tier::Ram, Durability::Volatile);
        put.request_id = Some("p1".parse().unwrap());
        let first = rig.put(&session, &put).unwrap();
        assert_eq!(rig.put(&session, &put).unwrap(), first);
        assert_eq!(rig.kinds(first.id), [EventKind::Committed]);
        rig.sweep().unwrap();
        rig.check_invariants();
        rig.remove(first.id).unwrap();
        assert_eq!(
            rig.put(&session, &put).unwrap().id,
            first.id,
            "even after the payload has ended"
        );

        assert_eq!(rig.rows().len(), 2);
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn an_id_that_was_used_for_something_else_is_refused() {
    let rig = Setup::default().start();
    let session = rig.session();
    let id = Some("same".parse().unwrap());
    let mut put = put_request(b"one", Tier::Ram, Durability::Volatile);
    put.request_id = id.clone();
    rig.put(&session, &put).unwrap();
    put.content = b"two".to_vec().into();
    assert_eq!(refusal(rig.put(&session, &put)), Reason::RequestIdReused);
    let mut allocate = allocate_request(3, Tier::Ram, Durability::Volatile);
    allocate.request_id = id.clone();
    assert_eq!(refusal(rig.allocate(&session, &allocate)), Reason::RequestIdReused);
    allocate.request_id = None;
    let filled = fill(rig.allocate(&session, &allocate).unwrap(), 1);
    let mut commit = filled.commit_request();
    commit.request_id = id;
    assert_eq!(refusal(rig.commit(&session, &commit)), Reason::RequestIdReused);
    assert_eq!(rig.state(filled.row.id), StateKind::Allocated);
    commit.request_id = None;
    rig.commit(&session, &commit).unwrap();
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn answers_are_forgotten_after_their_time() {
    for backend in Backend::ALL {
        let rig = Setup {
            backend,
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        let mut put = put_request(b"one", Tier::Ram, Durability::Volatile);
        put.request_id = Some("r".parse().unwrap());
        let first = rig.put(&session, &put).unwrap().id;
        rig.advance(secs(3600));
        assert_eq!(rig.put(&session, &put).unwrap().id, first);
        rig.advance(secs(1));
        assert_ne!(rig.put(&session, &put).unwrap().id, first);
    }
}

#[test]
fn a_retry_is_answered_even_when_there_is_no_room_for_a_second_try() {
    let rig = Setup {
        ram: 1 << 20,
        ..Setup::memory()
    }
    .with(|s| s.caps.allocations_per_principal = 1)
    .start();
    let session = rig.session();
    let mut allocate = allocate_request(600 << 10, Tier::Ram, Durability::Volatile);
    allocate.request_id = Some("a".parse().unwrap());
    let first = rig.allocate(&session, &allocate).unwrap();
    let again = rig
        .allocate(&session, &allocate)
        .expect("a retry needs no second place under the cap");
    assert_eq!(first.row.id, again.row.id);
    drop(again);
    let committed = rig.commit(&session, &fill(first, 1).commit_request()).unwrap();
    let mut put = put_request(&bytes(2, 60 << 10), Tier::Ram, Durability::Volatile);
    put.request_id = Some("p".parse().unwrap());
    let first = rig.put(&session, &put).unwrap();
    let full = rig.put(
        &session,
        &put_request(&bytes(3, 60 << 10), Tier::Ram, Durability::Volatile),
    );
    let mut more = vec![full];
    while more.last().unwrap().is_ok() {
        more.push(rig.put(
            &session,
            &put_request(&bytes(3, 60 << 10), Tier::Ram, Durability::Volatile),
        ));
    }
    assert_eq!(refusal(more.pop().unwrap()), Reason::TierFull);
    assert_eq!(rig.put(&session, &put).unwrap().id, first.id);
    assert_eq!(rig.allocate(&session, &allocate).unwrap().row.id, committed.id);
}

#[test]
fn eight_threads_with_one_id_make_one_payload() {
    for backend in Backend::ALL {
        let rig = Setup {
            backend,
            ..Setup::default()
        }
        .start();
        let session = rig.session();
        for round in 0..10u64 {
            let mut put = put_request(&bytes(round, 900), Tier::Ram, Durability::Volatile);
            put.request_id = Some(format!("put{round}").parse().unwrap());
            let mut allocate = allocate_request(900, Tier::Ram, Durability::Volatile);
            allocate.request_id = Some(format!("allocate{round}").parse().unwrap());
            let start = Barrier::new(8);
            let made: Vec<(PayloadId, PayloadId)> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            let put = rig.put(&session, &put).unwrap().id;
                            let allocation = rig.allocate(&session, &allocate).unwrap();
                            assert!(has_writer(&allocation), "all of them are the producer");
                            (put, allocation.row.id)
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(made.iter().all(|ids| *ids == made[0]), "{made:?}");
            assert_eq!(rig.stats().unwrap().allocations, 1);
            rig.abort(&session, &Namespace::default(), made[0].1, None, "".into())
                .unwrap();
        }
        assert_eq!(rig.rows().len(), 20);
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    }
}
