//! Processes that are killed, and machines that lose power, in the middle of it all.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, though not in a test module"
)]

mod common;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use payload_core::port::{Source, TierStore};
use payload_core::{Container, FileId, Location, Namespace};
use payload_testkit::tier::sample::{assert_bytes, bytes, put_whole};
use payload_testkit::tier::{PLENTY, fds};
use payload_tier::{DiskOptions, Temporaries};

use crate::common::{disk, disk_options};

const DIR: &str = "PAYLOAD_TIER_TEST_DIR";
const NAMED: &str = "PAYLOAD_TIER_TEST_NAMED";

fn options(named: bool) -> DiskOptions {
    DiskOptions {
        temporaries: if named {
            Temporaries::Named
        } else {
            Temporaries::Unnamed
        },
        ..disk_options(PLENTY)
    }
}

/// One acknowledged payload: where it is, and how its bytes can be made again.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    location: Location,
    charged: u64,
    seed: u64,
    size: usize,
}

impl Acknowledged {
    fn to_line(self) -> String {
        let (kind, id, offset) = match self.location {
            Location::File(id) => ("file", id, 0),
            Location::Pack { pack, offset } => ("pack", pack, offset),
            other => panic!("{other:?} is not on disk"),
        };
        format!(
            "ack {kind} {id} {offset} {} {} {}\n",
            self.charged, self.seed, self.size
        )
    }

    fn parse(line: &str) -> Option<Self> {
        // The test harness prints before the first line of ours, without ending its own.
        let (_, ours) = line.split_once("ack ")?;
        let words: Vec<&str> = ours.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let id: FileId = words[1].parse().unwrap();
        let location = match words[0] {
            "file" => Location::File(id),
            _ => Location::Pack {
                pack: id,
                offset: number(2),
            },
        };
        Some(Self {
            location,
            charged: number(3),
            seed: number(4),
            size: usize::try_from(number(5)).unwrap(),
        })
    }

    fn assert_there(&self, store: &dyn TierStore) {
        assert_bytes(store, &self.location, &bytes(self.seed, self.size));
    }
}

/// Stores one payload in one of the three ways.
fn store_one(store: &dyn TierStore, seed: u64) -> Acknowledged {
    let size = usize::try_from(seed % 7 * 9_000 + 1).unwrap();
    let small = bytes(seed, size);
    let (placed, size) = match seed % 3 {
        0 => (store.store(&Namespace::default(), &small).unwrap(), size),
        1 => (put_whole(store, &small), size),
        _ => {
            let big = bytes(seed, size + 1_100_000);
            let memory = fds::sealed(&big);
            let source = Source {
                fd: memory.as_fd(),
                offset: 0,
                size: big.len() as u64,
            };
            let (placed, _) = store.copy_in(&Namespace::default(), source).unwrap();
            (placed, big.len())
        }
    };
    Acknowledged {
        location: placed.location,
        charged: placed.charged,
        seed,
        size,
    }
}

