//! Syncs that fail: the real system calls, made to fail by `strace` in a process of their own.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, though not in a test module"
)]

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use payload_core::port::TierStore;
use payload_core::{Namespace, Outcome, Reason};
use payload_testkit::tier::sample::{assert_bytes, bytes, put_whole, reserve, seal};
use payload_testkit::tier::{PLENTY, fds};

use crate::common::{disk, disk_options};

const DIR: &str = "PAYLOAD_TIER_TEST_DIR";

/// Runs the test of this name once more, as a child that finds `DIR` set; the `when`-th call of its main thread fails.
/// Returns the system calls that it made, one a line.
fn run_under_strace(test: &str, dir: &Path, call: &str, when: u32) -> String {
    let log = dir.join("strace.log");
    let output = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=fsync,fdatasync,pwrite64"])
        .args(["-e", &format!("inject={call}:error=EIO:when={when}")])
        .arg("-o")
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DIR, dir)
        .output()
        .expect("strace must be installed to make syncs fail");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("(INJECTED)"), "{call} number {when} was never made: {log}");
    log
}

/// The file of each sync in order, and whether it failed.
fn syncs(log: &str) -> Vec<(String, bool)> {
    let of_a_sync = |line: &&str| line.contains("fsync(") || line.contains("fdatasync(");
    log.lines()
        .filter(of_a_sync)
        .map(|line| {
            let file = line.split('<').nth(1).unwrap().split('>').next().unwrap();
            (file.to_owned(), line.contains("(INJECTED)"))
        })
        .collect()
}

/// After a failed sync the kernel may say that the next one went well without having written anything.
fn assert_never_synced_again(log: &str) {
    let mut failed = HashMap::new();
    for (file, injected) in syncs(log) {
        assert!(!failed.contains_key(&file), "{file} was synced again:\n{log}");
        if injected {
            failed.insert(file, ());
        }
    }
}

fn child_dir() -> Option<std::path::PathBuf> {
    Some(std::env::var_os(DIR)?.into())
}

#[test]
fn fault_11_a_pack_whose_sync_failed_is_never_written_again() {
    if let Some(dir) = child_dir() {
        return store_three_small_ones(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "fault_11_a_pack_whose_sync_failed_is_never_written_again";
    let log = run_under_strace(test, dir.path(), "fdatasync", 2);
    assert_eq!(log.matches("fdatasync(").count(), 3, "{log}");
    assert_never_synced_again(&log);
    let mut order = syncs(&log).into_iter().map(|(file, _)| file);
    let directory = order.position(|file| file.ends_with("/packs"));
    assert!(directory.is_some(), "the name of a pack is on the device, too:\n{log}");
    assert!(
        order.next().unwrap().contains("/packs/"),
        "before its first bytes:\n{log}"
    );
    let after = log.split("(INJECTED)").nth(1).unwrap();
    let bad = syncs(&log).into_iter().find(|(_, injected)| *injected).unwrap().0;
    assert!(!after.contains(&format!("<{bad}>")), "{bad} was written again:\n{log}");
}

fn store_three_small_ones(dir: &Path) {
    let store = disk(&dir.join("disk"), &disk_options(PLENTY));
    let one = store.store(&Namespace::default(), b"one").unwrap();
    let error = store.store(&Namespace::default(), b"two").unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::TierUnavailable, Outcome::NotApplied)
    );
    let two = store.store(&Namespace::default(), b"two").unwrap();
    assert_ne!(one.location.container(), two.location.container());
    assert_bytes(&store, &one.location, b"one");
    assert_bytes(&store, &two.location, b"two");

    let before = store.usage();
    store.remove(&one.location, one.charged).unwrap();
    drop(one.claim);
    store.sweepable().unwrap();
    store.drop_container(one.location.container()).unwrap();
    assert!(
        store.usage().used < before.used,
        "the room of the abandoned pack comes back"
    );
}

