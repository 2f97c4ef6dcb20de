//! The catalog is busy or its disk is full: writes are refused, reads go on, readiness tells, and it passes.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use tonic::Code;

use crate::support::samples::{get, put};
use crate::support::{World, directory, http, is_root};

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
    if !is_root() {
        return;
    }
    let dir = directory();
    let Some(mount) = Mount::new(&dir.path().join("small")) else {
        return;
    };
    let catalog = mount.0.join("catalog.db");
    let world = World::with(&format!("[repository]\nurl = \"sqlite:{}\"\n", catalog.display()));
    let session = world.session();
    let payload_id = session.put_id(b"before");
    let ballast = mount.fill();

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

/// A small file system of its own.
struct Mount(PathBuf);

impl Mount {
    /// `None` where even root may not mount.
    fn new(path: &Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(path);
        command.status().unwrap().success().then(|| Self(path.to_owned()))
    }

    /// Writes a file that takes up all room.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the server that uses it may end after this.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
