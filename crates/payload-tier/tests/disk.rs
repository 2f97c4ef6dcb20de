//! What the contract does not say and the disk tier promises: restarts, planted files, full file systems.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, though not in a test module"
)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use payload_core::port::TierStore;
use payload_core::{Location, Namespace, Reason};
use payload_testkit::tier::sample::{assert_bytes, bytes, put_whole, reserve, seal, sweep};
use payload_testkit::tier::{PLENTY, fds};
use payload_tier::{DiskOptions, Temporaries, WriterCheck};

use crate::common::{disk, disk_options};

/// Everything under a directory that is not a directory.
fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .flat_map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                files_in(&entry.path())
            } else {
                vec![entry.path()]
            }
        })
        .collect()
}

/// The file that a location is in.
fn path_of(dir: &Path, location: &Location) -> PathBuf {
    let id = match location {
        Location::File(id) | Location::Pack { pack: id, .. } => id.to_string(),
        other => panic!("{other:?} is not on disk"),
    };
    let found = files_in(dir).into_iter().find(|path| path.ends_with(&id));
    found.unwrap()
}

#[test]
fn a_restarted_server_finds_files_and_packs_and_no_temporaries() {
    for temporaries in [Temporaries::Unnamed, Temporaries::Named] {
        let dir = tempfile::tempdir().unwrap();
        let options = DiskOptions {
            temporaries,
            ..disk_options(PLENTY)
        };
        let store = disk(dir.path(), &options);
        let (big, small) = (bytes(1, 300_000), bytes(2, 5_000));
        let whole = put_whole(&store, &big);
        let shared = store.store(&Namespace::default(), &small).unwrap();
        let reserved = reserve(&store, 10_000);
        drop(store);

        let options = DiskOptions {
            charged: whole.charged + shared.charged,
            ..options
        };
        let store = disk(dir.path(), &options);
        assert_bytes(&store, &whole.location, &big);
        assert_bytes(&store, &shared.location, &small);
        let error = store.writer(&reserved.placed.location).unwrap_err();
        assert_eq!(error.reason(), Reason::BytesMissing);
        assert_eq!(files_in(dir.path()).len(), 2);

        let new = store.store(&Namespace::default(), b"new").unwrap();
        assert_ne!(new.location.container(), shared.location.container());
    }
}

#[test]
fn the_first_sweep_makes_the_count_exact() {
    let dir = tempfile::tempdir().unwrap();
    let store = disk(dir.path(), &disk_options(PLENTY));
    let known = put_whole(&store, &bytes(1, 300_000));
    let lost = put_whole(&store, &bytes(2, 200_000));
    let small = store.store(&Namespace::default(), &bytes(3, 50_000)).unwrap();
    drop(store);

    let options = DiskOptions {
        charged: known.charged + small.charged,
        ..disk_options(PLENTY)
    };
    let store = disk(dir.path(), &options);
    let late = put_whole(&store, &bytes(4, 100_000));
    let mut named = store.sweepable().unwrap();
    assert!(!named.contains(&late.location.container()));
    let on_disk: u64 = files_in(dir.path())
        .iter()
        .map(|path| path.metadata().unwrap().len().next_multiple_of(4_096))
        .sum();
    let usage = store.usage();
    assert_eq!((usage.used, usage.containers), (on_disk, 4));

    named.retain(|container| ![known.location.container(), small.location.container()].contains(container));
    assert_eq!(named, [lost.location.container()]);
    store.drop_container(named[0]).unwrap();
    assert_eq!(store.usage().used, on_disk - lost.charged);
    for placed in [known, small, late] {
        store.remove(&placed.location, placed.charged).unwrap();
    }
    sweep(&store);
    let usage = store.usage();
    assert_eq!((usage.used, usage.containers), (0, 0));
    assert_eq!(files_in(dir.path()), [] as [PathBuf; 0]);
}

#[test]
fn others_cannot_look_in_and_nobody_can_write() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("disk");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let store = disk(&dir, &disk_options(PLENTY));
    put_whole(&store, b"whole");
    store.store(&Namespace::default(), b"small").unwrap();
    store.store(&Namespace::default(), &bytes(1, 100_000)).unwrap();
    assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o700);
    for path in files_in(&dir) {
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o400, "{path:?}");
    }
}

