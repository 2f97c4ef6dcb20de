//! What client processes do; see `support::child`.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use payload_proto::v1;
use rustix::fs::{FallocateFlags, fallocate};

use crate::support::child::{pause, role, say};
use crate::support::grpc::Grpc;
use crate::support::local::Local;
use crate::support::map::Map;
use crate::support::samples::{acquire, allocate, commit, content, fill, put};

/// Not a test of its own: where another test's client process starts.
#[test]
fn plays_its_role() {
    let Some((role, socket)) = role() else { return };
    match role.as_str() {
        "holder" => holder(&Local::open(&socket)),
        "sleeper" => reader(Local::open(&socket), Some(50), drop_never),
        "leaver" => reader(Local::open(&socket), None, drop),
        "tamperer" => tamperer(&Local::open(&socket)),
        "grpc" => remote_greeter(&socket),
        "greeter" => greeter(&Local::connect(&socket)),
        other => panic!("there is no role {other}"),
    }
}

/// Holds two leases and a half-written allocation, and never gives anything back.
fn holder(local: &Local) {
    let payload = local.publish(&content(100_000, 1));
    let small = local.put_id(b"small");
    let leases = [local.lease(&payload.payload_id), local.lease(&small)];
    let (allocation, fd) = local.allocate(allocate(100_000)).unwrap();
    let writing = Map::writable(fd.unwrap(), 100_000).unwrap();
    writing.write(&content(50_000, 2));
    say(&format!("{} {}", payload.payload_id, allocation.payload_id));
    pause();
    drop((leases, writing));
}

/// Maps a large and a small payload, and says later whether they have changed.
fn reader(local: Local, ttl_ms: Option<u64>, then: fn(Local)) {
    let contents = [content(500_000, 1), content(10_000, 2)];
    let ids = [local.publish(&contents[0]).payload_id, local.put_id(&contents[1])];
    let request = v1::AcquireRequest {
        ttl_ms,
        ..acquire(&[&ids[0], &ids[1]])
    };
    let leases = local.acquire(request).unwrap();
    let mapped: Vec<(Map, usize)> = leases
        .into_iter()
        .map(|held| {
            let held = held.unwrap();
            let location = held.lease.descriptor.unwrap().location.unwrap();
            let (start, end) = (location.offset as usize, (location.offset + location.length) as usize);
            (Map::readable(held.fd.unwrap(), end).unwrap(), start)
        })
        .collect();
    then(local);
    say(&ids.join(" "));
    pause();
    let unchanged = mapped
        .iter()
        .zip(&contents)
        .all(|((map, start), content)| map.copy()[*start..] == content[..]);
    say(if unchanged { "unchanged" } else { "CHANGED" });
    pause();
}

/// Keeps the session open until the process ends.
fn drop_never(local: Local) {
    std::mem::forget(local);
}

/// Tries to change what is committed: through the writer's own descriptor, and through a reader's.
fn tamperer(local: &Local) {
    let (allocation, fd) = local.allocate(allocate(3_000_000)).unwrap();
    let fd = fd.unwrap();
    fill(fd.try_clone().unwrap(), &content(3_000_000, 1));
    local.commit(commit(&allocation.payload_id)).unwrap();
    say(&allocation.payload_id);
    say(&tamper(&fd));
    let small = local.put_id(b"mine");
    say(&tamper(&local.lease(&small).fd.unwrap()));
    pause();
}

/// Every way to change a file.
fn tamper(fd: &OwnedFd) -> String {
    let file = File::from(fd.try_clone().unwrap());
    let reopened = File::options()
        .write(true)
        .open(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .and_then(|file| file.write_at(b"x", 0));
    let attempts = [
        ("write", file.write_at(b"x", 0).is_err()),
        ("truncate", file.set_len(1).is_err()),
        (
            "punch",
            fallocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 4_096).is_err(),
        ),
        ("grow", fallocate(fd, FallocateFlags::empty(), 0, 64 << 20).is_err()),
        ("map", Map::writable(fd, 1).is_err()),
        ("reopen", reopened.is_err()),
    ];
    let names: Vec<&str> = attempts.iter().map(|(name, _)| *name).collect();
    let done: Vec<&str> = attempts
        .iter()
        .filter(|(_, refused)| !refused)
        .map(|(name, _)| *name)
        .collect();
    match &done[..] {
        [] => format!("{}: all refused", names.join(" ")),
        done => format!("possible: {done:?}"),
    }
}

/// Says what became of its greeting.
fn greeter(local: &Local) {
    match local.hello() {
        Ok(_) => say(&format!("welcome {}", local.put_id(b"x"))),
        Err(refusal) => say(&format!("{:?} {}", refusal.code, refusal.reason)),
    }
    pause();
}

/// Says what became of a question over the gRPC socket, which is next to the local one.
fn remote_greeter(socket: &Path) {
    let answer = Grpc::try_unix(&socket.with_file_name("grpc.sock"))
        .map_err(|error| error.to_string())
        .and_then(|grpc| {
            let put = grpc.put(put(b"x"));
            put.map_err(|refusal| format!("{:?} {}", refusal.code, refusal.reason))
        });
    match answer {
        Ok(put) => say(&format!("welcome {}", put.payload.unwrap().owner)),
        Err(refusal) => say(&refusal),
    }
    pause();
}
