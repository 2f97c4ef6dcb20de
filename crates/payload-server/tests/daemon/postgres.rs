//! The catalog in PostgreSQL: the same server, and what becomes of it when the database is not what it was.

use std::net::TcpListener;
use std::os::fd::AsFd;

use payload_proto::v1;
use payload_testkit::process::{Endpoint, Manager, Postgres, until};
use rustix::process::Signal;
use tonic::Code;

use crate::support::local::Local;
use crate::support::samples::{get, put};
use crate::support::{CONFIG, World, data_dir, directory, http, setup};

/// A manager that hands the server its HTTP socket, so that it can be asked before it says where it is.
#[test]
fn fault_58_a_server_whose_database_comes_late_is_alive_until_it_is_ready() {
    let mut server = Postgres::start();
    server.stop(Signal::INT);
    let dir = directory();
    let manager = Manager::start(dir.path().join("notify"), 64);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let config = format!("{CONFIG}[repository]\nurl = \"{}\"\n", server.url());
    let setup = manager.service(setup(&data_dir(&dir)).config(&config), &[("http", listener.as_fd())]);
    let daemon = setup.spawn();
    until("the server to say what it waits for", || {
        let answer = http::get(&address, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        (answer.contains("no connection to PostgreSQL database") && answer.contains("starting")).then_some(())
    });
    assert!(http::get(&address, "/healthz").starts_with("HTTP/1.1 200 "));
    until("the manager to hear of it", || {
        let said = manager.said().concat();
        assert!(!said.contains("READY"), "{said}");
        said.contains("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=waiting: no connection")
            .then_some(())
    });
    assert!(Endpoint::read(daemon.data_dir()).is_none());

    server.start_again();
    until("the server to be ready", || {
        http::get(&address, "/readyz")
            .starts_with("HTTP/1.1 200 ")
            .then_some(())
    });
    let endpoint = Endpoint::read(daemon.data_dir()).unwrap();
    assert_eq!(endpoint.pid, daemon.pid(), "it is the same process");
    Local::open(&endpoint.socket).put_id(b"late");
}

fn world(server: &Postgres) -> World {
    World::with(&format!("[repository]\nurl = \"{}\"\n", server.url()))
}

#[test]
fn payloads_are_kept_in_postgres_over_a_restart() {
    let server = Postgres::start();
    let world = world(&server);
    let request = v1::PutRequest {
        tier: v1::Tier::Disk.into(),
        ..put(b"kept")
    };
    let payload_id = world.session().put(request).unwrap().payload.unwrap().payload_id;
    assert!(!world.daemon.data_dir().join("catalog.db").exists());
    let world = world.kill_and_restart();
    let payload = world.grpc().get_payload(get(&payload_id)).unwrap().payload.unwrap();
    assert_eq!(payload.state(), v1::State::Active);
    assert_eq!(world.session().lease(&payload_id).read(), b"kept");
    assert!(!world.daemon.log().contains("postgres://"), "{}", world.daemon.log());
}

#[test]
fn fault_28_readiness_goes_with_the_database_and_comes_back() {
    let mut server = Postgres::start();
    let world = world(&server);
    let session = world.session();
    // A volatile one may go with the database: nobody waits for that to write it down.
    let before = v1::PutRequest {
        durability: v1::Durability::Host.into(),
        ..put(b"before")
    };
    let payload_id = session.put(before).unwrap().payload.unwrap().payload_id;
    let ready = || http::get(&world.daemon.endpoint().http, "/readyz");
    server.stop(Signal::QUIT);
    let refusal = session.put(put(b"x")).unwrap_err();
    assert_eq!(
        (refusal.code, &*refusal.reason),
        (Code::Unavailable, "REPOSITORY_UNAVAILABLE")
    );
    let unready = ready();
    assert!(
        unready.starts_with("HTTP/1.1 503 ") && unready.contains("repository"),
        "{unready}"
    );
    assert!(http::get(&world.daemon.endpoint().http, "/healthz").starts_with("HTTP/1.1 200 "));
    // What is leased already, and what the server knows, is there all the same.
    session.lease(&payload_id);
    server.start_again();
    until("the server to be ready", || {
        ready().starts_with("HTTP/1.1 200 ").then_some(())
    });
    session.put_id(b"after");
    world.grpc().get_payload(get(&payload_id)).unwrap();
}