/// Never returns: four threads store, and say so.
fn store_until_killed(dir: &Path) -> ! {
    let store = disk(dir, &options(std::env::var_os(NAMED).is_some()));
    thread::scope(|scope| {
        for first in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for seed in (first..).step_by(4) {
                    let line = store_one(store, seed).to_line();
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
    unreachable!("the threads have no end")
}

/// Kills the child when the test fails.
struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs the test of this name once more as a child, kills it when it has acknowledged `count`, and returns everything
/// that it acknowledged.
fn kill_after(test: &str, dir: &Path, named: bool, count: usize) -> Vec<Acknowledged> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped());
    if named {
        command.env(NAMED, "1");
    }
    let mut child = Kill(command.spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    while acknowledged.len() < count {
        let line = lines.next().expect("the child goes on until it is killed").unwrap();
        acknowledged.extend(Acknowledged::parse(&line));
    }
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    // What is still in the pipe was acknowledged too.
    acknowledged.extend(lines.filter_map(|line| Acknowledged::parse(&line.unwrap())));
    acknowledged
}

/// What a restarted server does: rows are what was acknowledged, everything else goes.
fn assert_recovers(dir: &Path, named: bool, rows: &[Acknowledged]) {
    let charged = rows.iter().map(|row| row.charged).sum();
    let store = disk(
        dir,
        &DiskOptions {
            charged,
            ..options(named)
        },
    );
    rows.iter().for_each(|row| row.assert_there(&store));
    let in_use: HashSet<Container> = rows.iter().map(|row| row.location.container()).collect();
    for container in store.sweepable().unwrap() {
        if !in_use.contains(&container) {
            store.drop_container(container).unwrap();
        }
    }
    let usage = store.usage();
    assert!(usage.used >= charged);
    assert_eq!(usage.containers, in_use.len() as u64);
    assert_eq!(
        sizes_in(dir).values().sum::<u64>(),
        usage.used,
        "no byte that nobody knows of"
    );
    rows.iter().for_each(|row| row.assert_there(&store));
    for row in rows {
        store.remove(&row.location, row.charged).unwrap();
    }
    for container in store.sweepable().unwrap() {
        store.drop_container(container).unwrap();
    }
    assert_eq!((store.usage().used, sizes_in(dir).len()), (0, 0));
}

/// Every file below, with what it takes up.
fn sizes_in(dir: &Path) -> BTreeMap<std::path::PathBuf, u64> {
    let mut sizes = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let (path, metadata) = {
            let entry = entry.unwrap();
            (entry.path(), entry.metadata().unwrap())
        };
        if metadata.is_dir() {
            sizes.append(&mut sizes_in(&path));
        } else {
            sizes.insert(path, metadata.len().next_multiple_of(4_096));
        }
    }
    sizes
}

#[test]
fn a_killed_server_leaves_what_it_acknowledged_and_nothing_hidden() {
    if let Some(dir) = std::env::var_os(DIR) {
        store_until_killed(Path::new(&dir));
    }
    for (named, count) in [(false, 40), (true, 40), (false, 7), (true, 7)] {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("disk");
        let test = "a_killed_server_leaves_what_it_acknowledged_and_nothing_hidden";
        let rows = kill_after(test, &store, named, count);
        assert!(rows.len() >= count);
        assert_recovers(&store, named, &rows);
    }
}

/// An ext4 file system in a file, which can lose its power.
struct Disk {
    image: tempfile::TempDir,
    mounted: tempfile::TempDir,
}

impl Disk {
    /// Nothing where this process may not mount, or the machine has no loop devices.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let disk = Self {
            image: tempfile::tempdir().unwrap(),
            mounted: tempfile::tempdir().unwrap(),
        };
        let path = disk.image.path().join("image");
        File::create(&path).unwrap().set_len(128 << 20).unwrap();
        let made = run(Command::new("mkfs.ext4").arg("-q").arg(&path));
        (made && disk.mount()).then_some(disk)
    }

    fn mount(&self) -> bool {
        let image = self.image.path().join("image");
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(image)
            .arg(self.mounted.path()))
    }

    /// From now on nothing reaches the device, not even the journal that is in memory.
    fn cut_power(&self) {
        let root = File::open(self.mounted.path()).unwrap();
        // FS_IOC_SHUTDOWN and FS_SHUTDOWN_FLAGS_NOLOGFLUSH, from the kernel's ext4.h: _IOR('X', 125, __u32) and 2.
        let (request, flag): (libc::Ioctl, u32) = (0x8004_587d, 2);
        // SAFETY: the descriptor is open, and the call reads one u32, which lives until it returns.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), request, &raw const flag) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// What the device has is all there is. Nobody may have a file open.
    fn restore_power(&self) {
        assert!(run(Command::new("umount").arg(self.mounted.path())));
        assert!(self.mount());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(self.mounted.path()));
    }
}

fn run(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn fault_09_a_power_cut_loses_nothing_that_was_acknowledged() {
    if let Some(dir) = std::env::var_os(DIR) {
        store_until_killed(Path::new(&dir));
    }
    let Some(power) = Disk::new() else {
        println!("no loop device here: a killed process stands in for a power cut");
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("disk");
        let test = "fault_09_a_power_cut_loses_nothing_that_was_acknowledged";
        let rows = kill_after(test, &store, false, 20);
        return assert_recovers(&store, false, &rows);
    };
    println!("the power of an ext4 file system is cut");
    for named in [false, true] {
        let dir = power.mounted.path().join(format!("disk-{named}"));
        let mut rows: Vec<Acknowledged> = Vec::new();
        for cut in 0..6 {
            let charged = rows.iter().map(|row| row.charged).sum();
            let store = disk(
                &dir,
                &DiskOptions {
                    charged,
                    ..options(named)
                },
            );
            rows.iter().for_each(|row| row.assert_there(&store));
            // Each cut follows another way to store, right after the acknowledgement.
            for step in 0..=cut {
                rows.push(store_one(&store, cut * 10 + step));
            }
            power.cut_power();
            drop(store);
            power.restore_power();
        }
        assert_recovers(&dir, named, &rows);
    }
}
