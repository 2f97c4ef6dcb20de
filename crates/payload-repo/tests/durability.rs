//! What is fsynced and what is not, and what is there after a crash: seen from outside, through system calls.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::path::Path;
use std::sync::Arc;

use payload_core::port::Repository;
use payload_core::{ChangeSet, Durability, Reason};
use payload_repo::{SqliteOptions, SqliteRepository};
use payload_testkit::clock::ManualClock;
use payload_testkit::repository::sample::{Maker, at, changed, created, edited, set};
use support::Recorder;
use support::child::{self, Report, Work, said};

/// Everything that was acknowledged is there, and the file goes on working.
fn check_recovery(path: &Path, report: &Report) {
    let repo = support::open(path);
    for id in &report.acknowledged {
        assert!(repo.get(*id).unwrap().is_some(), "lost {id}: {report:?}");
    }
    let mut maker = Maker::new(7);
    repo.claim(maker.node, at(0)).unwrap();
    repo.commit(set([created(&maker.allocated())])).unwrap();
}

#[test]
fn volatile_commits_wait_for_no_fsync_and_host_commits_for_one_each() {
    if child::is_child() {
        return;
    }
    let test = "volatile_commits_wait_for_no_fsync_and_host_commits_for_one_each";
    let syncs = |volatile, host| {
        let dir = tempfile::tempdir().unwrap();
        let work = Work {
            volatile,
            host,
            crowd: 0,
        };
        let report = child::run(test, &dir.path().join("catalog.db"), work, None, &[]);
        assert_eq!(report.acknowledged.len(), volatile + host);
        report.syncs()
    };
    // The stop waits for one, if there was anything at all.
    let idle = syncs(1, 0);
    assert_eq!(syncs(300, 0), idle);
    assert_eq!(syncs(0, 30), idle + 30);
    assert_eq!(syncs(100, 5), idle + 5);
}

#[test]
fn one_set_of_class_host_makes_its_group_wait() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let clock = Arc::new(ManualClock::default());
    let path = dir.path().join("catalog.db");
    let repo = SqliteRepository::open(
        &path,
        SqliteOptions::default(),
        clock,
        Arc::clone(&recorder) as _,
        &|_| Ok(()),
    )
    .unwrap();
    let mut maker = Maker::new(1);
    repo.claim(maker.node, at(0)).unwrap();
    let payload = maker.allocated();
    let commit = |durability, change| {
        repo.commit(ChangeSet {
            durability,
            ..set([change])
        })
        .unwrap()
    };
    commit(Durability::Volatile, created(&payload));
    commit(Durability::Host, created(&payload));
    commit(Durability::Host, changed(&payload, &edited(&payload, |_| ())));
    // A conflict writes nothing, so there is nothing to wait for.
    assert_eq!(*recorder.groups.lock().unwrap(), [(1, false), (1, true)]);
}

#[test]
fn fault_9_acknowledged_commits_survive_a_kill_at_any_write() {
    if child::is_child() {
        return;
    }
    let test = "fault_9_acknowledged_commits_survive_a_kill_at_any_write";
    let work = Work {
        volatile: 6,
        host: 6,
        crowd: 0,
    };
    let (mut killed, mut acknowledged) = (0, 0);
    // Each thread counts for itself: the first to come so far is killed, be it in the journal or in the tables.
    for call in ["pwrite64", "fsync", "fdatasync"] {
        for number in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("catalog.db");
            drop(support::open(&path));
            let inject = format!("{call}:signal=KILL:when={number}");
            let report = child::run(test, &path, work, Some(&inject), &[]);
            check_recovery(&path, &report);
            if report.finished {
                break;
            }
            killed += 1;
            acknowledged += report.acknowledged.len();
        }
    }
    assert!(killed > 20 && acknowledged > 40, "{killed} {acknowledged}");
}

#[test]
fn fault_59_a_kill_inside_a_migration_leaves_the_version_before() {
    if child::is_child() {
        return;
    }
    let test = "fault_59_a_kill_inside_a_migration_leaves_the_version_before";
    let mut killed = 0;
    for number in (1..).step_by(4) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        let inject = format!("pwrite64:signal=KILL:when={number}");
        let report = child::run(test, &path, Work::default(), Some(&inject), &[]);
        check_recovery(&path, &report);
        if report.finished {
            break;
        }
        killed += 1;
    }
    assert!(killed > 3, "{killed}");
}