#[test]
fn a_full_pack_gives_back_what_nobody_got() {
    let dir = tempfile::tempdir().unwrap();
    let store = disk(dir.path(), &disk_options(PLENTY));
    let bytes = bytes(1, 40_000);
    let all: Vec<_> = (0..60)
        .map(|_| store.store(&Namespace::default(), &bytes).unwrap())
        .collect();
    let charged: u64 = all.iter().map(|placed| placed.charged).sum();
    let lengths: Vec<u64> = files_in(dir.path())
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .collect();
    assert_eq!(lengths.len(), 3);
    assert_eq!(store.usage().used, lengths.iter().sum::<u64>());
    assert!(lengths.iter().all(|len| *len <= 1 << 20));
    assert!(
        store.usage().used - charged <= (256 << 10) + 3 * 4_096,
        "zeros are ahead of one pack alone"
    );
}

#[test]
fn where_there_are_no_leases_the_seal_takes_a_copy() {
    for temporaries in [Temporaries::Unnamed, Temporaries::Named] {
        let dir = tempfile::tempdir().unwrap();
        let options = DiskOptions {
            temporaries,
            writer_check: WriterCheck::Copy,
            ..disk_options(PLENTY)
        };
        let store = disk(dir.path(), &options);
        let expected = bytes(1, 3_000_000);
        let reserved = reserve(&store, 4_000_000);
        let mapping = fds::Mapping::writable(&reserved.writer, 4_000_000).unwrap();
        mapping.fill(&expected);
        let charged = seal(&store, &reserved.placed.location, 3_000_000).unwrap();
        mapping.fill(b"too late");
        fds::write(&reserved.writer, 100, b"too late");
        assert_bytes(&store, &reserved.placed.location, &expected);
        assert_eq!((store.usage().used, files_in(dir.path()).len()), (charged, 1));
    }
}

#[test]
fn fault_10_a_file_that_changed_its_length_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let store = disk(dir.path(), &disk_options(PLENTY));
    let whole = put_whole(&store, &bytes(1, 300_000));
    let small = store.store(&Namespace::default(), &bytes(2, 5_000)).unwrap();
    for (placed, size) in [(&whole, 300_000), (&small, 5_000)] {
        let path = path_of(dir.path(), &placed.location);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(4_000)
            .unwrap();
        let mut out = Vec::new();
        let errors = [
            store.check(&placed.location, size).unwrap_err(),
            store.read(&placed.location, size, &mut out).unwrap_err(),
            store.digest(&placed.location, size).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.reason(), Reason::BytesMissing);
        }
        assert!(out.is_empty());
    }
}

/// Puts something else in the place of a file.
type Plant = fn(&Path, &Path);

#[test]
fn fault_52_planted_files_are_refused() {
    let plants: [(&str, Plant); 5] = [
        ("symlink", |path, aside| {
            std::os::unix::fs::symlink(aside, path).unwrap();
        }),
        ("hard link", |path, aside| fs::hard_link(aside, path).unwrap()),
        ("fifo", |path, _| {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RWXU,
                0,
            )
            .unwrap();
        }),
        ("socket", |path, _| {
            drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        }),
        ("directory", |path, _| fs::create_dir(path).unwrap()),
    ];
    for (what, plant) in plants {
        let dir = tempfile::tempdir().unwrap();
        // The path of a socket must be short.
        let store = disk(dir.path(), &disk_options(PLENTY));
        let whole = put_whole(&store, &bytes(1, 5_000));
        let small = store.store(&Namespace::default(), &bytes(2, 5_000)).unwrap();
        for placed in [&whole, &small] {
            let path = path_of(dir.path(), &placed.location);
            let aside = dir.path().join("aside");
            fs::rename(&path, &aside).unwrap();
            plant(&path, &aside);
            assert_refused(&store, &placed.location, what);
            drop(fs::remove_file(&aside));
        }
    }
}

#[test]
fn fault_52_a_planted_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let store = disk(dir.path(), &disk_options(PLENTY));
    let whole = put_whole(&store, &bytes(1, 5_000));
    for name in ["files", "packs", "tmp"] {
        let aside = elsewhere.path().join(name);
        fs::rename(dir.path().join(name), &aside).unwrap();
        std::os::unix::fs::symlink(&aside, dir.path().join(name)).unwrap();
    }
    assert_refused(&store, &whole.location, "symlink on the way");
    assert_eq!(
        store.remove(&whole.location, whole.charged).unwrap_err().reason(),
        Reason::BytesCorrupt
    );
    assert!(store.reserve(&Namespace::default(), 5_000, None).is_err());
    assert!(store.store(&Namespace::default(), b"bytes").is_err());
    assert_eq!(
        files_in(elsewhere.path()).len(),
        1,
        "nothing was put there or taken away"
    );
}

