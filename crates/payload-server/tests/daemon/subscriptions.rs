//! Subscriptions: pushed by the append, bounded by acknowledgements, one member at a time for a group.

use payload_proto::v1;
use payload_proto::v1::stream_service_client::StreamServiceClient;
use payload_proto::v1::subscribe_request::Request;
use payload_proto::v1::subscribe_response::Response;
use payload_testkit::process::Postgres;
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::support::World;
use crate::support::grpc::Grpc;
use crate::support::refusal::{Answer, reason};
use crate::support::samples::{append, commit_offset, create_stream, from_offset, put, stream_ref};

/// A subscriber with a connection of its own.
struct Subscriber {
    grpc: Grpc,
    requests: mpsc::Sender<v1::SubscribeRequest>,
    responses: Streaming<v1::SubscribeResponse>,
}

impl Subscriber {
    fn open(world: &World, open: v1::SubscribeOpen) -> Answer<Self> {
        let grpc = world.grpc();
        let (requests, receiver) = mpsc::channel(16);
        let first = v1::SubscribeRequest {
            request: Some(Request::Open(open)),
        };
        requests.try_send(first).unwrap();
        let mut client = StreamServiceClient::new(grpc.channel.clone());
        let answer = grpc.runtime.block_on(client.subscribe(ReceiverStream::new(receiver)))?;
        Ok(Self {
            requests,
            responses: answer.into_inner(),
            grpc,
        })
    }

    fn hear(&mut self) -> Answer<Response> {
        let message = self.grpc.runtime.block_on(self.responses.message())?;
        Ok(message.expect("a subscription ends with a reason").response.unwrap())
    }

