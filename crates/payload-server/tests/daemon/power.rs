//! The power goes while payloads are moved and deleted: after each system call, and with each outcome of what was not synced.
//!
//! The server works under `strace`. From what that has written down, its data directory is made again as a disk may have it at
//! that moment, and another server has to start on it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use payload_proto::v1;
use payload_proto::v1::Tier::{Disk, Ram};
use payload_testkit::power::{Disk as Device, Image, Unsynced, steps, write};
use payload_testkit::process::{Daemon, until};

use crate::support::grpc::Grpc;
use crate::support::local::Local;
use crate::support::refusal::moved;
use crate::support::samples::{allocate, commit, content, delete, fill, get, put, to_tier};
use crate::support::{data_dir, directory, setup};

const CONFIG: &str = r#"
tiers.movers = 1
tiers.ram.capacity = "64MiB"
tiers.disk.capacity = "64MiB"
leases.grace = "100ms"
keeper.kind = "none"
"#;

/// What a host that lost its power owes to somebody who was told so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// Its bytes, if any: it was never promised to survive the host.
    NothingWrong,
    /// That it is there.
    Kept,
    /// That it is there or gone altogether.
    Going,
    /// That nobody can read it.
    Gone,
}

/// A payload, and what was promised from which line of the trace on.
struct Promised {
    id: String,
    bytes: Vec<u8>,
    since: Vec<(usize, Promise)>,
}

impl Promised {
    fn at(&self, line: usize) -> Promise {
        let made = self.since.iter().rev().find(|(since, _)| *since <= line);
        made.map_or(Promise::NothingWrong, |(_, promise)| *promise)
    }
}

/// A server whose system calls are written down.
struct Story {
    daemon: Daemon,
    session: Local,
    grpc: Grpc,
    log: std::path::PathBuf,
    payloads: Vec<Promised>,
}

impl Story {
    fn begin(data_dir: &Path) -> Self {
        let log = data_dir.with_extension("strace");
        let daemon = setup(data_dir).config(CONFIG).traced(&log).start();
        Self {
            session: Local::open(&daemon.endpoint().socket),
            grpc: Grpc::tcp(&daemon.endpoint().grpc),
            daemon,
            log,
            payloads: Vec::new(),
        }
    }

    /// How much of the trace there is.
    fn now(&self) -> usize {
        let trace = std::fs::read(&self.log).unwrap();
        trace.iter().filter(|byte| **byte == b'\n').count()
    }

    fn promise(&mut self, payload: usize, promise: Promise) {
        let now = self.now();
        self.payloads[payload].since.push((now, promise));
    }

    /// Publishes on disk alone. What a producer writes into a file the trace does not show, so it comes by way of memory.
    fn publish_on_disk(&mut self, size: usize) -> usize {
        let number = self.publish(size, Ram, v1::Durability::Host);
        self.spill(&[number]);
        number
    }

    /// Publishes, and returns the payload's number.
    fn publish(&mut self, size: usize, tier: v1::Tier, durability: v1::Durability) -> usize {
        let bytes = content(size, self.payloads.len() as u8);
        let payload = if size <= 64 << 10 {
            let request = v1::PutRequest {
                tier: tier.into(),
                durability: durability.into(),
                ..put(&bytes)
            };
            self.session.put(request).unwrap().payload
        } else {
            let request = v1::AllocateRequest {
                tier: tier.into(),
                durability: durability.into(),
                ..allocate(size as u64)
            };
            let (allocation, fd) = self.session.allocate(request).unwrap();
            fill(fd.unwrap(), &bytes);
            self.session.commit(commit(&allocation.payload_id)).unwrap().payload
        };
        self.payloads.push(Promised {
            id: payload.unwrap().payload_id,
            bytes,
            since: Vec::new(),
        });
        let number = self.payloads.len() - 1;
        if durability == v1::Durability::Host {
            self.promise(number, Promise::Kept);
        }
        number
    }

    fn spill(&self, payloads: &[usize]) {
        let request = v1::MoveRequest {
            payload_ids: payloads.iter().map(|one| self.payloads[*one].id.clone()).collect(),
            to: Disk.into(),
            ..Default::default()
        };
        let results = self.grpc.spill(request).unwrap().results;
        assert!(
            results
                .iter()
                .all(|one| matches!(one.result, Some(v1::move_result::Result::Payload(_))))
        );
    }

    fn promote(&self, payload: usize) {
        moved(self.grpc.promote(to_tier(&self.payloads[payload].id, Ram)).unwrap()).unwrap();
    }

    fn delete(&mut self, payload: usize) {
        self.promise(payload, Promise::Going);
        self.grpc.delete_payload(delete(&self.payloads[payload].id)).unwrap();
        self.promise(payload, Promise::Gone);
    }

    /// The steps from the beginning, and what was promised.
    fn end(mut self) -> (String, Vec<Promised>) {
        self.daemon.signal(rustix::process::Signal::KILL);
        self.daemon.wait();
        (std::fs::read_to_string(&self.log).unwrap(), self.payloads)
    }
}

