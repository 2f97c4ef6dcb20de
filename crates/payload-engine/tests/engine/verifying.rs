//! Bytes that went bad at rest: found on demand or by the scrub, never handed on, and made again from a copy if there is one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use payload_core::{Container, Durability, EventKind, Namespace, Payload, Reason, Span, StateKind, Tier};
use payload_engine::{Damage, Fate, VerifiedBytes};

use crate::common::calls::{allocate_request, fill};
use crate::common::{Rig, Setup, bytes, refusal, secs};

const SIZE: u64 = 200_000;

/// A payload with a replica in RAM and one on disk.
fn in_both(rig: &Rig, seed: u64) -> Arc<Payload> {
    let session = rig.session();
    let request = allocate_request(SIZE, Tier::Ram, Durability::Host);
    let filled = fill(rig.allocate(&session, &request).unwrap(), seed);
    let row = rig.commit(&session, &filled.commit_request()).unwrap();
    rig.close_session(&session);
    row
}

/// A payload on disk alone.
fn below(rig: &Rig, seed: u64) -> Arc<Payload> {
    let row = in_both(rig, seed);
    rig.spill(&Namespace::default(), row.id, Tier::Disk).unwrap()
}

/// The file of a replica on disk.
fn file_of(rig: &Rig, row: &Payload) -> PathBuf {
    let mut replicas = row.replicas.iter();
    let replica = replicas.find(|replica| replica.tier() == Tier::Disk).unwrap();
    let Container::File(id) = replica.location.container() else {
        unreachable!()
    };
    let mut dirs = vec![rig.disk_dir()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.file_name().unwrap().to_str().unwrap() == id.to_string() {
                return path;
            }
        }
    }
    panic!("the replica has no file");
}

fn writable(path: &PathBuf) -> File {
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    OpenOptions::new().write(true).open(path).unwrap()
}

/// One bit of the disk's replica turns.
fn rot(rig: &Rig, row: &Payload, seed: u64) {
    let mut file = writable(&file_of(rig, row));
    file.seek(SeekFrom::Start(SIZE / 2)).unwrap();
    file.write_all(&[bytes(seed, SIZE)[SIZE as usize / 2] ^ 1]).unwrap();
}

fn verify(rig: &Rig, row: &Payload) -> VerifiedBytes {
    rig.verify_bytes(&Namespace::default(), &row.id.into()).unwrap()
}

fn fates(verified: &VerifiedBytes) -> Vec<(Tier, Fate)> {
    let fate = |damage: &Damage| (damage.tier, damage.fate);
    verified.damages.iter().map(fate).collect()
}

#[test]
fn what_is_sound_stays_as_it_is() {
    let rig = Setup::default().start();
    let row = in_both(&rig, 1);
    let verified = verify(&rig, &row);
    assert_eq!((verified.bytes, verified.damages), (2 * SIZE, Vec::new()));
    assert_eq!(rig.get(&Namespace::default(), row.id).unwrap(), row);
    let session = rig.session();
    let empty = rig.put_large(&session, 0, 1);
    assert_eq!(verify(&rig, &empty).damages, Vec::new());
    let open = rig.allocate_filled(&session, SIZE, 1);
    let refused = rig.verify_bytes(&Namespace::default(), &open.row.id.into());
    assert_eq!(refusal(refused), Reason::PayloadNotCommitted);
}

#[test]
fn fault_10_a_damaged_replica_is_made_again_from_the_other() {
    for how in ["rot", "removal", "truncation"] {
        let rig = Setup::default().start();
        let row = in_both(&rig, 1);
        let path = file_of(&rig, &row);
        match how {
            "rot" => rot(&rig, &row, 1),
            "removal" => std::fs::remove_file(&path).unwrap(),
            _ => writable(&path).set_len(SIZE / 3).unwrap(),
        }
        assert_eq!(fates(&verify(&rig, &row)), [(Tier::Disk, Fate::Mended)], "{how}");
        assert_eq!(
            rig.kinds(row.id)[2..],
            [EventKind::ReplicaLost, EventKind::ReplicaAdded]
        );
        assert_eq!(verify(&rig, &row).damages, Vec::new());
        // The new copy alone is enough.
        rig.spill(&Namespace::default(), row.id, Tier::Disk).unwrap();
        let session = rig.session();
        assert_eq!(rig.content(&session, row.id), bytes(1, SIZE));
        rig.close_session(&session);
        rig.quiesce();
        rig.check_at_rest();
    }
}

#[test]
fn fault_10_without_room_to_make_it_again_the_sound_replica_is_left() {
    let rig = Setup::default().start();
    let row = in_both(&rig, 1);
    rot(&rig, &row, 1);
    rig.switch
        .fail_next("tier.copy_in", payload_testkit::faulty::Moment::Before);
    assert_eq!(fates(&verify(&rig, &row)), [(Tier::Disk, Fate::Dropped)]);
    let session = rig.session();
    assert_eq!(rig.content(&session, row.id), bytes(1, SIZE));
}

#[test]
fn fault_10_the_last_replica_is_lost_and_says_so() {
    let rig = Setup::default().start();
    let row = below(&rig, 1);
    rot(&rig, &row, 1);
    assert_eq!(fates(&verify(&rig, &row)), [(Tier::Disk, Fate::Lost)]);
    assert_eq!(rig.state(row.id), StateKind::Lost);
    let session = rig.session();
    assert_eq!(refusal(rig.lease(&session, row.id)), Reason::PayloadLost);
    rig.close_session(&session);
    rig.quiesce();
    rig.check_at_rest();
}

#[test]
fn the_scrub_finds_what_went_bad_at_its_rate_and_begins_again_after_its_interval() {
    let rig = Setup::default()
        .with(|settings| {
            settings.scrub_interval = Some(secs(3_600));
            // A payload with two replicas takes four seconds.
            settings.scrub_rate = SIZE / 2;
        })
        .start();
    let make = |seed| {
        // One after the other also in the order of their ids.
        rig.clock.advance(Span::from_millis(1));
        in_both(&rig, seed)
    };
    let rows: Vec<_> = (0..3).map(make).collect();
    rot(&rig, &rows[2], 2);
    assert_eq!(rig.scrub().unwrap(), Some(secs(4)));
    assert_eq!(rig.scrub().unwrap(), Some(secs(4)));
    assert_eq!(rig.kinds(rows[2].id).len(), 2, "its turn has not come");
    assert_eq!(rig.scrub().unwrap(), Some(secs(4)));
    assert_eq!(
        rig.kinds(rows[2].id)[2..],
        [EventKind::ReplicaLost, EventKind::ReplicaAdded]
    );
    rig.clock.advance(secs(12));
    assert_eq!(rig.scrub().unwrap(), Some(secs(3_588)), "the pass is over");
    assert_eq!(rig.scrub().unwrap(), Some(secs(3_588)));
    rig.clock.advance(secs(3_588));
    assert_eq!(rig.scrub().unwrap(), Some(secs(4)), "the next one begins");
    rig.remove(rows[1].id).unwrap();
    assert_eq!(rig.scrub().unwrap(), Some(Span::ZERO), "what has ended is passed over");
    assert_eq!(rig.scrub().unwrap(), Some(secs(4)));
}

#[test]
fn a_scrub_that_is_off_or_has_nothing_to_read_rests() {
    let off = Setup::default().start();
    assert_eq!(off.scrub().unwrap(), None);
    let empty = Setup::default()
        .with(|settings| settings.scrub_interval = Some(secs(60)))
        .start();
    assert_eq!(empty.scrub().unwrap(), Some(secs(60)));
}
