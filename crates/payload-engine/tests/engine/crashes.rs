//! Every mutation, killed at every call that it makes to the outside, before and after the call took effect.
//!
//! After each kill a new server takes up the same media, comes to rest, and must show what a client may rely on: it
//! happened or it did not, nothing in between, and the bytes are those of the rows.

use std::sync::Arc;

use payload_core::{Durability, EventKind, Namespace, Payload, PayloadId, StateKind, Tier};
use payload_engine::{AllocateRequest, CommitRequest, DeleteRequest, OnDependents, PutRequest};
use payload_testkit::faulty::Moment;

use crate::common::calls::{Filled, allocate_request, bytes, delete_request, fill, has_writer, put_request};
use crate::common::{Backend, Rig, Setup, alice, secs};
use crate::lineage::derivation;

/// No operation makes more calls than this.
const CALLS_MAX: u64 = 40;

/// Where and how durable, on which repository.
const PLACES: [(Backend, Tier, Durability); 5] = [
    (Backend::Memory, Tier::Ram, Durability::Volatile),
    (Backend::Sqlite, Tier::Ram, Durability::Volatile),
    (Backend::Sqlite, Tier::Ram, Durability::Host),
    (Backend::Sqlite, Tier::Disk, Durability::Host),
    (Backend::Sqlite, Tier::Ram, Durability::Object),
];

/// A server on that repository, with a bucket if something is to be in one.
fn at(place: (Backend, Tier, Durability)) -> Setup {
    Setup {
        backend: place.0,
        object: (place.2 == Durability::Object).then_some(1 << 40),
        ..Setup::default()
    }
}

/// Prepares, kills in `operation` at every call, restarts, and lets `check` judge. Returns how many kills there were.
fn each_kill<T>(
    place: (Backend, Tier, Durability),
    prepare: impl Fn(&Rig) -> T,
    operation: impl Fn(&Rig, &T) -> bool,
    check: impl Fn(&Rig, &T),
) -> u64 {
    let mut kills = 0;
    for moment in [Moment::Before, Moment::After] {
        for number in 0..=CALLS_MAX {
            let mut rig = at(place).start();
            let prepared = prepare(&rig);
            rig.switch.kill_at(number, moment);
            let acknowledged = operation(&rig, &prepared);
            let unharmed = !rig.switch.is_dead();
            assert!(acknowledged || !unharmed, "an operation fails only if it is killed");
            rig.restart();
            check(&rig, &prepared);
            rig.quiesce();
            rig.check_at_rest();
            if unharmed {
                break;
            }
            kills += 1;
            assert!(number < CALLS_MAX, "the operation does not end");
        }
    }
    kills
}

/// The one payload that there is, if any.
fn only(rig: &Rig) -> Option<Payload> {
    let mut rows = rig.rows();
    assert!(rows.len() <= 1, "{rows:?}");
    rows.pop()
}

fn commits(rig: &Rig, id: PayloadId) -> usize {
    rig.kinds(id)
        .iter()
        .filter(|kind| **kind == EventKind::Committed)
        .count()
}

fn allocate_with_id(size: u64, tier: Tier, durability: Durability) -> AllocateRequest {
    AllocateRequest {
        request_id: Some("allocate".parse().unwrap()),
        ..allocate_request(size, tier, durability)
    }
}

#[test]
fn fault_01_kill_in_allocate() {
    for (backend, tier, durability) in PLACES {
        for size in [0, 10_000] {
            let request = allocate_with_id(size, tier, durability);
            let kills = each_kill(
                (backend, tier, durability),
                |_| (),
                |rig, ()| rig.allocate(&rig.session(), &request).is_ok(),
                |rig, ()| {
                    let before = only(rig);
                    let session = rig.session();
                    let again = rig.allocate(&session, &request).unwrap();
                    match before {
                        // A reservation on disk does not outlive the server, and its retry says so.
                        Some(row) if row.state.kind() == StateKind::Aborted => assert_eq!(tier, Tier::Disk),
                        Some(row) => assert_eq!(row.id, again.row.id),
                        None => {}
                    }
                    let open = again.row.state.kind() == StateKind::Allocated;
                    assert_eq!(has_writer(&again), open && size > 0);
                    if open {
                        let row = rig.commit(&session, &fill(again, 1).commit_request()).unwrap();
                        assert_eq!(rig.content(&session, row.id), bytes(1, size));
                    }
                    rig.close_session(&session);
                },
            );
            assert!(kills >= 4, "{kills} kills");
        }
    }
}

