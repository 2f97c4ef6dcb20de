//! Messages that no honest client sends: the session ends or the call fails, and the server lives.

use std::os::fd::AsFd;

use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_testkit::process::{descriptors, until};
use prost::Message;

use crate::support::World;
use crate::support::local::Local;
use crate::support::samples::{acquire, allocate, put};

#[test]
fn a_message_that_cannot_be_understood_ends_the_session_and_gives_back_what_it_held() {
    let world = World::start();
    let session = world.session();
    session.lease(&session.put_id(b"x"));
    let (_, _fd) = session.allocate(allocate(10)).unwrap();
    assert_eq!(world.stats().leases, 1);
    session.send_raw(&[0xff; 100], &[]);
    session.await_end();
    world.await_stats("everything to be back", |stats| {
        (stats.sessions, stats.leases, stats.allocations) == (0, 0, 0)
    });
}

#[test]
fn a_first_message_that_is_no_greeting_is_refused_and_the_connection_closed() {
    let world = World::start();
    let garbage = Local::connect(world.socket());
    garbage.send_raw(&[0xff; 100], &[]);
    let other = Local::connect(world.socket());
    other.send(Request::Put(put(b"x")));
    let later = Local::connect(world.socket());
    assert_eq!(later.greet(0).unwrap_err().field, "protocol");
    for local in [garbage, other] {
        let answer = local.answer().message.response;
        assert!(format!("{answer:?}").contains("BAD_REQUEST"), "{answer:?}");
        local.await_end();
    }
    later.await_end();
    assert_eq!(world.stats().sessions, 0);
}

#[test]
fn who_connects_and_says_nothing_is_sent_away() {
    let world = World::start();
    Local::connect(world.socket()).await_end();
}

#[test]
fn a_message_above_the_limit_ends_the_session() {
    let world = World::start();
    let session = world.session();
    session.send_raw(&vec![0; (128 << 10) + 1], &[]);
    session.await_end();
    let before_greeting = Local::connect(world.socket());
    before_greeting.send_raw(&vec![0; (128 << 10) + 1], &[]);
    let answer = before_greeting.answer().message.response;
    assert!(format!("{answer:?}").contains("BAD_REQUEST"), "{answer:?}");
    before_greeting.await_end();
    world.session().put_id(b"the server lives");
}

#[test]
fn descriptors_that_a_client_sends_are_closed() {
    let world = World::start();
    let session = world.session();
    session.put_id(b"warm");
    let before = descriptors(world.daemon.pid());
    let file = std::fs::File::open("/dev/null").unwrap();
    let fds = [file.as_fd(); 64];
    for correlation_id in 1_000..1_010 {
        let message = v1::ClientMessage {
            correlation_id,
            request: Some(Request::Put(put(b"x"))),
        };
        session.send_raw(&message.encode_to_vec(), &fds);
        session.await_answer(correlation_id).unwrap();
    }
    until("the descriptors to be closed", || {
        (descriptors(world.daemon.pid()) <= before).then_some(())
    });
}

#[test]
fn damaged_messages_never_harm_the_server() {
    let world = World::start();
    let payload_id = world.session().put_id(b"x");
    let message = v1::ClientMessage {
        correlation_id: 5,
        request: Some(Request::Acquire(acquire(&[&payload_id, &payload_id]))),
    };
    let good = message.encode_to_vec();
    let mut session = world.session();
    for position in 0..good.len() {
        for value in [0, 0x7f, 0xff, good[position].wrapping_add(1)] {
            let mut bad = good.clone();
            bad[position] = value;
            // A session that has ended is followed by another one.
            if session.socket.send(&bad, &[]).is_err() || session.receive().is_none() {
                session = world.session();
            }
        }
    }
    world.session().put_id(b"the server lives");
    let log = world.daemon.log();
    assert!(!log.contains("panicked"), "{log}");
}
