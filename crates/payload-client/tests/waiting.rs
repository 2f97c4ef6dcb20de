//! Who reads the socket while calls wait, come in pairs, give up or keep their thread: nothing that comes stays unread.
#![allow(clippy::unwrap_used, missing_docs)]

mod script;

use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;

use payload_client::v1::notice::Notice;
use payload_client::{AcquireOptions, ClientOptions, LeaseState, Patience, v1};
use payload_core::Span;
use script::{Stage, lease_id, lease_of, payload_id, until};

const ALL: [Patience; 3] = [
    Patience::Yield,
    Patience::Spin(Span::from_micros(100)),
    Patience::Block(Span::from_millis(1)),
];

fn with(patience: Patience) -> ClientOptions {
    ClientOptions {
        patience,
        ..ClientOptions::default()
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_somebody_who_takes_its_answer_in() {
    for patience in ALL {
        let (answer, may_answer) = mpsc::channel();
        let stage = Stage::new();
        let (client, server) = stage
            .play(with(patience), move |_, server| {
                let (asked, _) = server.next_acquire();
                may_answer.recv().unwrap();
                server.grant(&asked, lease_of(1, b"late"), &[]);
                assert_eq!(server.next_release(), [lease_id(1)]);
            })
            .await;
        {
            let mut call = pin!(client.acquire(payload_id(1), AcquireOptions::default()));
            let polled = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready()));
            assert!(!polled.await);
        }
        answer.send(()).unwrap();
        script::finish(server).await;
    }
}

#[tokio::test]
async fn a_call_keeps_its_thread_for_a_while_only() {
    for patience in ALL {
        let (answer, may_answer) = mpsc::channel();
        let stage = Stage::new();
        let (client, server) = stage
            .play(with(patience), move |_, server| {
                let (asked, _) = server.next_acquire();
                may_answer.recv().unwrap();
                server.grant(&asked, lease_of(1, b"late"), &[]);
                assert_eq!(server.next_release(), [lease_id(1)]);
            })
            .await;
        // This thread alone runs both, so the second one has its turn only when the first gives the thread back.
        let (lease, ()) = tokio::join!(client.acquire(payload_id(1), AcquireOptions::default()), async {
            answer.send(()).unwrap();
        });
        assert_eq!(&*lease.unwrap(), b"late");
        script::finish(server).await;
    }
}

#[tokio::test]
async fn calls_that_wait_together_get_their_own_answers() {
    for patience in ALL {
        let stage = Stage::new();
        let (client, server) = stage
            .play(with(patience), |_, server| {
                const CONTENTS: [&[u8]; 3] = [b"1", b"2", b"3"];
                let mut asked: Vec<_> = (0..3).map(|_| server.next_acquire()).collect();
                while let Some((asked, request)) = asked.pop() {
                    let n = (1..=3_u8).find(|n| request.payload_ids[0] == payload_id(*n).to_string());
                    let n = n.unwrap();
                    server.grant(&asked, lease_of(n, CONTENTS[usize::from(n) - 1]), &[]);
                }
                server
            })
            .await;
        let acquire = |n| client.acquire(payload_id(n), AcquireOptions::default());
        let (one, two, three) = tokio::join!(acquire(1), acquire(2), acquire(3));
        let contents = [one, two, three].map(|lease| lease.unwrap()[0]);
        assert_eq!(contents, *b"123");
        script::finish(server).await;
    }
}

#[tokio::test]
async fn notices_are_heard_between_calls_and_right_behind_an_answer() {
    for patience in ALL {
        let stage = Stage::new();
        let (client, server) = stage
            .play(with(patience), |_, server| {
                for n in 1..=2 {
                    let (asked, _) = server.next_acquire();
                    server.grant(&asked, lease_of(n, b"held"), &[]);
                    server.tell(Notice::LeaseEnded(v1::LeaseEnded {
                        lease_id: lease_id(n),
                        reason: "LEASE_REVOKED".to_owned(),
                        message: String::new(),
                    }));
                }
                server
            })
            .await;
        for n in 1..=2 {
            let lease = client.acquire(payload_id(n), AcquireOptions::default()).await.unwrap();
            until(|| lease.state() == LeaseState::Revoked).await;
        }
        script::finish(server).await;
    }
}
