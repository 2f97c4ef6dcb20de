//! Subscriptions over a scripted local socket: what comes is taken in at once, and nothing is asked that was brought.
#![allow(clippy::unwrap_used, missing_docs)]

mod script;

use std::os::fd::BorrowedFd;
use std::task::Poll;

use payload_client::v1::client_message::Request;
use payload_client::v1::notice::Notice;
use payload_client::v1::server_message::Response;
use payload_client::v1::subscribe_response::Response as Told;
use payload_client::v1::subscription_notice::What;
use payload_client::{Client, ClientOptions, ConsumerOptions, Reader, Reason, v1};
use payload_core::StreamId;
use script::{Connection, Stage, failure, fd, granted, lease_at, lease_id, lease_of, payload_id, segment};

/// Leases that the reader has ahead, and entries that it lets be under way.
const AHEAD: usize = 4;

fn reader(client: &Client) -> Reader {
    client.read_stream(&"frames".parse().unwrap(), ConsumerOptions::default(), AHEAD)
}

fn incarnation() -> String {
    StreamId::from_parts(1_700_000_000_000, [7; 10]).to_string()
}

fn entry(offset: u64) -> v1::Entry {
    v1::Entry {
        offset,
        payload_id: payload_id(offset as u8).to_string(),
        ..Default::default()
    }
}

/// The server's side of a subscription.
struct Subscription<'a> {
    server: &'a Connection,
    request: v1::OpenSubscriptionRequest,
}

impl<'a> Subscription<'a> {
    /// Reads the request, and agrees to it: from an offset on.
    fn open(server: &'a Connection, next_offset: u64) -> Self {
        let asked = server.next();
        let Request::OpenSubscription(request) = asked.request.clone() else {
            panic!("{asked:?} opens no subscription")
        };
        server.answer(&asked, Response::OpenSubscription(v1::OpenSubscriptionResponse {}), &[]);
        let subscription = Self { server, request };
        subscription.tell(
            What::Response(v1::SubscribeResponse {
                response: Some(Told::Opened(v1::SubscribeOpened {
                    incarnation: incarnation(),
                    next_offset,
                    head_offset: next_offset,
                    generation: 0,
                })),
            }),
            Vec::new(),
            &[],
        );
        subscription
    }

    fn tell(&self, what: What, leases: Vec<v1::AcquireResult>, fds: &[BorrowedFd<'_>]) {
        let notice = v1::SubscriptionNotice {
            subscription: self.request.subscription,
            what: Some(what),
            leases,
        };
        self.server.tell_with(Notice::Subscription(notice), fds);
    }

    /// Entries from an offset on, one for each lease.
    fn entries(&self, first: u64, leases: Vec<v1::AcquireResult>, fds: &[BorrowedFd<'_>]) {
        let next_offset = first + leases.len() as u64;
        let batch = v1::SubscribeEntries {
            entries: (first..next_offset).map(entry).collect(),
            next_offset,
            head_offset: next_offset,
        };
        let response = Some(Told::Entries(batch));
        self.tell(What::Response(v1::SubscribeResponse { response }), leases, fds);
    }

    fn next_acknowledged(&self) -> u64 {
        let asked = self.server.next();
        let Request::Acknowledge(request) = asked.request else {
            panic!("{asked:?} is not an acknowledgement")
        };
        assert_eq!(request.subscription, self.request.subscription);
        request.ack.unwrap().offset
    }
}

/// Everything that a reader gives up when it goes: how many leases, and whether its subscription is among it.
fn given_up(server: &Connection, leases: usize) -> Vec<String> {
    let (mut released, mut closed) = (Vec::new(), false);
    while released.len() < leases || !closed {
        let asked = server.next();
        match &asked.request {
            Request::Release(request) => {
                released.extend(request.lease_ids.clone());
                let results = request.lease_ids.iter().map(|_| v1::ReleaseResult::default()).collect();
                server.answer(&asked, Response::Release(v1::ReleaseResponse { results }), &[]);
            }
            Request::CloseSubscription(_) => {
                closed = true;
                let closed = v1::CloseSubscriptionResponse {};
                server.answer(&asked, Response::CloseSubscription(closed), &[]);
            }
            other => panic!("{other:?}"),
        }
    }
    released.sort();
    released
}

#[tokio::test]
async fn entries_bring_their_bytes_and_the_reader_only_acknowledges() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |_, server| {
            let subscription = Subscription::open(&server, 1);
            let open = subscription.request.open.as_ref().unwrap();
            assert_eq!(open.in_flight_max as usize, AHEAD);
            let memory = segment("brought", b"0123456789");
            let refused = v1::AcquireResult {
                result: Some(v1::acquire_result::Result::Failure(failure(5, "PAYLOAD_DELETED"))),
            };
            let mapped = lease_at(2, "c", 2, 3, Some(0));
            subscription.entries(
                1,
                vec![granted(lease_of(1, b"inline")), granted(mapped), refused],
                &[fd(&memory)],
            );
            assert_eq!(subscription.next_acknowledged(), 3, "a half of what may be under way");
            subscription.entries(4, vec![granted(lease_at(4, "c", 5, 5, None))], &[]);
            assert_eq!(subscription.next_acknowledged(), 5);
            assert_eq!(given_up(&server, 3), [lease_id(1), lease_id(2), lease_id(4)]);
        })
        .await;
    let mut reader = reader(&client);
    let mut leases = Vec::new();
    for offset in 1..=4 {
        let (entry, lease) = reader.next().await.unwrap();
        assert_eq!(entry.offset, offset);
        leases.push(lease);
    }
    let bytes: Vec<_> = leases
        .iter()
        .map(|lease| lease.as_ref().map(|lease| lease.to_vec()))
        .collect();
    assert_eq!(bytes[0].as_ref().unwrap(), b"inline");
    assert_eq!(bytes[1].as_ref().unwrap(), b"234");
    assert_eq!(bytes[2].as_ref().unwrap_err().reason(), Reason::PayloadDeleted);
    assert_eq!(bytes[3].as_ref().unwrap(), b"56789");
    // Whoever asks for more is done with what there was.
    let mut more = Box::pin(reader.next());
    let early = std::future::poll_fn(|context| Poll::Ready(more.as_mut().poll(context).is_ready())).await;
    assert!(!early);
    drop(more);
    drop((leases, reader));
    script::finish(server).await;
}

