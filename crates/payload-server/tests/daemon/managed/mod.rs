//! The server under a service manager like systemd, played by the test: what it keeps, hands over and is told.

mod real;

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use payload_proto::v1;
use payload_testkit::process::{Daemon, Manager, Setup, until};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::grpc::Grpc;
use crate::support::local::Local;
use crate::support::samples::{allocate, content, delete, get};
use crate::support::{data_dir, directory, http, setup, used};

const CONFIG: &str = "[keeper]\nkind = \"systemd\"\n[leases]\ngrace = \"300ms\"\n[tiers.ram]\ncapacity = \"64MiB\"\n";

/// A directory, its manager, and how the server is started in it.
struct World {
    manager: Manager,
    setup: Setup,
    dir: TempDir,
}

impl World {
    fn new(store_max: usize) -> Self {
        let dir = directory();
        Self {
            manager: Manager::start(dir.path().join("notify"), store_max),
            setup: setup(&data_dir(&dir)).config(CONFIG),
            dir,
        }
    }

    /// The server with all that the manager keeps, and with no sockets.
    fn start(&self) -> Daemon {
        self.manager.service(self.setup.clone(), &[]).start()
    }

    /// Waits until something was said so often; all that was said until then.
    fn hear(&self, what: &str, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        until(what, || {
            heard.extend(self.manager.said());
            (heard.iter().filter(|said| said.starts_with(what)).count() >= count).then_some(())
        });
        heard
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn stats(daemon: &Daemon) -> v1::GetStatsResponse {
    let grpc = Grpc::tcp(&daemon.endpoint().grpc);
    grpc.get_stats(v1::GetStatsRequest {}).unwrap()
}

#[test]
fn fault_56_a_killed_server_gets_its_memory_back_from_systemd() {
    let world = World::new(64);
    let mut daemon = world.start();
    let (large, medium) = (content(3_000_000, 1), content(300_000, 2));
    let session = Local::open(&daemon.endpoint().socket);
    let payloads = [&large, &medium].map(|bytes| session.publish(bytes).payload_id);
    let small = session.put_id(b"in a slab");
    let keeper = stats(&daemon).keeper.unwrap();
    assert_eq!((&*keeper.kind, keeper.connected), ("systemd", true));
    // A stage, a slab and a segment.
    assert_eq!(world.manager.kept(), 3);
    drop(session);

    for _ in 0..2 {
        daemon.kill();
        daemon = world.start();
        let session = || Local::open(&daemon.endpoint().socket);
        for (payload, bytes) in payloads.iter().zip([&large, &medium]) {
            assert!(session().lease(payload).read() == *bytes);
        }
        assert_eq!(session().lease(&small).read(), b"in a slab");
    }

    // What is deleted is given up there as well.
    let grpc = Grpc::tcp(&daemon.endpoint().grpc);
    for payload in payloads.iter().chain([&small]) {
        grpc.delete_payload(delete(payload)).unwrap();
    }
    until("everything to be given up", || {
        (world.manager.kept() == 0 && used(&stats(&daemon), v1::Tier::Ram) == 0).then_some(())
    });
}

#[test]
fn a_graceful_stop_leaves_memory_with_systemd_or_drops_it() {
    let world = World::new(64);
    let daemon = world.start();
    let payload = Local::open(&daemon.endpoint().socket).put_id(b"kept");
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(world.manager.kept() > 0);

    let setup = world.setup.clone().argument("--drop-volatile");
    let daemon = world.manager.service(setup, &[]).start();
    let session = Local::open(&daemon.endpoint().socket);
    assert_eq!(session.lease(&payload).read(), b"kept");
    drop(session);
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(world.manager.kept(), 0);

    let daemon = world.start();
    let grpc = Grpc::tcp(&daemon.endpoint().grpc);
    let lost = grpc.get_payload(get(&payload)).unwrap().payload.unwrap();
    assert_eq!(lost.state(), v1::State::Lost);
}

#[test]
fn fault_26_more_segments_than_systemd_keeps_are_refused_with_what_to_do() {
    let world = World::new(3);
    let daemon = world.start();
    let session = Local::open(&daemon.endpoint().socket);
    let in_ram = |size| v1::AllocateRequest {
        tier: v1::Tier::Ram.into(),
        ..allocate(size)
    };
    // So few segments make every payload below 16 MiB a packed one.
    let held: Vec<_> = (0..3).map(|_| session.allocate(in_ram(17 << 20)).unwrap()).collect();
    let refusal = session.allocate(in_ram(1 << 20)).unwrap_err();
    assert_eq!(refusal.reason, "SEGMENTS_EXHAUSTED");
    assert!(refusal.message.contains("keeper.kind = \"built-in\""), "{refusal:?}");
    assert_eq!(world.manager.kept(), 3);

    let abort = crate::support::samples::abort(&held[0].0.payload_id);
    session.abort(abort).unwrap();
    drop(held);
    until("a place to be free", || session.allocate(in_ram(1 << 20)).ok());
}

#[test]
fn the_server_says_that_it_is_ready_when_it_is_and_that_it_stops() {
    let world = World::new(64);
    let daemon = world.start();
    let said = world.hear("READY=1", 1);
    assert_eq!(said, ["STATUS=recovering", "READY=1\nSTATUS=serving"]);
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(world.hear("STOPPING=1", 1), ["STOPPING=1\nSTATUS=draining"]);

    // One that cannot start is never ready.
    std::fs::write(data_dir(&world.dir).join("catalog.db"), "no database").unwrap();
    let mut daemon = world.manager.service(world.setup.clone(), &[]).spawn();
    assert!(!daemon.wait().success());
    let said = world.manager.said().concat();
    assert!(!said.contains("READY"), "{said}");
}

#[test]
fn the_watchdog_hears_nothing_while_the_catalog_does_not_answer() {
    let world = World::new(64);
    let setup = world.setup.clone().variable("WATCHDOG_USEC", 200_000);
    let setup = setup.variable("PAYLOADD_REPOSITORY_BUSY_TIMEOUT", "10ms");
    let daemon = world.manager.service(setup, &[]).start();
    world.hear("WATCHDOG=1", 3);

    let catalog = Connection::open(daemon.data_dir().join("catalog.db")).unwrap();
    catalog.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.hear("STATUS=not well", 1);
    let while_locked = world.hear("STATUS=not well", 3);
    assert!(
        !while_locked.iter().any(|said| said == "WATCHDOG=1"),
        "{while_locked:?}"
    );

    catalog.execute_batch("ROLLBACK").unwrap();
    world.hear("STATUS=serving", 1);
    world.hear("WATCHDOG=1", 3);
}

#[test]
fn sockets_that_are_handed_over_are_served_and_outlive_the_server() {
    let world = World::new(64);
    let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (grpc, http_listener, bytes) = (tcp(), tcp(), tcp());
    let local = payload_socket::Listener::bind(&world.path("local"), 0o600).unwrap();
    let grpc_socket = UnixListener::bind(world.path("grpc")).unwrap();
    let sockets = [
        ("grpc", grpc.as_fd()),
        ("http", http_listener.as_fd()),
        ("bytes", bytes.as_fd()),
        ("local", local.as_fd()),
        ("grpc-socket", grpc_socket.as_fd()),
    ];
    let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    let mut payload = None;
    for _ in 0..2 {
        // Who comes before the server waits for it.
        let early = Local::connect(&world.path("local"));
        let daemon = world.manager.service(world.setup.clone(), &sockets).start();
        early.hello().unwrap();
        let endpoint = daemon.endpoint();
        assert_eq!(
            [&endpoint.grpc, &endpoint.http, &endpoint.bytes],
            [&url(&grpc), &url(&http_listener), &url(&bytes)]
        );
        assert_eq!(
            [&endpoint.socket, &endpoint.grpc_socket],
            [&world.path("local"), &world.path("grpc")]
        );
        let payload_id = payload.get_or_insert_with(|| early.put_id(b"over a lent socket"));
        assert_eq!(early.lease(payload_id).read(), b"over a lent socket");
        stats(&daemon);
        Grpc::unix(&endpoint.grpc_socket).get_payload(get(payload_id)).unwrap();
        until("the server to say that it is ready", || {
            let answer = http::get(&endpoint.http, "/readyz");
            answer.starts_with("HTTP/1.1 200 ").then_some(())
        });
        let answer = http::get(&endpoint.bytes, "/v1/payloads/x/content");
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        drop(early);
        assert_eq!(daemon.stop().code(), Some(0));
        assert!(world.path("local").exists() && world.path("grpc").exists());
    }
}

#[test]
fn sockets_that_are_not_as_they_must_be_are_refused_by_name() {
    let world = World::new(64);
    let (loopback, everywhere) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("0.0.0.0:0"));
    let (loopback, everywhere) = (loopback.unwrap(), everywhere.unwrap());
    let unix = UnixListener::bind(world.path("unix")).unwrap();
    let cases = [
        (vec![("gprc", loopback.as_fd())], "\"gprc\""),
        (vec![("grpc", everywhere.as_fd())], "loopback"),
        (vec![("grpc", unix.as_fd())], "not of TCP"),
        (vec![("local", loopback.as_fd())], "ListenSequentialPacket="),
        (
            vec![("grpc", loopback.as_fd()), ("grpc", loopback.as_fd())],
            "two sockets",
        ),
    ];
    for (sockets, expected) in cases {
        let output = world.manager.service(world.setup.clone(), &sockets).run();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
    // The keeper in front has no use for them.
    let kept = setup(&data_dir(&world.dir)).kept();
    let output = world.manager.service(kept, &[("grpc", loopback.as_fd())]).run();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("built-in keeper"), "{said}");
}

#[test]
fn without_a_manager_or_its_store_the_server_does_not_start() {
    let dir = directory();
    let setup = setup(&data_dir(&dir)).config(CONFIG);
    let output = setup.run();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("NOTIFY_SOCKET"), "{said}");

    let manager = Manager::start(dir.path().join("notify"), 0);
    let output = manager.service(setup, &[]).run();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("FileDescriptorStoreMax="),
        "{said}"
    );
}
