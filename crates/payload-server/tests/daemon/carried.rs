//! Small payloads of class `host`: acknowledged by one flush, with their bytes in the catalog's journal.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use payload_proto::v1;

use crate::support::samples::{content, put};
use crate::support::{CONFIG, World, directory};

/// Puts bytes with class `host`; the payload's id.
fn put_for_good(world: &World, bytes: &[u8]) -> String {
    let request = v1::PutRequest {
        durability: v1::Durability::Host.into(),
        ..put(bytes)
    };
    world.session().put(request).unwrap().payload.unwrap().payload_id
}

fn journal(data_dir: &Path) -> Vec<u8> {
    fs::read(data_dir.join("catalog.db-commits")).unwrap()
}

/// Where bytes are that nothing else has.
fn place(file: &[u8], bytes: &[u8]) -> Option<usize> {
    file.windows(bytes.len()).position(|window| window == bytes)
}

/// Overwrites bytes in the packs as if they had never reached the device.
fn take_from_packs(data_dir: &Path, lost: &[&[u8]]) {
    for pack in fs::read_dir(data_dir.join("disk/packs")).unwrap() {
        let path = pack.unwrap().path();
        let pack = fs::read(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        for bytes in lost {
            if let Some(place) = place(&pack, bytes) {
                file.write_all_at(&vec![0; bytes.len()], place as u64).unwrap();
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    }
}

#[test]
fn fault_09_small_payloads_are_put_back_where_a_power_cut_took_them() {
    let world = World::start();
    let sizes = [700, 701, 4_096, 16 << 10, 17 << 10];
    let contents: Vec<_> = (1..).zip(sizes).map(|(seed, size)| content(size, seed)).collect();
    let ids: Vec<_> = contents.iter().map(|bytes| put_for_good(&world, bytes)).collect();
    let check = |world: &World| {
        for (id, bytes) in ids.iter().zip(&contents) {
            assert_eq!(world.session().lease(id).read(), *bytes);
        }
    };

    let world = world.restart_after(|data_dir| {
        let journal = journal(data_dir);
        let carried = contents.iter().filter(|bytes| place(&journal, bytes).is_some());
        let carried: Vec<&[u8]> = carried.map(Vec::as_slice).collect();
        // The first set after a start is for the tables, and the last is too large.
        assert!((3..=4).contains(&carried.len()), "{} are carried", carried.len());
        take_from_packs(data_dir, &carried);
    });
    check(&world);
    // And they are there for good.
    check(&world.kill_and_restart());
}

#[test]
fn a_disk_tier_with_a_file_system_of_its_own_does_not_use_the_catalogs_journal() {
    let is_carried = |config: &str| {
        let world = World::of(config);
        let bytes = content(4_096, 9);
        // The first set after a start is for the tables.
        put_for_good(&world, b"first");
        put_for_good(&world, &bytes);
        place(&journal(world.daemon.data_dir()), &bytes).is_some()
    };
    assert!(is_carried(CONFIG));
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_ne!(
        device(elsewhere.path()),
        device(directory().path()),
        "/dev/shm is one by itself"
    );
    let path = elsewhere.path().join("disk");
    assert!(!is_carried(
        &CONFIG.replace("[tiers.disk]", &format!("[tiers.disk]\npath = {path:?}"))
    ));
}
