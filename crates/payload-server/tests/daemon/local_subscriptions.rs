//! Subscriptions over the local socket: entries come as notices, together with leases on their payloads.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{TryRecvError, channel};

use payload_core::limits::{MESSAGE_FDS_MAX, MESSAGE_SIZE_MAX, SESSION_SUBSCRIPTIONS_MAX};
use payload_proto::v1;
use payload_proto::v1::notice::Notice;
use payload_proto::v1::subscribe_response::Response;
use payload_proto::v1::subscription_notice::What;
use payload_testkit::process::until;
use rustix::process::Signal;

use crate::support::World;
use crate::support::grpc::Grpc;
use crate::support::local::{Held, Local, with_fds};
use crate::support::refusal::{Answer, Refusal, outcome, reason};
use crate::support::samples::{
    acquire, allocate, append, commit, commit_offset, content, create_stream, delete, from_offset, put, read, release,
    stream_ref,
};

/// The number of the subscription where there is only one.
const ONE: u64 = 7;

/// An entry, and what became of its lease.
type Item = (v1::Entry, Answer<Held>);

impl Local {
    /// What comes next of a subscription that is with leases.
    fn told(&self, subscription: u64) -> Answer<(Response, Vec<Answer<Held>>)> {
        let (Notice::Subscription(notice), fds) = self.notice_with_fds() else {
            panic!("another notice");
        };
        assert_eq!(notice.subscription, subscription);
        match notice.what.unwrap() {
            What::Response(response) => Ok((response.response.unwrap(), with_fds(notice.leases, fds))),
            What::Ended(failure) => Err(Refusal::from(failure)),
        }
    }