#[test]
fn fault_02_kill_in_commit() {
    for (backend, tier, durability) in PLACES {
        for size in [0, 10_000, 2 << 20] {
            let request = |filled: &Filled| CommitRequest {
                request_id: Some("commit".parse().unwrap()),
                size: Some(size / 2),
                ..filled.commit_request()
            };
            let kills = each_kill(
                (backend, tier, durability),
                |rig| {
                    let session = rig.session();
                    let filled = fill(
                        rig.allocate(&session, &allocate_request(size, tier, durability))
                            .unwrap(),
                        1,
                    );
                    (session, filled)
                },
                |rig, (session, filled)| rig.commit(session, &request(filled)).is_ok(),
                |rig, (_, filled)| {
                    let row = only(rig).unwrap();
                    let was_active = row.state.kind() == StateKind::Active;
                    let session = rig.session();
                    let again = rig.commit(&session, &request(filled));
                    match row.state.kind() {
                        StateKind::Active | StateKind::Allocated => {
                            let again = again.unwrap();
                            assert!(!was_active || *again == row, "a retry gets the first answer");
                            assert_eq!(rig.content(&session, row.id), filled.content[..size as usize / 2]);
                            assert_eq!(commits(rig, row.id), 1);
                        }
                        state => {
                            assert_eq!(state, StateKind::Aborted);
                            again.unwrap_err();
                            assert_eq!(commits(rig, row.id), 0);
                        }
                    }
                    rig.close_session(&session);
                },
            );
            assert!(kills >= 2, "{kills} kills");
        }
    }
}

#[test]
fn kill_in_put() {
    for (backend, tier, durability) in PLACES {
        let request = PutRequest {
            request_id: Some("put".parse().unwrap()),
            ..put_request(&bytes(1, 5_000), tier, durability)
        };
        let kills = each_kill(
            (backend, tier, durability),
            |_| (),
            |rig, ()| rig.put(&rig.session(), &request).is_ok(),
            |rig, ()| {
                let before = only(rig);
                let session = rig.session();
                let again = rig.put(&session, &request).unwrap();
                assert!(before.is_none_or(|row| row == *again));
                assert_eq!(only(rig).unwrap().id, again.id);
                assert_eq!(rig.content(&session, again.id), bytes(1, 5_000));
                assert_eq!(rig.kinds(again.id), [EventKind::Committed]);
            },
        );
        assert!(kills >= 4, "{kills} kills");
    }
}

/// What a deletion of any kind may have come to.
fn is_ending(state: StateKind) -> bool {
    matches!(state, StateKind::Deleting | StateKind::Deleted)
}

fn committed(rig: &Rig, size: u64, place: (Backend, Tier, Durability), ttl: Option<u64>) -> Arc<Payload> {
    let session = rig.session();
    let mut request = allocate_request(size, place.1, place.2);
    request.ttl = ttl.map(secs);
    let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
    rig.commit(&session, &filled.commit_request()).unwrap()
}

#[test]
fn fault_05_kill_in_delete() {
    for place in PLACES {
        for held in [false, true] {
            let request = |id| DeleteRequest {
                request_id: Some("delete".parse().unwrap()),
                ..delete_request(id)
            };
            let kills = each_kill(
                place,
                |rig| {
                    let row = committed(rig, 10_000, place, None);
                    let session = rig.session();
                    let lease = held.then(|| rig.lease(&session, row.id).unwrap().lease);
                    (row, session, lease)
                },
                |rig, (row, session, lease)| {
                    let deleted = rig.delete(&alice(), &request(row.id)).is_ok();
                    if let Some(lease) = lease {
                        rig.release(session, *lease).unwrap();
                    }
                    rig.run_drains();
                    let swept = rig.sweep().is_ok();
                    deleted && (swept || rig.switch.is_dead())
                },
                |rig, (row, ..)| {
                    let state = rig.state(row.id);
                    let session = rig.session();
                    match is_ending(state) {
                        true => drop(rig.lease(&session, row.id).unwrap_err()),
                        false => assert_eq!(rig.content(&session, row.id), bytes(1, 10_000)),
                    }
                    assert!(is_ending(rig.delete(&alice(), &request(row.id)).unwrap().state));
                    rig.quiesce();
                    assert_eq!(rig.state(row.id), StateKind::Deleted);
                    let kinds = rig.kinds(row.id);
                    assert_eq!(kinds[2..], [EventKind::DeleteRequested, EventKind::Deleted]);
                    assert!(rig.stats().unwrap().tiers.iter().all(|tier| tier.usage.used == 0));
                },
            );
            assert!(kills >= 4, "{kills} kills");
        }
    }
}