    /// What it begins with; heartbeats before that are fine.
    fn opened(&mut self) -> v1::SubscribeOpened {
        loop {
            match self.hear().unwrap() {
                Response::Opened(opened) => return opened,
                Response::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The offsets of the next entries, up to so many.
    fn offsets(&mut self, count: usize) -> Vec<u64> {
        let mut offsets = Vec::new();
        while offsets.len() < count {
            match self.hear().unwrap() {
                Response::Entries(batch) => offsets.extend(batch.entries.iter().map(|entry| entry.offset)),
                Response::Heartbeat(_) => {}
                Response::Opened(opened) => panic!("{opened:?}"),
            }
        }
        offsets
    }

    /// Until the server says something else than a heartbeat, which must be a refusal.
    fn end(&mut self) -> crate::support::refusal::Refusal {
        loop {
            match self.hear() {
                Ok(Response::Heartbeat(_)) => {}
                Ok(other) => panic!("{other:?}"),
                Err(refusal) => return refusal,
            }
        }
    }

    fn acknowledge(&self, offset: u64) {
        let ack = v1::SubscribeRequest {
            request: Some(Request::Ack(v1::SubscribeAck { offset })),
        };
        self.grpc.runtime.block_on(self.requests.send(ack)).unwrap();
    }
}

fn open(stream: &str) -> v1::SubscribeOpen {
    v1::SubscribeOpen {
        stream: stream_ref(stream),
        heartbeat_ms: 100,
        ..Default::default()
    }
}

fn of_group(group: &str) -> v1::SubscribeOpen {
    v1::SubscribeOpen {
        group: group.to_owned(),
        ..open("frames")
    }
}

/// A stream with so many entries in it, all of one payload.
fn stream_with(world: &World, entries: usize) -> (Grpc, String) {
    let grpc = world.grpc();
    grpc.create_stream(create_stream("frames")).unwrap();
    let id = grpc.put(put(b"x")).unwrap().payload.unwrap().payload_id;
    if entries > 0 {
        grpc.append(append("frames", &vec![&*id; entries])).unwrap();
    }
    (grpc, id)
}

#[test]
fn entries_are_pushed_as_they_come_from_wherever_one_wants() {
    let world = World::start();
    let (grpc, id) = stream_with(&world, 5);
    let mut all = Subscriber::open(&world, open("frames")).unwrap();
    let mut some = Subscriber::open(
        &world,
        v1::SubscribeOpen {
            start: from_offset(3),
            ..open("frames")
        },
    )
    .unwrap();
    let opened = all.opened();
    assert_eq!((opened.next_offset, opened.head_offset, opened.generation), (0, 5, 0));
    assert_eq!(some.opened().next_offset, 3);
    assert_eq!((all.offsets(5), some.offsets(2)), (vec![0, 1, 2, 3, 4], vec![3, 4]));
    for next in [5, 6] {
        grpc.append(append("frames", &[&*id])).unwrap();
        assert_eq!((all.offsets(1), some.offsets(1)), (vec![next], vec![next]));
    }
    let stream = stream_ref("frames");
    grpc.delete_stream(v1::DeleteStreamRequest { stream }).unwrap();
    assert_eq!(
        (&*all.end().reason, &*some.end().reason),
        ("STREAM_NOT_FOUND", "STREAM_NOT_FOUND")
    );
}

#[test]
fn no_more_is_under_way_than_was_asked_for() {
    let world = World::start();
    stream_with(&world, 10);
    let few = v1::SubscribeOpen {
        in_flight_max: 3,
        ..open("frames")
    };
    let mut subscriber = Subscriber::open(&world, few).unwrap();
    subscriber.opened();
    assert_eq!(subscriber.offsets(3), [0, 1, 2]);
    // Silence but for heartbeats, however often they come.
    for _ in 0..3 {
        assert!(matches!(subscriber.hear().unwrap(), Response::Heartbeat(_)));
    }
    subscriber.acknowledge(2);
    assert_eq!(subscriber.offsets(2), [3, 4]);
    subscriber.acknowledge(5);
    assert_eq!(subscriber.offsets(3), [5, 6, 7]);
    subscriber.acknowledge(9);
    assert_eq!(
        subscriber.end().reason,
        "BAD_REQUEST",
        "what was not sent cannot be acknowledged"
    );
}

#[test]
fn silence_of_a_client_that_has_nothing_to_read_is_not_counted() {
    let world = World::with("[streams]\nstall_timeout = \"2s\"\n");
    let (grpc, id) = stream_with(&world, 1);
    let few = v1::SubscribeOpen {
        in_flight_max: 4,
        ..open("frames")
    };
    let mut subscriber = Subscriber::open(&world, few).unwrap();
    subscriber.opened();
    // It acknowledges several together, so one waits for others.
    assert_eq!(subscriber.offsets(1), [0]);
    for _ in 0..25 {
        assert!(matches!(subscriber.hear().unwrap(), Response::Heartbeat(_)));
    }
    grpc.append(append("frames", &[&*id; 10])).unwrap();
    assert_eq!(subscriber.offsets(3), [1, 2, 3]);
    subscriber.acknowledge(4);
    assert_eq!(subscriber.offsets(4), [4, 5, 6, 7]);
}

#[test]
fn fault_42_a_slow_subscriber_is_cut_off_with_a_place_to_go_on_and_others_are_not() {
    let world = World::with("[streams]\nstall_timeout = \"2s\"\n");
    let (grpc, id) = stream_with(&world, 10);
    let few = v1::SubscribeOpen {
        in_flight_max: 4,
        ..open("frames")
    };
    let mut slow = Subscriber::open(&world, few).unwrap();
    let mut other = Subscriber::open(&world, open("frames")).unwrap();
    slow.opened();
    other.opened();
    assert_eq!(slow.offsets(4), [0, 1, 2, 3]);
    let refusal = slow.end();
    assert_eq!(
        (&*refusal.reason, &*refusal.message),
        (
            "SUBSCRIBER_SLOW",
            "nothing was acknowledged for too long; subscribe again from offset 0"
        )
    );
    assert_eq!(other.offsets(10).len(), 10);
    grpc.append(append("frames", &[&*id])).unwrap();
    assert_eq!(other.offsets(1), [10], "whoever has nothing more to get is not slow");
    let again = v1::SubscribeOpen {
        start: from_offset(0),
        ..open("frames")
    };
    let mut again = Subscriber::open(&world, again).unwrap();
    again.opened();
    assert_eq!(again.offsets(11)[0], 0);
}

#[test]
fn fault_41_a_group_has_one_member_and_the_next_shuts_it_out_when_it_takes_over() {
    let world = World::start();
    let (grpc, _) = stream_with(&world, 4);
    let mut first = Subscriber::open(&world, of_group("g")).unwrap();
    let opened = first.opened();
    assert_eq!((opened.next_offset, opened.generation), (0, 1));
    assert_eq!(first.offsets(4), [0, 1, 2, 3]);
    let commit = |offset, generation| v1::CommitOffsetRequest {
        generation: Some(generation),
        ..commit_offset("frames", "g", offset)
    };
    grpc.commit_offset(commit(2, 1)).unwrap();
    let mut second = Subscriber::open(&world, of_group("g")).unwrap();
    assert!(matches!(second.hear().unwrap(), Response::Heartbeat(_)), "it waits");
    drop(first);
    let opened = second.opened();
    assert_eq!((opened.next_offset, opened.generation), (2, 2));
    assert_eq!(second.offsets(2), [2, 3]);
    assert_eq!(reason(grpc.commit_offset(commit(4, 1))), "GROUP_FENCED");
    grpc.commit_offset(commit(3, 2)).unwrap();
    let reset = v1::ResetOffsetRequest {
        stream: stream_ref("frames"),
        group: "g".to_owned(),
        to: from_offset(0),
    };
    grpc.reset_offset(reset).unwrap();
    assert_eq!(second.end().reason, "GROUP_FENCED", "it must not undo the reset");
}

#[test]
fn what_another_server_appends_is_pushed_here() {
    let postgres = Postgres::start();
    let config = format!("[repository]\nurl = \"{}\"\npoll = \"1h\"\n", postgres.url());
    let (here, there) = (World::with(&config), World::with(&config));
    let (grpc, id) = stream_with(&here, 1);
    let mut subscriber = Subscriber::open(&there, open("frames")).unwrap();
    subscriber.opened();
    assert_eq!(subscriber.offsets(1), [0]);
    // Until the servers know of each other, nobody tells anybody.
    let pushed = loop {
        match subscriber.hear().unwrap() {
            Response::Heartbeat(_) => drop(grpc.append(append("frames", &[&*id])).unwrap()),
            Response::Entries(batch) => break batch,
            Response::Opened(opened) => panic!("{opened:?}"),
        }
    };
    assert_eq!(pushed.entries[0].offset, 1);
    grpc.delete_stream(v1::DeleteStreamRequest {
        stream: stream_ref("frames"),
    })
    .unwrap();
    let refusal = loop {
        if let Err(refusal) = subscriber.hear() {
            break refusal;
        }
    };
    assert_eq!(refusal.reason, "STREAM_NOT_FOUND");
}

#[test]
fn a_subscription_begins_with_a_good_message_or_not_at_all() {
    let world = World::start();
    stream_with(&world, 1);
    let refused = |open: v1::SubscribeOpen| Subscriber::open(&world, open).map(|_| ()).unwrap_err().reason;
    assert_eq!(refused(open("nowhere")), "STREAM_NOT_FOUND");
    assert_eq!(refused(v1::SubscribeOpen::default()), "BAD_REQUEST");
    let many = v1::SubscribeOpen {
        in_flight_max: 1_001,
        ..open("frames")
    };
    assert_eq!(refused(many), "BAD_SIZE");
    assert_eq!(refused(of_group("../g")), "BAD_NAME");
    let mut beyond = Subscriber::open(
        &world,
        v1::SubscribeOpen {
            start: from_offset(2),
            ..open("frames")
        },
    )
    .unwrap();
    assert_eq!(beyond.end().reason, "OFFSET_BEYOND_HEAD");
}

#[test]
fn a_server_that_stops_lets_its_subscribers_go() {
    let world = World::start();
    stream_with(&world, 0);
    let mut subscriber = Subscriber::open(&world, open("frames")).unwrap();
    subscriber.opened();
    world.daemon.signal(Signal::TERM);
    assert_eq!(subscriber.end().reason, "SHUTTING_DOWN");
}
