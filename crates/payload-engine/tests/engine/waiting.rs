//! Callers that wait for a commit: each is answered once, whatever the allocation comes to.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Barrier};

use payload_core::{Namespace, PayloadId, Reason, Result, Span};
use payload_engine::{AcquireOptions, Grant, Holder};

use crate::common::{Rig, Setup, alice, refusal, secs};

fn wait_for(rig: &Rig, holder: &Arc<Holder>, id: PayloadId, wait: Span) -> Receiver<Result<Grant>> {
    let (answer, answers) = channel();
    let options = AcquireOptions::default();
    rig.acquire_when_committed(holder, &Namespace::default(), id, options, wait, move |grant| {
        answer.send(grant).unwrap();
    });
    answers
}

fn is_waiting(answers: &Receiver<Result<Grant>>) -> bool {
    matches!(answers.try_recv(), Err(TryRecvError::Empty))
}

#[test]
fn all_waiters_are_answered_by_the_commit() {
    let rig = Setup::default().start();
    let (producer, consumer, remote) = (rig.session(), rig.session(), rig.remote(&alice()));
    let filled = rig.allocate_filled(&producer, 1000, 1);
    let id = filled.row.id;
    let waiting: Vec<_> = (0..20)
        .map(|i| wait_for(&rig, if i % 2 == 0 { &consumer } else { &remote }, id, secs(60)))
        .collect();
    assert!(waiting.iter().all(is_waiting));
    rig.commit(&producer, &filled.commit_request()).unwrap();
    for (i, answers) in waiting.iter().enumerate() {
        let grant = answers.try_recv().unwrap().unwrap();
        if i % 2 == 0 {
            assert_eq!(rig.read(&grant), filled.content);
        }
    }
    assert_eq!(rig.stats().unwrap().leases, 20);
    rig.advance(secs(60));
    assert!(
        waiting
            .iter()
            .all(|answers| matches!(answers.try_recv(), Err(TryRecvError::Disconnected)))
    );
}

#[test]
fn waiters_are_told_when_the_allocation_ends_or_their_time_does() {
    let rig = Setup::default().start();
    let (producer, consumer) = (rig.session(), rig.session());
    let filled = rig.allocate_filled(&producer, 1000, 1);
    let id = filled.row.id;
    let (short, long) = (
        wait_for(&rig, &consumer, id, secs(5)),
        wait_for(&rig, &consumer, id, secs(50)),
    );
    rig.advance(secs(4));
    assert!(is_waiting(&short));
    rig.advance(secs(1));
    assert_eq!(refusal(short.try_recv().unwrap()), Reason::WaitTimedOut);
    assert!(is_waiting(&long));
    rig.abort(&producer, &Namespace::default(), id, None, "".into())
        .unwrap();
    assert_eq!(refusal(long.try_recv().unwrap()), Reason::PayloadAborted);

    let filled = rig.allocate_filled(&producer, 1000, 1);
    let writer_died = wait_for(&rig, &consumer, filled.row.id, secs(50));
    rig.close_session(&producer);
    assert_eq!(refusal(writer_died.try_recv().unwrap()), Reason::PayloadAborted);
    assert_eq!(
        refusal(wait_for(&rig, &consumer, id, secs(9)).try_recv().unwrap()),
        Reason::PayloadAborted
    );
}

#[test]
fn who_waits_no_longer_gets_no_lease() {
    let rig = Setup::default().start();
    let (producer, consumer) = (rig.session(), rig.session());
    let filled = rig.allocate_filled(&producer, 1000, 1);
    let answers = wait_for(&rig, &consumer, filled.row.id, secs(5));
    rig.close_session(&consumer);
    rig.commit(&producer, &filled.commit_request()).unwrap();
    assert_eq!(refusal(answers.try_recv().unwrap()), Reason::SessionNotFound);
    assert_eq!(rig.stats().unwrap().leases, 0);
    let no_wait = rig.allocate_filled(&producer, 1000, 1);
    let answer = wait_for(&rig, &producer, no_wait.row.id, Span::ZERO)
        .try_recv()
        .unwrap();
    assert_eq!(refusal(answer), Reason::PayloadNotCommitted);
}

#[test]
fn a_wait_that_begins_during_the_commit_is_never_forgotten() {
    let rig = Setup::memory().start();
    let (producer, consumer) = (rig.session(), rig.session());
    for seed in 0..300 {
        let filled = rig.allocate_filled(&producer, 100, seed);
        let start = Barrier::new(5);
        let waiting: Vec<_> = std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        wait_for(&rig, &consumer, filled.row.id, secs(60))
                    })
                })
                .collect();
            start.wait();
            rig.commit(&producer, &filled.commit_request()).unwrap();
            waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
        });
        for answers in waiting {
            let grant = answers
                .try_recv()
                .expect("answered once both calls have returned")
                .unwrap();
            rig.release(&consumer, grant.lease).unwrap();
        }
        rig.remove(filled.row.id).unwrap();
    }
    rig.close_session(&producer);
    rig.quiesce();
    rig.check_at_rest();
}
