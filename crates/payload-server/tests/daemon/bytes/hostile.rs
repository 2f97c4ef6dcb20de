//! Fault 54: clients that mean harm, or behave as if they did. Each is sent away, memory stays bounded, others are served.

use std::io::{Read, Write};
use std::net::TcpStream;

use payload_proto::v1;
use payload_testkit::process::{descriptors, memory, memory_peak, until};

use super::client::Connection;
use super::{IMPATIENT, path};
use crate::support::{World, http};

impl World {
    fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.daemon.endpoint().bytes.strip_prefix("http://").unwrap()).unwrap()
    }

    fn metric(&self, line: &str) -> Option<f64> {
        let metrics = http::get(&self.daemon.endpoint().http, "/metrics");
        metrics
            .lines()
            .find_map(|found| found.strip_prefix(line)?.strip_prefix(' '))
            .map(|number| number.parse().unwrap())
    }

    /// Waits until the server has let go of so many connections.
    fn await_connections(&self, count: usize) {
        until("connections to end", || {
            (self.metric("payload_transfer_connections") == Some(count as f64)).then_some(())
        });
    }
}

#[test]
fn fault_54_malformed_requests_are_refused_and_others_served() {
    let world = World::start();
    let id = world.session().put_id(b"hello");
    let target = path(&id);
    let bad: [(Vec<u8>, u16); 12] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505),
        (b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), 400),
        (b"GET\x00/ HTTP/1.1\r\n\r\n".to_vec(), 400),
        (format!("GET {target} HTTP/1.1\r\n\r\n").into(), 400),
        (format!("GET {target} HTTP/3.0\r\nHost: localhost\r\n\r\n").into(), 505),
        (format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n").into(), 400),
        (format!("GET {target} HTTP/1.1\r\nHost : localhost\r\n\r\n").into(), 400),
        (format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n").into(), 400),
        (format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nA: b\0c\r\n\r\n").into(), 400),
        (format!("PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into(), 400),
        (format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(100)).into(), 431),
    ];
    for (bytes, status) in bad {
        let mut connection = world.bytes();
        connection.send(&bytes);
        let reply = connection.reply();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(reply.status, status, "{text:?}");
        assert_eq!(reply.header("Connection"), Some("close"), "{text:?}");
        assert_eq!(connection.head(), None, "{text:?}");
        assert_eq!(world.get_content(&id).body, b"hello");
    }
    assert_eq!(
        world.metric("payload_transfer_requests_total{method=\"other\",status=\"505\"}"),
        Some(2.0)
    );
    world.await_connections(0);
}

#[test]
fn fault_54_bad_chunks_are_refused() {
    let world = World::start();
    let (id, token) = world.allocated(100, v1::Tier::Ram);
    let bad: [&[u8]; 6] = [
        b"x\r\n",
        b"-1\r\nA\r\n",
        b"1\r\nABC\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"1 2\r\nA\r\n",
        b"\r\n\r\n",
    ];
    for chunks in bad {
        let mut connection = world.bytes();
        let headers = format!("Payload-Allocation: {token}\r\nTransfer-Encoding: chunked\r\n");
        connection.request("PUT", &path(&id), &headers);
        connection.send(chunks);
        let reply = connection.reply_to("PUT");
        assert_eq!(reply.status, 400, "{:?}", String::from_utf8_lossy(chunks));
        assert_eq!(connection.head(), None);
    }
    let mut connection = world.bytes();
    let headers = format!("Payload-Allocation: {token}\r\nTransfer-Encoding: chunked\r\n");
    connection.request("PUT", &path(&id), &headers);
    connection.send(format!("1;{}\r\n", "x".repeat(1 << 20)));
    assert_eq!(connection.reply_to("PUT").status, 400);
    assert_eq!(
        world.upload(&id, &token, "", &[1; 100]).status,
        204,
        "the allocation is still open"
    );
}

#[test]
fn fault_54_huge_heads_cost_no_memory() {
    let world = World::start();
    let id = world.session().put_id(b"hello");
    let before = memory(world.daemon.pid());
    for (head, status) in [("GET /", 414), ("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: ", 431)] {
        for _ in 0..20 {
            let mut connection = world.bytes();
            connection.send(head);
            connection.send(vec![b'a'; 2 << 20]);
            assert_eq!(connection.reply().status, status);
        }
    }
    assert_eq!(world.get_content(&id).body, b"hello");
    let grown = memory_peak(world.daemon.pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown}");
}

#[test]
fn fault_54_slow_heads_and_half_open_connections_are_cut_off_while_others_are_served() {
    let world = World::with(IMPATIENT);
    let id = world.session().put_id(b"hello");
    let silent: Vec<Connection> = (0..60).map(|_| world.bytes()).collect();
    let mut slow: Vec<Connection> = (0..60).map(|_| world.bytes()).collect();
    for connection in &mut slow {
        connection.send("GET / HTTP/1.1\r\nHost: loc");
    }
    let mut trickling = world.tcp();
    assert_eq!(world.get_content(&id).body, b"hello");
    // A byte now and then does not prolong it: the server ends this, or it would never end.
    trickling.set_nonblocking(true).unwrap();
    let mut answer = Vec::new();
    until("the trickling client to be cut off", || {
        let _ = trickling.write_all(b"A");
        trickling.read_to_end(&mut answer).is_ok().then_some(())
    });
    for mut connection in slow {
        assert_eq!(connection.reply().status, 408);
    }
    for mut connection in silent {
        assert_eq!(connection.head(), None, "who has asked nothing gets no answer");
    }
    assert_eq!(world.get_content(&id).body, b"hello");
    world.await_connections(0);
}

#[test]
fn fault_54_rapid_connects_leave_nothing_behind() {
    let world = World::start();
    let id = world.session().put_id(b"hello");
    assert_eq!(world.get_content(&id).body, b"hello");
    world.await_connections(0);
    let before = descriptors(world.daemon.pid());
    for round in 0..1_000 {
        let mut stream = world.tcp();
        if round % 2 == 0 {
            let _ = stream.write_all(b"GET / HT");
        }
    }
    assert_eq!(world.get_content(&id).body, b"hello");
    world.await_connections(0);
    until("their descriptors to be closed", || {
        (descriptors(world.daemon.pid()) <= before).then_some(())
    });
}

#[test]
fn fault_54_one_connection_too_many_is_told_to_come_back() {
    let world = World::with("[bytes]\nconnections_max = 2\n");
    let id = world.session().put_id(b"hello");
    let mut kept: Vec<Connection> = (0..2).map(|_| world.bytes()).collect();
    for connection in &mut kept {
        connection.request("GET", &path(&id), "");
        assert_eq!(connection.reply().status, 200);
    }
    let refused = world.get_content(&id);
    assert_eq!((refused.status, &*refused.reason()), (503, "OVERLOADED"));
    assert_eq!(refused.header("Retry-After"), Some("1"));
    assert_eq!(world.metric("payload_transfer_connections_refused_total"), Some(1.0));
    // Those that are in are served on.
    kept[0].request("GET", &path(&id), "");
    assert_eq!(kept[0].reply().body, b"hello");
    kept.pop();
    until("a place to be free", || {
        (world.get_content(&id).status == 200).then_some(())
    });
}

#[test]
fn what_happens_is_counted() {
    let world = World::with(IMPATIENT);
    let bytes = crate::support::samples::content(100_000, 1);
    let (id, token) = world.allocated(100_000, v1::Tier::Ram);
    world.upload(&id, &token, "", &bytes);
    world.grpc().commit(crate::support::samples::commit(&id)).unwrap();
    world.get_content(&id);
    world.fetch("GET", &path(&id), "Range: bytes=0-9\r\n");
    world.fetch("HEAD", &path(&id), "");
    world.await_connections(0);
    let count = |line: &str| world.metric(line);
    assert_eq!(
        count("payload_transfer_bytes_total{direction=\"received\"}"),
        Some(100_000.0)
    );
    assert_eq!(
        count("payload_transfer_bytes_total{direction=\"sent\"}"),
        Some(100_010.0)
    );
    for line in [
        "method=\"PUT\",status=\"204\"",
        "method=\"GET\",status=\"200\"",
        "method=\"GET\",status=\"206\"",
        "method=\"HEAD\",status=\"200\"",
    ] {
        assert_eq!(
            count(&format!("payload_transfer_requests_total{{{line}}}")),
            Some(1.0),
            "{line}"
        );
    }
    assert_eq!(count("payload_transfer_broken_total{cause=\"stalled\"}"), None);
    let mut stalled = world.bytes();
    stalled.request(
        "PUT",
        &path(&id),
        &format!("Payload-Allocation: {token}\r\nContent-Length: 9\r\n"),
    );
    assert_eq!(stalled.reply().status, 409);
}