#[test]
fn fault_12_a_failed_fsync_is_not_tried_again_and_ends_all_writing() {
    if child::is_child() {
        return;
    }
    let test = "fault_12_a_failed_fsync_is_not_tried_again_and_ends_all_writing";
    let mut in_commit = 0;
    // The tables are synced with the one, the journal with the other.
    for call in ["fsync", "fdatasync"] {
        for number in 1.. {
            let report = failing_sync(test, call, number);
            if report.finished && report.injected() == 0 {
                break;
            }
            in_commit += usize::from(check_failed_commit(&report));
        }
    }
    assert_eq!(in_commit, 5);
}

/// Who waits together with others for a sync that fails is told so, and so is whoever comes next, although the kernel
/// reports a failure once.
#[test]
fn fault_12_a_failed_fsync_fails_all_who_wait_for_it_and_for_the_next() {
    if child::is_child() {
        return;
    }
    let test = "fault_12_a_failed_fsync_fails_all_who_wait_for_it_and_for_the_next";
    let work = Work {
        volatile: 0,
        host: 0,
        crowd: 8,
    };
    for number in 1..=4 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        drop(support::open(&path));
        let inject = format!("fdatasync:error=EIO:when={number}");
        let report = child::run(test, &path, work, Some(&inject), &[]);
        assert!(report.finished, "{report:?}");
        assert_eq!(
            report.acknowledged.len() + report.failures.len(),
            40 + usize::from(report.injected() > 0)
        );
        check_recovery(&path, &report);
    }
}

/// From the given sync on, all fail.
fn failing_sync(test: &str, call: &str, number: usize) -> Report {
    let work = Work {
        volatile: 2,
        host: 5,
        crowd: 0,
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    drop(support::open(&path));
    let inject = format!("{call}:error=EIO:when={number}+");
    let report = child::run(test, &path, work, Some(&inject), &[]);
    check_recovery(&path, &report);
    report
}

/// If the sync that failed was that of a commit, nothing was acknowledged after it, and nothing more was written to the
/// journal.
fn check_failed_commit(report: &Report) -> bool {
    if !(2..7).contains(&report.acknowledged.len()) {
        return false;
    }
    let unknown = said(Reason::RepositoryUnavailable, "unknown");
    let refused = said(Reason::RepositoryUnavailable, "not-applied");
    let mut expected = vec![unknown];
    expected.resize(7 - report.acknowledged.len(), refused);
    expected.push("fatal REPOSITORY_UNAVAILABLE".to_owned());
    assert_eq!(report.failures, expected);
    let is_failure = |line: &String| line.contains("(INJECTED)");
    let failed = report.trace.iter().position(is_failure).unwrap();
    let writes =
        |line: &String| (line.contains("sync(") || line.contains("pwrite64(")) && line.contains("catalog.db-commits>");
    assert!(report.trace[..failed].iter().any(writes), "{:?}", report.trace);
    assert!(!report.trace[failed + 1..].iter().any(writes), "{:?}", report.trace);
    true
}

#[test]
fn fault_34_a_full_disk_refuses_writes_until_there_is_room() {
    if child::is_child() {
        return;
    }
    let test = "fault_34_a_full_disk_refuses_writes_until_there_is_room";
    let work = Work {
        volatile: 4,
        host: 4,
        crowd: 0,
    };
    let full = said(Reason::RepositoryReadOnly, "not-applied");
    let mut refused = 0;
    for (file, step) in [("catalog.db-wal", 5), ("catalog.db-commits", 1)] {
        for number in (1..).step_by(step) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("catalog.db");
            drop(support::open(&path));
            let inject = format!("pwrite64:error=ENOSPC:when={number}..{}", number + 1);
            let report = child::run(test, &path, work, Some(&inject), &[dir.path().join(file)]);
            check_recovery(&path, &report);
            if report.injected() == 0 {
                break;
            }
            if report.finished {
                assert!(report.failures.iter().all(|failure| *failure == full), "{report:?}");
                assert_eq!(report.failures.len() + report.acknowledged.len(), 8);
                refused += report.failures.len();
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn fault_34_a_read_only_file_is_called_so() {
    if child::is_child() {
        return;
    }
    let test = "fault_34_a_read_only_file_is_called_so";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    drop(support::open(&path));
    let only = [path.clone()];
    let report = child::run(test, &path, Work::default(), Some("openat:error=EROFS:when=1"), &only);
    assert_eq!(report.failures, ["open REPOSITORY_READ_ONLY"]);
    check_recovery(&path, &report);
}