#[test]
fn fault_52_a_file_of_somebody_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = disk(dir.path(), &disk_options(PLENTY));
    let whole = put_whole(&store, &bytes(1, 5_000));
    let path = path_of(dir.path(), &whole.location);
    let somebody = Some(rustix::process::geteuid().as_raw() + 1);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, somebody, None).unwrap();
        assert_refused(&store, &whole.location, "another owner");
    } else {
        // Only the superuser can give a file away, so nobody else can plant one either.
        assert!(std::os::unix::fs::chown(&path, somebody, None).is_err());
    }
}

fn assert_refused(store: &dyn TierStore, location: &Location, what: &str) {
    let errors = [
        store.check(location, 5_000).unwrap_err(),
        store.read(location, 5_000, &mut Vec::new()).unwrap_err(),
        store.digest(location, 5_000).unwrap_err(),
        store.open(location).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.reason(), Reason::BytesCorrupt, "{what}: {error}");
    }
}

#[test]
fn fault_13_the_file_system_keeps_its_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let options = DiskOptions {
        free_min: 1 << 60,
        ..disk_options(PLENTY)
    };
    let store = disk(dir.path(), &options);
    let errors = [
        store.reserve(&Namespace::default(), 4_096, None).unwrap_err(),
        store.store(&Namespace::default(), b"bytes").unwrap_err(),
        store.store(&Namespace::default(), &bytes(1, 100_000)).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.reason(), Reason::TierFull);
    }
    sweep(&store);
    assert_eq!(store.usage().used, 0);
    assert_eq!(files_in(dir.path()), [] as [PathBuf; 0]);
}

/// A file system of its own, for as long as it lives.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .status();
        assert!(status.unwrap().success());
        Self(dir)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap();
    }
}

/// By bytes and by inodes; without the right to mount, the reserve stands in for both, in the test above.
#[test]
fn fault_13_a_full_file_system_refuses_and_recovers() {
    if !rustix::process::geteuid().is_root() {
        return fault_13_the_file_system_keeps_its_reserve();
    }
    for limit in ["size=3m", "size=64m,nr_inodes=300"] {
        let tmpfs = Tmpfs::mount(limit);
        let store = disk(&tmpfs.0.path().join("disk"), &disk_options(PLENTY));
        let expected = bytes(1, 70_000);
        let mut all = Vec::new();
        let full = loop {
            match store.store(&Namespace::default(), &expected) {
                Ok(placed) => all.push(placed),
                Err(error) => break error,
            }
        };
        assert_eq!(full.reason(), Reason::TierFull, "{limit}: {full}");
        assert!(all.len() > 20, "{limit}: {} fitted", all.len());
        let full = store.reserve(&Namespace::default(), 100_000, None).unwrap_err();
        assert_eq!(full.reason(), Reason::TierFull);
        let charged: u64 = all.iter().map(|placed| placed.charged).sum();
        assert_eq!(store.usage().used, charged);

        for placed in all.split_off(all.len() - 3) {
            store.remove(&placed.location, placed.charged).unwrap();
        }
        let placed = put_whole(&store, &expected);
        assert_bytes(&store, &placed.location, &expected);
        let small = store.store(&Namespace::default(), b"small").unwrap();
        assert_bytes(&store, &small.location, b"small");
    }
}

#[test]
fn many_namespaces_do_not_keep_as_many_packs_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = disk(dir.path(), &disk_options(PLENTY));
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let stored: Vec<_> = (0..300u16)
        .map(|n| {
            let namespace: Namespace = format!("n{n}").parse().unwrap();
            store.store(&namespace, &n.to_le_bytes()).unwrap()
        })
        .collect();
    assert!(
        open() - before <= 130,
        "{} descriptors for 300 namespaces",
        open() - before
    );
    for (n, placed) in (0..300u16).zip(&stored) {
        assert_bytes(&store, &placed.location, &n.to_le_bytes());
    }
}
