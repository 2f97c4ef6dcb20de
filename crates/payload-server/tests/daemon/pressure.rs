//! Clients that ask and do not listen: bounded, cut off, and nobody else notices.

use std::io::ErrorKind;

use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_testkit::process::{descriptors, memory, memory_peak, until};
use prost::Message;

use crate::support::World;
use crate::support::local::Local;
use crate::support::samples::{acquire, content, put};

const IMPATIENT: &str = "[sessions]\nstall_timeout = \"300ms\"\n";

/// Sends messages and reads nothing until the server ends the session; calls `meanwhile` whenever the server does not
/// read on. Returns how many messages were sent.
fn flood(session: &Local, requests: &[Request], mut meanwhile: impl FnMut()) -> usize {
    let messages: Vec<Vec<u8>> = requests
        .iter()
        .map(|request| {
            let message = v1::ClientMessage {
                correlation_id: 1,
                request: Some(request.clone()),
            };
            message.encode_to_vec()
        })
        .collect();
    let mut sent = 0;
    for message in messages.iter().cycle() {
        loop {
            match session.socket.try_send(message, &[]) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => meanwhile(),
                Err(_) => return sent,
            }
        }
        sent += 1;
    }
    sent
}

#[test]
fn who_asks_for_contents_and_reads_nothing_is_cut_off() {
    let world = World::with(IMPATIENT);
    let (deaf, other) = (world.session(), world.session());
    let request = v1::AcquireRequest {
        inline_max: 64 << 10,
        ..acquire(&[&other.put_id(&content(64 << 10, 1))])
    };
    let before = memory(world.daemon.pid());
    let mut served = 0;
    let sent = flood(&deaf, &[Request::Acquire(request)], || {
        other.put_id(b"others are served");
        served += 1;
    });
    assert!(sent > 0 && served > 0, "{sent} {served}");
    let grown = memory_peak(world.daemon.pid()).saturating_sub(before);
    println!("{sent} requests sent, {served} of others served meanwhile, {grown} bytes more memory");
    assert!(grown < 48 << 20, "{grown}");
    world.await_stats("the session to end", |stats| (stats.sessions, stats.leases) == (1, 0));
}

#[test]
fn who_puts_and_reads_nothing_is_cut_off() {
    let world = World::with(IMPATIENT);
    let (deaf, other) = (world.session(), world.session());
    let before = memory(world.daemon.pid());
    let mut served = 0;
    let sent = flood(&deaf, &[Request::Put(put(b"x"))], || {
        other.put_id(b"others are served");
        served += 1;
    });
    let grown = memory_peak(world.daemon.pid()).saturating_sub(before);
    println!("{sent} requests sent, {served} of others served meanwhile, {grown} bytes more memory");
    assert!(grown < 48 << 20, "{grown}");
    world.await_stats("the session to end", |stats| stats.sessions == 1);
}

#[test]
fn descriptors_that_nobody_reads_are_bounded() {
    let world = World::with(IMPATIENT);
    let (deaf, other) = (world.session(), world.session());
    let payload = other.publish(&content(100_000, 1));
    // What the server opens once, for the first small payload and the first question for its numbers.
    other.put_id(b"warm");
    world.stats();
    let container = payload.replicas[0].location.as_ref().unwrap().container_id.clone();
    let requests = [
        Request::Acquire(acquire(&[&payload.payload_id])),
        Request::Forget(v1::ForgetRequest {
            container_ids: vec![container],
        }),
    ];
    let before = descriptors(world.daemon.pid());
    let mut most = 0;
    let sent = flood(&deaf, &requests, || {
        most = most.max(descriptors(world.daemon.pid()));
        other.put_id(b"others are served");
    });
    println!("{sent} requests sent, at most {most} descriptors, {before} before");
    // What is on its way belongs to the kernel; in the server's own table nothing piles up.
    assert!(most <= before + 64, "{most} {before}");
    world.await_stats("the session to end", |stats| (stats.sessions, stats.leases) == (1, 0));
    until("its descriptors to be closed", || {
        (descriptors(world.daemon.pid()) <= before).then_some(())
    });
}

#[test]
fn batches_of_descriptors_from_disk_that_nobody_reads_are_bounded() {
    let world = World::with(IMPATIENT);
    let (deaf, other) = (world.session(), world.session());
    let ids: Vec<String> = (0..64u8)
        .map(|seed| other.publish_on_disk(&content(100_000, seed)).payload_id)
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let before = descriptors(world.daemon.pid());
    let mut most = 0;
    let sent = flood(&deaf, &[Request::Acquire(acquire(&ids))], || {
        most = most.max(descriptors(world.daemon.pid()));
    });
    println!("{sent} requests sent, at most {most} descriptors, {before} before");
    assert!(most <= before + 512, "{most} {before}");
    world.await_stats("the session to end", |stats| (stats.sessions, stats.leases) == (1, 0));
}

#[test]
fn a_slow_reader_gets_every_answer_as_long_as_it_reads() {
    let world = World::start();
    let session = world.session();
    let payload_id = session.put_id(&content(64 << 10, 1));
    let request = v1::AcquireRequest {
        inline_max: 64 << 10,
        ..acquire(&[&payload_id])
    };
    // More than the socket holds, so that the server has to wait for the reader.
    let sent: Vec<u64> = (0..40)
        .map(|_| session.send(Request::Acquire(request.clone())))
        .collect();
    for correlation_id in sent {
        session.await_answer(correlation_id).unwrap();
    }
}
