//! Payloads that commits carry: there at once, and put back where a power cut took them.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, though not in a test module"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use payload_core::port::{Placed, TierStore};
use payload_core::{Carried, Location, Namespace, Reason};
use payload_testkit::repository::sample::Maker;
use payload_testkit::tier::PLENTY;
use payload_testkit::tier::sample::{assert_bytes, bytes};
use payload_tier::put_back;

use crate::common::{disk, disk_options};

/// Stores two that somebody waits for, and between them two that a commit carries.
fn store_four(dir: &Path) -> (Vec<Placed>, Vec<Carried>) {
    let store = disk(dir, &disk_options(PLENTY));
    let mut carried = Vec::new();
    let placed = [1, 2, 3, 4].map(|seed| {
        let content = bytes(seed, 5_000);
        if seed % 3 == 1 {
            return store.store(&Namespace::default(), &content).unwrap();
        }
        let placed = store.store_carried(&Namespace::default(), &content).unwrap();
        assert_bytes(&store, &placed.location, &content);
        carried.push(Carried {
            payload: Maker::new(seed).payload_id(),
            location: placed.location,
            content: content.into(),
        });
        placed
    });
    store.settle().unwrap();
    (placed.into(), carried)
}

fn pack_of(dir: &Path, placed: &Placed) -> PathBuf {
    let Location::Pack { pack, .. } = placed.location else {
        panic!("{placed:?} is not in a pack")
    };
    dir.join("packs").join(pack.to_string())
}

#[test]
fn fault_09_what_a_power_cut_took_from_a_pack_is_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let (placed, carried) = store_four(dir.path());
    let pack = pack_of(dir.path(), &placed[0]);
    // As if the second was torn, and the rest, with the length, had never reached the device.
    let torn = placed[1].location.offset() + 100;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&pack)
        .unwrap()
        .set_len(torn)
        .unwrap();
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o400)).unwrap();

    for _ in 0..2 {
        put_back(dir.path(), &carried).unwrap();
        let store = disk(dir.path(), &disk_options(PLENTY));
        for (seed, placed) in [1, 2, 3].into_iter().zip(&placed) {
            assert_bytes(&store, &placed.location, &bytes(seed, 5_000));
        }
        let metadata = fs::metadata(&pack).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o400);
        assert_eq!(store.usage().used, metadata.len().div_ceil(4_096) * 4_096);
    }
}

#[test]
fn a_pack_that_is_gone_is_made_again_and_a_directory_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (placed, carried) = store_four(dir.path());
    fs::remove_file(pack_of(dir.path(), &placed[0])).unwrap();
    put_back(dir.path(), &carried).unwrap();
    let store = disk(dir.path(), &disk_options(PLENTY));
    for carried in &carried {
        assert_bytes(&store, &carried.location, &carried.content);
    }

    let elsewhere = dir.path().join("not-mounted");
    let error = put_back(&elsewhere, &carried).unwrap_err();
    assert_eq!(error.reason(), Reason::TierUnavailable);
    assert!(!elsewhere.exists());
}

#[test]
fn packs_that_take_no_more_do_not_wait_in_any_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = disk(dir.path(), &disk_options(PLENTY));
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let stored: Vec<_> = (0..600u16)
        .map(|n| {
            let namespace: Namespace = format!("n{n}").parse().unwrap();
            store.store_carried(&namespace, &n.to_le_bytes()).unwrap()
        })
        .collect();
    // Two for each of the packs that are open, and one for each that waits.
    assert!(open() - before <= 330, "{} descriptors for 600 packs", open() - before);
    store.settle().unwrap();
    assert!(open() - before <= 130, "{} descriptors for 600 packs", open() - before);
    for (n, placed) in (0..600u16).zip(&stored) {
        assert_bytes(&store, &placed.location, &n.to_le_bytes());
    }
}

#[test]
fn fault_52_contents_are_not_put_where_a_link_leads() {
    let dir = tempfile::tempdir().unwrap();
    let (placed, carried) = store_four(dir.path());
    let pack = pack_of(dir.path(), &placed[0]);
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&pack, &elsewhere).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &pack).unwrap();
    assert_eq!(
        put_back(dir.path(), &carried).unwrap_err().reason(),
        Reason::BytesCorrupt
    );
    fs::remove_file(&pack).unwrap();
    fs::hard_link(&elsewhere, &pack).unwrap();
    assert_eq!(
        put_back(dir.path(), &carried).unwrap_err().reason(),
        Reason::BytesCorrupt
    );
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
}