    /// What it begins with; heartbeats before that are fine.
    fn opened(&self, subscription: u64) -> v1::SubscribeOpened {
        loop {
            match self.told(subscription).unwrap().0 {
                Response::Opened(opened) => return opened,
                Response::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next entries, so many at least.
    fn items(&self, subscription: u64, count: usize) -> Vec<Item> {
        let mut items = Vec::new();
        while items.len() < count {
            match self.told(subscription).unwrap() {
                (Response::Entries(batch), leases) => {
                    assert_eq!(batch.entries.len(), leases.len());
                    items.extend(batch.entries.into_iter().zip(leases));
                }
                (Response::Heartbeat(_), _) => {}
                other => panic!("{other:?}"),
            }
        }
        items
    }

    /// The refusal that it ends with; heartbeats before that are fine.
    fn ended(&self, subscription: u64) -> Refusal {
        loop {
            match self.told(subscription) {
                Ok((Response::Heartbeat(_), _)) => {}
                Ok(other) => panic!("{other:?}"),
                Err(refusal) => return refusal,
            }
        }
    }

    fn subscribe(&self, request: v1::OpenSubscriptionRequest) -> v1::SubscribeOpened {
        let number = request.subscription;
        self.open_subscription(request).unwrap();
        self.opened(number)
    }
}

fn offsets(items: &[Item]) -> Vec<u64> {
    items.iter().map(|(entry, _)| entry.offset).collect()
}

fn of_stream() -> v1::SubscribeOpen {
    v1::SubscribeOpen {
        stream: stream_ref("frames"),
        heartbeat_ms: 100,
        ..Default::default()
    }
}

fn with_leases(open: v1::SubscribeOpen) -> v1::OpenSubscriptionRequest {
    v1::OpenSubscriptionRequest {
        subscription: ONE,
        open: Some(open),
        leases: Some(v1::EntryLeases { inline_max: 1_000 }),
    }
}

fn at_most(in_flight_max: u32) -> v1::OpenSubscriptionRequest {
    with_leases(v1::SubscribeOpen {
        in_flight_max,
        ..of_stream()
    })
}

fn of_group() -> v1::OpenSubscriptionRequest {
    with_leases(v1::SubscribeOpen {
        group: "g".to_owned(),
        ..of_stream()
    })
}

/// With these payloads in its stream.
fn world_with(payloads: &[&str], world: World) -> (World, Grpc) {
    let grpc = world.grpc();
    grpc.create_stream(create_stream("frames")).unwrap();
    if !payloads.is_empty() {
        grpc.append(append("frames", payloads)).unwrap();
    }
    (world, grpc)
}

/// With so many entries of one small payload in its stream.
fn world(entries: usize, config: &str) -> (World, Grpc, String) {
    let world = World::with(config);
    let id = world.grpc().put(put(b"x")).unwrap().payload.unwrap().payload_id;
    let (world, grpc) = world_with(&vec![&*id; entries], world);
    (world, grpc, id)
}

#[test]
fn an_entry_comes_with_its_bytes_and_nothing_more_has_to_be_asked() {
    let world = World::start();
    let producer = world.session();
    let small = producer.put_id(b"small");
    let [first, second] = [3, 4].map(|seed| producer.publish(&content(100_000, seed)).payload_id);
    let empty = producer.put_id(b"");
    let (world, grpc) = world_with(&[&small, &first, &second], world);
    let consumer = world.session();
    let opened = consumer.subscribe(with_leases(of_stream()));
    assert_eq!((opened.next_offset, opened.head_offset, opened.generation), (0, 3, 0));

    let mut items = consumer.items(ONE, 3);
    grpc.append(append("frames", &[&empty])).unwrap();
    items.extend(consumer.items(ONE, 1));
    assert_eq!(offsets(&items), [0, 1, 2, 3]);
    assert_eq!(world.stats().leases, 4);
    let held: Vec<Held> = items.into_iter().map(|(_, lease)| lease.unwrap()).collect();
    assert_eq!(held[0].lease.content.as_deref(), Some(&b"small"[..]));
    let slab = held[1].fd.as_ref().unwrap();
    assert_eq!(read(&held[1].lease, slab), content(100_000, 3));
    assert_eq!(read(&held[2].lease, slab), content(100_000, 4), "both are in one slab");
    assert_eq!(held[3].lease.content.as_deref(), Some(&b""[..]));

    // The descriptor is the session's now.
    let again = consumer.acquire(acquire(&[&first])).unwrap().remove(0).unwrap();
    assert!(again.fd.is_none());
    let ids: Vec<&str> = held.iter().map(|held| &*held.lease.lease_id).collect();
    for result in consumer.release(release(&ids)).unwrap().results {
        outcome(result.failure).unwrap();
    }
    assert_eq!(world.stats().leases, 1);
}

#[test]
fn entries_come_without_leases_unless_they_are_asked_for() {
    let (world, _, _) = world(300, "");
    let consumer = world.session();
    let bare = v1::OpenSubscriptionRequest {
        leases: None,
        ..at_most(1_000)
    };
    consumer.subscribe(bare);
    let mut seen = 0;
    while seen < 300 {
        if let (Response::Entries(batch), leases) = consumer.told(ONE).unwrap() {
            assert!(leases.is_empty());
            seen += batch.entries.len();
        }
    }
    assert_eq!(world.stats().leases, 0);
}

#[test]
fn leases_end_with_the_session_and_not_with_the_subscription() {
    let (world, grpc, id) = world(2, "");
    let consumer = world.session();
    consumer.subscribe(with_leases(of_stream()));
    consumer.items(ONE, 2);
    let close = v1::CloseSubscriptionRequest { subscription: ONE };
    consumer.close_subscription(close).unwrap();
    grpc.append(append("frames", &[&*id])).unwrap();
    // The number is free at once, and what comes under it is of the new one.
    let again = v1::SubscribeOpen {
        start: from_offset(2),
        ..of_stream()
    };
    assert_eq!(consumer.subscribe(with_leases(again)).next_offset, 2);
    assert_eq!(offsets(&consumer.items(ONE, 1)), [2]);
    assert_eq!(world.stats().leases, 3);
    consumer.close_subscription(close).unwrap();
    consumer.close_subscription(close).unwrap();
    consumer.acknowledge(ONE, 99);
    drop(consumer);
    world.await_stats("the leases to end", |stats| (stats.sessions, stats.leases) == (0, 0));
}

#[test]
fn nothing_comes_of_a_subscription_after_the_answer_that_it_is_closed() {
    let (world, grpc, id) = world(0, "");
    let (more, sent) = channel::<()>();
    std::thread::scope(|scope| {
        let session = world.session();
        scope.spawn(move || {
            while sent.try_recv() == Err(TryRecvError::Empty) {
                grpc.append(append("frames", &[&*id; 5])).unwrap();
            }
        });
        for number in 1..=50 {
            let request = v1::OpenSubscriptionRequest {
                subscription: number,
                ..at_most(64)
            };
            session.subscribe(request);
            session.items(number, 1);
            let close = v1::CloseSubscriptionRequest { subscription: number };
            session.close_subscription(close).unwrap();
            session.discard_notices();
            // Only what was told before the answer: the next message is another answer.
            session.put_id(b"x");
            assert_eq!(session.discard_notices(), 0);
        }
        drop(more);
    });
}

#[test]
fn no_more_is_leased_than_may_be_under_way() {
    let (world, _, _) = world(10, "");
    let consumer = world.session();
    consumer.subscribe(at_most(3));
    assert_eq!(offsets(&consumer.items(ONE, 3)), [0, 1, 2]);
    // Silence but for heartbeats, however often they come.
    for _ in 0..3 {
        assert!(matches!(consumer.told(ONE).unwrap().0, Response::Heartbeat(_)));
    }
    assert_eq!(world.stats().leases, 3);
    consumer.acknowledge(ONE, 2);
    // An earlier one takes nothing back.
    consumer.acknowledge(ONE, 1);
    assert_eq!(offsets(&consumer.items(ONE, 2)), [3, 4]);
    consumer.acknowledge(ONE, 5);
    assert_eq!(offsets(&consumer.items(ONE, 3)), [5, 6, 7]);
    consumer.acknowledge(ONE, 9);
    assert_eq!(
        consumer.ended(ONE).reason,
        "BAD_REQUEST",
        "what was not sent cannot be acknowledged"
    );
}

#[test]
fn fault_42_a_slow_local_subscriber_is_cut_off_with_a_place_to_go_on_and_its_session_goes_on() {
    let (world, _, _) = world(10, "[streams]\nstall_timeout = \"2s\"\n");
    let consumer = world.session();
    consumer.subscribe(at_most(4));
    assert_eq!(offsets(&consumer.items(ONE, 4)), [0, 1, 2, 3]);
    consumer.acknowledge(ONE, 1);
    assert_eq!(offsets(&consumer.items(ONE, 1)), [4]);
    // Nothing is acknowledged any more, and every other call is answered.
    let payload = consumer.publish(&content(100_000, 1));
    assert_eq!(consumer.lease(&payload.payload_id).read(), content(100_000, 1));
    let refusal = consumer.ended(ONE);
    assert_eq!(
        (&*refusal.reason, &*refusal.message),
        (
            "SUBSCRIBER_SLOW",
            "nothing was acknowledged for too long; subscribe again from offset 1"
        )
    );
    let again = v1::SubscribeOpen {
        start: from_offset(1),
        ..of_stream()
    };
    consumer.subscribe(with_leases(again));
    assert_eq!(offsets(&consumer.items(ONE, 9))[0], 1);
}

#[test]
fn a_client_that_reads_nothing_has_few_descriptors_under_way_and_gets_the_rest_when_it_reads() {
    const ENTRIES: usize = 150;
    let world = World::with("[sessions]\nstall_timeout = \"300ms\"\n");
    let producer = world.session();
    let ids: Vec<String> = (0..ENTRIES)
        .map(|number| producer.publish_on_disk(&content(100, number as u8)).payload_id)
        .collect();
    drop(producer);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let (world, _) = world_with(&ids, world);
    let consumer = world.session();
    let bare = v1::OpenSubscriptionRequest {
        leases: Some(v1::EntryLeases { inline_max: 0 }),
        ..at_most(1_000)
    };
    consumer.open_subscription(bare).unwrap();
    world.await_stats("as much to be sent as may be unread", |stats| {
        stats.leases >= MESSAGE_FDS_MAX as u64 - 15
    });
    // Somebody else has everything meanwhile.
    let other = world.session();
    other.subscribe(at_most(1_000));
    assert_eq!(other.items(ONE, ENTRIES).len(), ENTRIES);
    // Nothing waits in front of answers, so the session is not taken for one that does not read them.
    for _ in 0..10 {
        assert!(matches!(other.told(ONE), Ok((Response::Heartbeat(_), _))));
    }
    drop(other);
    world.await_stats("the other one's leases to end", |stats| stats.sessions == 1);
    let leases = world.stats().leases;
    assert!(leases <= MESSAGE_FDS_MAX as u64 + 16, "{leases}");

    consumer.opened(ONE);
    let items = consumer.items(ONE, ENTRIES);
    assert_eq!(offsets(&items), (0..ENTRIES as u64).collect::<Vec<_>>());
    for (number, (_, lease)) in items.into_iter().enumerate() {
        assert_eq!(lease.unwrap().read(), content(100, number as u8));
    }
}

#[test]
fn an_entry_whose_payload_is_gone_says_so_and_the_others_come_with_theirs() {
    let world = World::start();
    let producer = world.session();
    let ids = [1, 2, 3].map(|seed| producer.put_id(&content(10, seed)));
    let grpc = world.grpc();
    let holding_nothing = v1::CreateStreamRequest {
        hold: v1::Hold::Nothing.into(),
        ..create_stream("frames")
    };
    grpc.create_stream(holding_nothing).unwrap();
    grpc.append(append("frames", &[&*ids[0], &*ids[1], &*ids[2]])).unwrap();
    grpc.delete_payload(delete(&ids[1])).unwrap();
    let consumer = world.session();
    consumer.subscribe(with_leases(of_stream()));
    let mut items = consumer.items(ONE, 3);
    assert_eq!(offsets(&items), [0, 1, 2]);
    assert_eq!(items[1].0.state(), v1::State::Deleted);
    let leases: Vec<Answer<Held>> = items.drain(..).map(|(_, lease)| lease).collect();
    let reasons: Vec<_> = leases
        .into_iter()
        .map(|lease| lease.map_err(|refusal| refusal.reason))
        .collect();
    assert_eq!(reasons[1].as_ref().unwrap_err(), "PAYLOAD_DELETED");
    assert!(reasons[0].is_ok() && reasons[2].is_ok());
}

#[test]
fn who_may_have_no_more_leases_hears_that_with_each_entry() {
    let (world, _, _) = world(5, "[sessions]\nleases_per_principal_max = 2\n");
    let consumer = world.session();
    consumer.subscribe(with_leases(of_stream()));
    let leases = consumer.items(ONE, 5).into_iter().map(|(_, lease)| lease);
    let refused: Vec<String> = leases
        .filter_map(|lease| lease.err().map(|refusal| refusal.reason))
        .collect();
    assert_eq!(refused, ["TOO_MANY_LEASES"; 3]);
}

#[test]
fn a_message_is_never_too_large_and_contents_that_do_not_fit_come_through_descriptors() {
    let world = World::start();
    let producer = world.session();
    let tags: Vec<String> = (0..8).map(|tag| format!("{tag}").repeat(63)).collect();
    let ids: Vec<String> = (0..40)
        .map(|number| producer.put_id(&content(if number % 2 == 0 { 64 << 10 } else { 2_000 }, number)))
        .collect();
    let grpc = world.grpc();
    grpc.create_stream(create_stream("frames")).unwrap();
    let mut request = append("frames", &ids.iter().map(String::as_str).collect::<Vec<_>>());
    for entry in &mut request.entries {
        entry.tags.clone_from(&tags);
    }
    grpc.append(request).unwrap();
    let consumer = world.session();
    let inline = v1::OpenSubscriptionRequest {
        leases: Some(v1::EntryLeases { inline_max: 64 << 10 }),
        ..with_leases(of_stream())
    };
    consumer.open_subscription(inline).unwrap();
    let (mut seen, mut containers) = (0, HashMap::<String, OwnedFd>::new());
    while seen < 40 {
        let received = consumer.receive().unwrap();
        assert!(received.size <= MESSAGE_SIZE_MAX, "{}", received.size);
        let Some(v1::server_message::Response::Notice(notice)) = received.message.response else {
            panic!("not a notice");
        };
        let Some(Notice::Subscription(notice)) = notice.notice else {
            panic!("another notice");
        };
        for held in with_fds(notice.leases, received.fds) {
            let Held { lease, fd } = held.unwrap();
            let size = if seen % 2 == 0 { 64 << 10 } else { 2_000 };
            let expected = content(size, seen);
            seen += 1;
            if let Some(inline) = lease.content {
                assert_eq!(inline, expected);
                continue;
            }
            let location = lease.descriptor.as_ref().unwrap().location.as_ref().unwrap();
            if let Some(fd) = fd {
                containers.insert(location.container_id.clone(), fd);
            }
            assert_eq!(read(&lease, &containers[&location.container_id]), expected);
        }
    }
    assert!(!containers.is_empty());
}

#[test]
fn fault_41_a_group_goes_to_the_next_member_when_a_session_or_its_subscription_ends() {
    let (world, grpc, _) = world(4, "");
    let first = world.session();
    assert_eq!(first.subscribe(of_group()).generation, 1);
    assert_eq!(offsets(&first.items(ONE, 4)), [0, 1, 2, 3]);
    let commit = |offset, generation| v1::CommitOffsetRequest {
        generation: Some(generation),
        ..commit_offset("frames", "g", offset)
    };
    grpc.commit_offset(commit(2, 1)).unwrap();
    let second = world.session();
    second.open_subscription(of_group()).unwrap();
    assert!(
        matches!(second.told(ONE).unwrap().0, Response::Heartbeat(_)),
        "it waits"
    );
    drop(first);
    let opened = second.opened(ONE);
    assert_eq!((opened.next_offset, opened.generation), (2, 2));
    assert_eq!(offsets(&second.items(ONE, 2)), [2, 3]);
    assert_eq!(reason(grpc.commit_offset(commit(4, 1))), "GROUP_FENCED");

    // Closing is as good as dying.
    let third = world.session();
    third.open_subscription(of_group()).unwrap();
    let close = v1::CloseSubscriptionRequest { subscription: ONE };
    second.close_subscription(close).unwrap();
    assert_eq!(third.opened(ONE).generation, 3);
    let reset = v1::ResetOffsetRequest {
        stream: stream_ref("frames"),
        group: "g".to_owned(),
        to: from_offset(0),
    };
    assert_eq!(offsets(&third.items(ONE, 2)), [2, 3]);
    grpc.reset_offset(reset).unwrap();
    assert_eq!(third.ended(ONE).reason, "GROUP_FENCED");
}

#[test]
fn an_entry_of_a_payload_that_must_be_fetched_first_comes_with_its_lease_too() {
    let world = World::start();
    let producer = world.session();
    let id = producer.publish_on_disk(&content(10, 1)).payload_id;
    let (world, _) = world_with(&[&id], world);
    // After a restart nothing of it is in memory.
    drop(producer);
    let world = world.kill_and_restart();
    let consumer = world.session();
    consumer.subscribe(with_leases(of_stream()));
    let (_, lease) = consumer.items(ONE, 1).remove(0);
    assert_eq!(lease.unwrap().lease.content.unwrap(), content(10, 1));
}

#[test]
fn what_is_published_while_others_publish_comes_with_its_lease() {
    const EACH: usize = 100;
    let (world, _) = world_with(&[], World::start());
    let consumer = world.session();
    consumer.subscribe(at_most(1_000));
    std::thread::scope(|scope| {
        for producer in 0..3 {
            let session = world.session();
            scope.spawn(move || {
                for number in 0..EACH {
                    let (allocation, fd) = session.allocate(allocate(20_000)).unwrap();
                    drop(fd);
                    let request = v1::CommitRequest {
                        publish: Some(v1::Publish {
                            stream: "frames".to_owned(),
                            tags: vec![format!("{producer}.{number}")],
                            ..Default::default()
                        }),
                        ..commit(&allocation.payload_id)
                    };
                    session.commit(request).unwrap();
                }
            });
        }
        for (entry, lease) in consumer.items(ONE, 3 * EACH) {
            let lease = lease.unwrap().lease;
            assert_eq!(lease.descriptor.unwrap().payload_id, entry.payload_id);
        }
    });
}

#[test]
fn a_subscription_that_cannot_be_is_refused_and_the_session_goes_on() {
    let (world, _, _) = world(1, "");
    let session = world.session();
    let refused = |request| reason(session.open_subscription(request));
    let numbered = |subscription| v1::OpenSubscriptionRequest {
        subscription,
        ..with_leases(of_stream())
    };
    let elsewhere = v1::SubscribeOpen {
        stream: stream_ref("nowhere"),
        ..of_stream()
    };
    assert_eq!(refused(with_leases(elsewhere)), "STREAM_NOT_FOUND");
    assert_eq!(refused(v1::OpenSubscriptionRequest::default()), "BAD_REQUEST");
    assert_eq!(refused(numbered(0)), "BAD_REQUEST");
    assert_eq!(refused(at_most(1_001)), "BAD_SIZE");
    let large = v1::OpenSubscriptionRequest {
        leases: Some(v1::EntryLeases {
            inline_max: (64 << 10) + 1,
        }),
        ..with_leases(of_stream())
    };
    assert_eq!(refused(large), "BAD_SIZE");
    for number in 1..=SESSION_SUBSCRIPTIONS_MAX as u64 {
        session.open_subscription(numbered(number)).unwrap();
    }
    assert_eq!(refused(numbered(1)), "BAD_REQUEST", "it is open already");
    assert_eq!(refused(numbered(1_000)), "TOO_MANY_SUBSCRIPTIONS");
    session
        .close_subscription(v1::CloseSubscriptionRequest { subscription: 5 })
        .unwrap();
    session.open_subscription(numbered(1_000)).unwrap();
    session.put_id(b"the session goes on");

    let beyond = world.session();
    let open = v1::SubscribeOpen {
        start: from_offset(2),
        ..of_stream()
    };
    beyond.open_subscription(with_leases(open)).unwrap();
    assert_eq!(beyond.ended(ONE).reason, "OFFSET_BEYOND_HEAD");
}

#[test]
fn subscriptions_end_with_their_stream_and_with_their_server() {
    let (world, grpc, id) = world(0, "");
    let session = world.session();
    session.subscribe(with_leases(of_stream()));
    let stream = stream_ref("frames");
    grpc.delete_stream(v1::DeleteStreamRequest { stream }).unwrap();
    assert_eq!(session.ended(ONE).reason, "STREAM_NOT_FOUND");
    grpc.create_stream(create_stream("frames")).unwrap();
    session.subscribe(with_leases(of_stream()));
    grpc.append(append("frames", &[&*id])).unwrap();
    assert_eq!(offsets(&session.items(ONE, 1)), [0]);
    world.daemon.signal(Signal::TERM);
    assert_eq!(session.ended(ONE).reason, "SHUTTING_DOWN");
}

#[test]
fn subscriptions_of_sessions_that_died_leave_nothing_behind() {
    let (world, _, _) = world(100, "");
    for _ in 0..20 {
        let session = world.session();
        for number in 1..=8 {
            let request = v1::OpenSubscriptionRequest {
                subscription: number,
                ..with_leases(of_stream())
            };
            session.open_subscription(request).unwrap();
        }
    }
    world.await_stats("all to be given back", |stats| (stats.sessions, stats.leases) == (0, 0));
    // Whoever comes next has them all.
    let (session, mut seen) = (world.session(), 0);
    session.subscribe(with_leases(of_stream()));
    until("the entries", || {
        seen += session.items(ONE, 1).len();
        (seen == 100).then_some(())
    });
    assert_eq!(world.stats().leases, 100);
}
