//! The catalog in PostgreSQL: the same server, and what becomes of it when the database is not what it was.

use payload_proto::v1;
use payload_testkit::process::{Postgres, until};
use rustix::process::Signal;
use tonic::Code;

use crate::support::samples::{get, put};
use crate::support::{World, http};

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
    let payload_id = session.put_id(b"before");
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