/// Starts a server on what a disk has, and sees whether all promises are kept at a line of the trace.
fn check(image: &Image, identity: &Path, payloads: &[Promised], line: usize) {
    let dir = directory();
    let data = data_dir(&dir);
    write(image, &data);
    for file in ["node.json", "node.key"] {
        std::fs::copy(identity.join(file), data.join(file)).unwrap();
    }
    let daemon = setup(&data).config(CONFIG).start();
    let (socket, grpc) = (&daemon.endpoint().socket, Grpc::tcp(&daemon.endpoint().grpc));
    for one in payloads {
        let state = grpc
            .get_payload(get(&one.id))
            .map(|answer| answer.payload.unwrap().state());
        let is_active = state == Ok(v1::State::Active);
        let request = crate::support::samples::acquire(&[&one.id]);
        let read = Local::open(socket).acquire(request).unwrap().remove(0);
        let read = read.map(|held| held.read());
        let (promise, id) = (one.at(line), &one.id);
        match promise {
            Promise::Kept => assert!(is_active, "{id} was promised, and is {state:?} at line {line}"),
            Promise::Gone => assert!(!is_active, "{id} was deleted, and is {state:?} at line {line}"),
            Promise::NothingWrong | Promise::Going => {}
        }
        match read {
            Ok(bytes) => assert!(bytes == one.bytes && promise != Promise::Gone, "{id} at line {line}"),
            Err(refusal) => assert!(
                !is_active || promise == Promise::NothingWrong,
                "{id} is active and not readable at line {line}: {refusal:?}"
            ),
        }
    }
    until("as many files as rows name", || {
        let named = payloads.iter().filter(|one| {
            let row = grpc.get_payload(get(&one.id)).ok().and_then(|answer| answer.payload);
            let replicas = row.into_iter().flat_map(|row| row.replicas);
            let mut files = replicas.filter(|one| one.tier() == Disk && !one.location.as_ref().unwrap().shared);
            files.next().is_some()
        });
        (named.count() == files(&data.join("disk/files"))).then_some(())
    });
}

/// How many files are below a directory.
fn files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// Whether it is worth cutting the power after a step. What happens to the tables behind the journal is there in each image,
/// and at each of its own steps the catalog's tests have cut it.
fn matters(path: &Path, data_dir: &Path) -> bool {
    let tables = ["catalog.db", "catalog.db-wal", "catalog.db-shm"];
    !tables.iter().any(|name| path == data_dir.join(name))
}

/// Cuts the power after each step from a line on, and returns how many different disks that came to.
fn cut_everywhere(data_dir: &Path, from: usize, trace: &str, payloads: &[Promised]) -> usize {
    let mut device = Device::new(data_dir);
    let mut seen = HashSet::new();
    for (line, step) in steps(trace) {
        if !device.take(&step) || line < from || !matters(step.path(), data_dir) {
            continue;
        }
        for unsynced in Unsynced::ALL {
            let image = device.image(unsynced);
            let promised: Vec<_> = payloads.iter().map(|one| one.at(line) as u8).collect();
            let mut hasher = DefaultHasher::new();
            (&image, promised).hash(&mut hasher);
            if seen.insert(hasher.finish()) {
                check(&image, data_dir, payloads, line);
            }
        }
    }
    seen.len()
}

fn story(name: &str, tell: impl FnOnce(&mut Story) -> usize) {
    let dir = directory();
    let data = data_dir(&dir);
    let mut story = Story::begin(&data);
    let from = tell(&mut story);
    let (trace, payloads) = story.end();
    let disks = cut_everywhere(&data, from, &trace, &payloads);
    println!("{name}: {disks} disks");
    assert!(disks >= 5, "{disks}");
}

#[test]
fn fault_09_a_power_cut_at_any_call_of_a_spill_loses_nothing_that_was_promised() {
    story("spill", |story| {
        let written_through = story.publish(200_000, Ram, v1::Durability::Host);
        let large = story.publish(1_100_000, Ram, v1::Durability::Volatile);
        let small = [1_000, 2_000, 3_000].map(|size| story.publish(size, Ram, v1::Durability::Volatile));
        let from = story.now();
        story.spill(&[written_through]);
        story.spill(&[large]);
        story.spill(&small);
        from
    });
}

#[test]
fn fault_09_a_power_cut_at_any_call_of_a_promotion_loses_nothing_that_was_promised() {
    story("promotion", |story| {
        let large = story.publish_on_disk(200_000);
        let small = story.publish(1_000, Disk, v1::Durability::Host);
        let from = story.now();
        story.promote(large);
        story.promote(small);
        story.spill(&[large, small]);
        from
    });
}

#[test]
fn fault_09_a_power_cut_at_any_call_of_a_deletion_keeps_the_payload_whole_or_gone() {
    story("deletion", |story| {
        let on_disk = story.publish_on_disk(200_000);
        let written_through = story.publish(200_000, Ram, v1::Durability::Host);
        let small = story.publish(1_000, Disk, v1::Durability::Host);
        let from = story.now();
        story.delete(on_disk);
        story.delete(written_through);
        story.delete(small);
        from
    });
}

/// What is small waits for the catalog's journal alone, with its bytes in it.
#[test]
fn fault_09_a_power_cut_at_any_call_of_small_puts_loses_none_that_was_answered() {
    story("puts", |story| {
        story.publish(10, Ram, v1::Durability::Volatile);
        let from = story.now();
        for size in [700, 4_096, 16 << 10, 17 << 10] {
            story.publish(size, Ram, v1::Durability::Host);
        }
        story.publish(1_000, Disk, v1::Durability::Host);
        from
    });
}