#[test]
fn fault_11_a_pack_whose_write_failed_is_never_written_again() {
    if let Some(dir) = child_dir() {
        return store_three_small_ones(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "fault_11_a_pack_whose_write_failed_is_never_written_again";
    let log = run_under_strace(test, dir.path(), "pwrite64", 2);
    assert_eq!(log.matches("fdatasync(").count(), 2, "{log}");
}

#[test]
fn fault_11_many_that_are_stored_together_share_a_sync_and_its_failure() {
    if let Some(dir) = child_dir() {
        return store_many_twice(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "fault_11_many_that_are_stored_together_share_a_sync_and_its_failure";
    let log = run_under_strace(test, dir.path(), "fdatasync", 2);
    assert_eq!(log.matches("fdatasync(").count(), 3, "{log}");
    assert_never_synced_again(&log);
}

/// A megabyte in each group, which goes past the page cache and fills a pack.
fn store_many_twice(dir: &Path) {
    let store = disk(&dir.join("disk"), &disk_options(PLENTY));
    let payloads: Vec<Vec<u8>> = (0..16).map(|seed| bytes(seed, 65_536)).collect();
    let slices: Vec<&[u8]> = payloads.iter().map(|bytes| &bytes[..]).collect();
    let store_all = || store.store_all(&Namespace::default(), &slices);
    let first: Vec<_> = store_all().into_iter().map(|one| one.unwrap()).collect();
    for error in store_all() {
        assert_eq!(error.unwrap_err().reason(), Reason::TierUnavailable);
    }
    let third: Vec<_> = store_all().into_iter().map(|one| one.unwrap()).collect();
    assert_ne!(first[0].location.container(), third[0].location.container());
    for placed in [first, third] {
        for (placed, expected) in placed.iter().zip(&payloads) {
            assert_bytes(&store, &placed.location, expected);
        }
    }
}

#[test]
fn fault_11_contents_whose_sync_failed_are_never_said_to_be_settled() {
    if let Some(dir) = child_dir() {
        return settle_twice(&dir);
    }
    // The pack that is open, and the one that was closed before it.
    for when in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let test = "fault_11_contents_whose_sync_failed_are_never_said_to_be_settled";
        let log = run_under_strace(test, dir.path(), "fdatasync", when);
        assert_eq!(log.matches("fdatasync(").count() as u32, when, "{log}");
    }
}

/// A pack and a bit.
fn settle_twice(dir: &Path) {
    let store = disk(&dir.join("disk"), &disk_options(PLENTY));
    for seed in 0..17 {
        store
            .store_carried(&Namespace::default(), &bytes(seed, 65_536))
            .unwrap();
    }
    for _ in 0..2 {
        assert_eq!(store.settle().unwrap_err().reason(), Reason::TierUnavailable);
    }
}

/// The main thread syncs two directories when it opens an existing store; then come the file and its directory.
const FILE_SYNC: u32 = 3;
const DIRECTORY_SYNC: u32 = 4;

#[test]
fn fault_11_a_file_whose_sync_failed_is_discarded() {
    if let Some(dir) = child_dir() {
        return seal_twice(&dir);
    }
    for when in [FILE_SYNC, DIRECTORY_SYNC] {
        let dir = tempfile::tempdir().unwrap();
        drop(disk(&dir.path().join("disk"), &disk_options(PLENTY)));
        let log = run_under_strace(
            "fault_11_a_file_whose_sync_failed_is_discarded",
            dir.path(),
            "fsync",
            when,
        );
        let (file, _) = syncs(&log).into_iter().find(|(_, injected)| *injected).unwrap();
        let is_directory = file.len() < dir.path().join("disk/files/xx/").to_str().unwrap().len();
        assert_eq!(is_directory, when == DIRECTORY_SYNC, "{file}");
        if !is_directory {
            assert_never_synced_again(&log);
        }
    }
}

fn seal_twice(dir: &Path) {
    let store = disk(&dir.join("disk"), &disk_options(PLENTY));
    let expected = bytes(1, 100_000);
    let reserved = reserve(&store, 100_000);
    let location = reserved.placed.location;
    fds::write(&reserved.writer, 0, &expected);
    drop(reserved.writer);
    let error = seal(&store, &location, 100_000).unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::TierUnavailable, Outcome::NotApplied)
    );
    assert_eq!(store.usage().used, 0);
    for again in [
        seal(&store, &location, 100_000).unwrap_err(),
        store.check(&location, 100_000).unwrap_err(),
    ] {
        assert_eq!(again.reason(), Reason::BytesMissing);
    }
    store.remove(&location, reserved.placed.charged).unwrap();
    let placed = put_whole(&store, &expected);
    assert_bytes(&store, &placed.location, &expected);
    assert_eq!(store.usage().used, placed.charged);
}
