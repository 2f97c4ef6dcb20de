//! The catalog is busy or its disk is full: writes are refused, reads go on, readiness tells, and it passes.

use rusqlite::Connection;
use tonic::Code;

use crate::support::mount::Mount;
use crate::support::samples::{get, put};
use crate::support::{World, directory, http};

fn readiness(world: &World) -> String {
    http::get(&world.daemon.endpoint().http, "/readyz")
}

#[test]
fn fault_33_a_busy_catalog_makes_writes_unavailable_and_is_forgotten_when_it_is_free() {
    let world = World::with("[repository]\nbusy_timeout = \"100ms\"\n");
    let session = world.session();
    let payload_id = session.put_id(b"before");
    let other = Connection::open(world.daemon.data_dir().join("catalog.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    // The journal takes some, until the tables are found to be out of reach.
    let refusal = (0..10_000).find_map(|_| session.put(put(b"x")).err()).unwrap();
    assert_eq!(
        (refusal.code, &*refusal.reason),
        (Code::Unavailable, "REPOSITORY_UNAVAILABLE")
    );
    let unready = readiness(&world);
    assert!(unready.starts_with("HTTP/1.1 503 "), "{unready}");
    assert!(
        unready.contains("repository") && unready.contains(&refusal.message),
        "{unready}"
    );
    // Reading goes on.
    session.lease(&payload_id);
    world.grpc().get_payload(get(&payload_id)).unwrap();

    other.execute_batch("ROLLBACK").unwrap();
    session.put_id(b"after");
    assert!(readiness(&world).starts_with("HTTP/1.1 200 "));
}

#[test]
fn fault_34_a_full_disk_under_the_catalog_refuses_writes_until_there_is_room() {
    let dir = directory();
    let Some(mount) = Mount::new(&dir.path().join("small"), 16) else {
        return;
    };
    let catalog = mount.path().join("catalog.db");
    let world = World::with(&format!("[repository]\nurl = \"sqlite:{}\"\n", catalog.display()));
    let session = world.session();
    let payload_id = session.put_id(b"before");
    let ballast = mount.fill_but(0);

    let refusal = (0..10_000).find_map(|_| session.put(put(b"x")).err()).unwrap();
    assert_eq!(
        (refusal.code, &*refusal.reason),
        (Code::Unavailable, "REPOSITORY_READ_ONLY")
    );
    assert!(readiness(&world).starts_with("HTTP/1.1 503 "));
    session.lease(&payload_id);
    world.grpc().get_payload(get(&payload_id)).unwrap();

    std::fs::remove_file(ballast).unwrap();
    session.put_id(b"after");
    assert!(readiness(&world).starts_with("HTTP/1.1 200 "));
}
