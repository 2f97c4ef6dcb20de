//! What is called quick must not be able to wait.

use payload_core::{Durability, Tier};

use crate::common::calls::{allocate_request, put_request};
use crate::common::{Rig, Setup};

#[test]
fn what_may_have_to_wait_is_not_done_at_once() {
    let mut rig: Rig = Setup::default().start();
    let reserve = |size| allocate_request(size, Tier::Ram, Durability::Volatile);
    let session = rig.session();
    assert!(rig.makes_at_once(0) && rig.makes_at_once(1 << 20));
    // Too many bytes to copy.
    assert!(!rig.makes_at_once((1 << 20) + 1));

    let small = rig.allocate(&session, &reserve(100_000)).unwrap();
    let large = rig.allocate(&session, &reserve(2 << 20)).unwrap();
    assert!(rig.commits_at_once(small.row.id));
    assert!(!rig.commits_at_once(large.row.id));
    // One that has to be read first.
    let cold = rig
        .put(&session, &put_request(b"x", Tier::Disk, Durability::Host))
        .unwrap()
        .id;
    rig.restart();
    assert!(!rig.commits_at_once(cold));

    // Room is short: somebody may have to wait for it.
    let session = rig.session();
    rig.allocate(&session, &reserve(40 << 20)).unwrap();
    assert!(!rig.makes_at_once(1));
}