#[tokio::test]
async fn a_lease_whose_descriptor_is_gone_here_is_asked_for_again() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |_, server| {
            let subscription = Subscription::open(&server, 1);
            subscription.entries(1, vec![granted(lease_at(1, "c", 0, 3, None))], &[]);
            let (mut released, mut forgotten) = (Vec::new(), Vec::new());
            let asked = loop {
                let asked = server.next();
                match &asked.request {
                    Request::Release(request) => {
                        released.extend(request.lease_ids.clone());
                        let results = vec![v1::ReleaseResult::default()];
                        server.answer(&asked, Response::Release(v1::ReleaseResponse { results }), &[]);
                    }
                    Request::Forget(request) => forgotten.extend(request.container_ids.clone()),
                    Request::Acquire(_) => break asked,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(forgotten, ["c"]);
            let memory = segment("again", b"0123456789");
            server.grant(&asked, lease_at(2, "c", 0, 3, Some(0)), &[fd(&memory)]);
            while released.len() < 2 {
                released.extend(server.next_release());
            }
            assert_eq!(released, [lease_id(1), lease_id(2)]);
        })
        .await;
    let mut reader = reader(&client);
    let (_, lease) = reader.next().await.unwrap();
    assert_eq!(&*lease.unwrap(), b"012");
    script::finish(server).await;
}

#[tokio::test]
async fn fault_40_a_reader_goes_on_over_the_next_connection_where_it_was_and_nowhere_else() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |listener, server| {
            let subscription = Subscription::open(&server, 1);
            let leases = [1, 2, 3].map(|n| granted(lease_of(n, b"first")));
            subscription.entries(1, leases.to_vec(), &[]);
            // It has read two of three, and then the server is gone.
            assert_eq!(subscription.next_acknowledged(), 3);
            drop(server);

            let server = Connection::greet(listener, 2);
            loop {
                let asked = server.next();
                match asked.request.clone() {
                    // Leases of the earlier server are no concern of this test.
                    Request::Reclaim(_) => server.refuse(&asked, 5, "SESSION_NOT_FOUND"),
                    Request::Release(_) | Request::CloseSubscription(_) => {
                        server.refuse(&asked, 5, "LEASE_NOT_FOUND");
                    }
                    Request::OpenSubscription(request) => break request,
                    other => panic!("{other:?}"),
                }
            }
        })
        .await;
    let mut reader = reader(&client);
    for offset in 1..=3 {
        let (entry, lease) = reader.next().await.unwrap();
        assert_eq!((entry.offset, &*lease.unwrap()), (offset, &b"first"[..]));
    }
    let going_on = tokio::spawn(async move { reader.next().await.map(|(entry, _)| entry) });
    let request = script::finish(server).await;
    let open = request.open.unwrap();
    assert_eq!(open.stream.unwrap().incarnation, incarnation());
    let start = open.start.unwrap().start.unwrap();
    assert_eq!(start, v1::read_start::Start::Offset(4));
    going_on.abort();
}

#[tokio::test]
async fn what_comes_for_a_reader_that_has_gone_is_given_back() {
    let stage = Stage::new();
    let (client, server) = stage
        .play(ClientOptions::default(), |_, server| {
            let subscription = Subscription::open(&server, 1);
            subscription.entries(
                1,
                vec![granted(lease_of(1, b"wanted")), granted(lease_of(2, b"too many"))],
                &[],
            );
            let mut released = Vec::new();
            while released.len() < 2 {
                let asked = server.next();
                match &asked.request {
                    Request::Release(request) => {
                        released.extend(request.lease_ids.clone());
                        let results = vec![v1::ReleaseResult::default(); request.lease_ids.len()];
                        server.answer(&asked, Response::Release(v1::ReleaseResponse { results }), &[]);
                    }
                    Request::CloseSubscription(_) => {
                        // It was on its way before the server heard of that.
                        let memory = segment("late", b"0123456789");
                        subscription.entries(3, vec![granted(lease_at(3, "c", 0, 3, Some(0)))], &[fd(&memory)]);
                        let closed = v1::CloseSubscriptionResponse {};
                        server.answer(&asked, Response::CloseSubscription(closed), &[]);
                    }
                    other => panic!("{other:?}"),
                }
            }
            released
        })
        .await;
    let mut reader = reader(&client);
    let (_, wanted) = reader.next().await.unwrap();
    drop(reader);
    assert_eq!(script::finish(server).await, [lease_id(2), lease_id(3)]);
    assert_eq!(&*wanted.unwrap(), b"wanted");
}