#[test]
fn fault_06_kill_in_expiry() {
    for place in PLACES {
        let kills = each_kill(
            place,
            |rig| {
                let rows: Vec<_> = (0..3).map(|_| committed(rig, 3_000, place, Some(60))).collect();
                let open = rig.allocate_filled(&rig.session(), 3_000, 2).row;
                rig.clock.advance(secs(700));
                (rows, open)
            },
            |rig, _| rig.expire_due().is_ok() && rig.sweep().is_ok(),
            |rig, (rows, open)| {
                rig.quiesce();
                for row in rows {
                    let kinds = rig.kinds(row.id);
                    assert_eq!(kinds[2..], [EventKind::Expired, EventKind::Deleted]);
                }
                // If the restart came first, nobody took it up again.
                let end = rig.kinds(open.id)[1..].to_vec();
                assert!(
                    end == [EventKind::AllocationTimedOut] || end == [EventKind::WriterDied],
                    "{end:?}"
                );
            },
        );
        assert!(kills >= 6, "{kills} kills");
    }
}

#[test]
fn fault_17_kill_in_abort_and_in_the_close_of_a_session() {
    for place in PLACES {
        for by_close in [false, true] {
            let kills = each_kill(
                place,
                |rig| {
                    let session = rig.session();
                    let request = allocate_request(10_000, place.1, place.2);
                    let filled = fill(rig.allocate(&session, &request).unwrap(), 1);
                    (session, filled)
                },
                |rig, (session, filled)| {
                    if by_close {
                        rig.close_session(session);
                        return true;
                    }
                    let id = filled.row.id;
                    rig.abort(session, &Namespace::default(), id, None, "".into()).is_ok()
                },
                |rig, (_, filled)| {
                    rig.quiesce();
                    assert_eq!(rig.state(filled.row.id), StateKind::Aborted);
                    assert_eq!(rig.kinds(filled.row.id).len(), 2);
                },
            );
            assert!(kills >= 2, "{kills} kills");
        }
    }
}

#[test]
fn fault_08_kill_in_recovery_and_in_the_first_sweep() {
    for place in PLACES {
        for moment in [Moment::Before, Moment::After] {
            for number in 0..CALLS_MAX {
                let mut rig = at(place).start();
                let row = committed(&rig, 10_000, place, None);
                let doomed = committed(&rig, 10_000, place, None);
                rig.lease(&rig.session(), doomed.id).unwrap();
                rig.remove(doomed.id).unwrap();
                // Bytes without a row: the server dies between the two.
                rig.switch.kill_before("repository.commit");
                let _killed = rig.put(&rig.session(), &put_request(&bytes(1, 10), place.1, place.2));

                rig.rebuild();
                rig.switch.kill_at(number, moment);
                let _killed = rig.recover().and_then(|_| {
                    rig.clock.advance(secs(200));
                    rig.run_timers();
                    rig.run_drains();
                    rig.sweep()
                });
                let unharmed = !rig.switch.is_dead();
                rig.restart();
                rig.quiesce();
                rig.check_at_rest();
                assert_eq!(
                    (rig.state(row.id), rig.state(doomed.id)),
                    (StateKind::Active, StateKind::Deleted)
                );
                if unharmed {
                    break;
                }
                assert!(number + 1 < CALLS_MAX, "the recovery does not end");
            }
        }
    }
}

/// Whatever was deleted before the kill had no live descendant left, and the same call again ends the work.
#[test]
fn kill_in_a_cascade() {
    for (backend, tier, durability) in PLACES {
        let request = |root: PayloadId| DeleteRequest {
            request_id: Some("cascade".parse().unwrap()),
            dependents: OnDependents::Cascade,
            ..delete_request(root)
        };
        let kills = each_kill(
            (backend, tier, durability),
            |rig| {
                let put = |seed: u64, parents: &[PayloadId]| {
                    let request = PutRequest {
                        lineage: (!parents.is_empty()).then(|| derivation(parents)),
                        ..put_request(&bytes(seed, 100), tier, durability)
                    };
                    rig.put(&rig.session(), &request).unwrap().id
                };
                let root = put(1, &[]);
                let (left, right) = (put(2, &[root]), put(3, &[root]));
                [root, left, right, put(4, &[left, right])]
            },
            |rig, ids| rig.delete(&alice(), &request(ids[0])).is_ok(),
            |rig, ids| {
                let ended = |id: PayloadId| rig.state(id) != StateKind::Active;
                let [root, left, right, last] = ids.map(ended);
                assert!(last || !(left || right || root), "{ids:?}");
                assert!((left && right) || !root, "{ids:?}");
                let deletion = rig.delete(&alice(), &request(ids[0])).unwrap();
                assert_eq!(deletion.dependents.left, 0);
                // A server that has just started waits for holders that it does not know yet.
                assert!(ids.iter().all(|id| rig.state(*id) != StateKind::Active));
            },
        );
        assert!(kills > 4);
    }
}
