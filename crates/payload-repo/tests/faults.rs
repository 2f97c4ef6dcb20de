//! Faults of the catalog's file that can be made from inside: another writer, damage, a schema from the future.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::path::Path;
use std::sync::Arc;

use payload_core::listing::ListQuery;
use payload_core::port::Repository;
use payload_core::{CommitOutcome, Namespace, Outcome, Reason, Span};
use payload_repo::{SqliteOptions, SqliteRepository};
use payload_testkit::clock::ManualClock;
use payload_testkit::repository::sample::{Maker, at, changed, created, edited, set};
use support::Recorder;

const SIMPLE: SqliteOptions = SqliteOptions {
    busy_timeout: Span::from_millis(20),
    readers: 1,
    group_max: 8,
    log_pages_max: 4_096,
    journal_half: 2 << 20,
    carried_max: 0,
};

#[test]
fn fault_33_a_file_that_stays_locked_is_unavailable_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let repo = support::open_with(&path, SIMPLE).unwrap();
    let mut maker = Maker::new(1);
    repo.claim(maker.node, at(0)).unwrap();
    let [first, second, third] = [maker.allocated(), maker.allocated(), maker.allocated()];
    repo.commit(set([created(&first)])).unwrap();

    let intruder = rusqlite::Connection::open(&path).unwrap();
    while let Err(busy) = intruder.execute_batch("BEGIN IMMEDIATE") {
        assert_eq!(busy.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    }
    // The journal takes commits, until the tables are found to be out of reach.
    repo.commit(set([created(&second)])).unwrap();
    assert_eq!(repo.get(second.id).unwrap(), Some(second.clone()));
    let unavailable = |error: payload_core::Error| {
        assert_eq!(
            (error.reason(), error.outcome()),
            (Reason::RepositoryUnavailable, Outcome::NotApplied)
        );
    };
    unavailable(repo.check().unwrap_err());
    unavailable(repo.commit(set([created(&third)])).unwrap_err());
    assert_eq!(repo.get(first.id).unwrap(), Some(first));
    assert_eq!(repo.get(second.id).unwrap(), Some(second));
    assert_eq!(repo.get(third.id).unwrap(), None);

    intruder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(repo.commit(set([created(&third)])).unwrap(), CommitOutcome::Applied);
    repo.check().unwrap();
}

#[test]
fn fault_33_a_commit_waits_for_a_short_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let repo = support::open(&path);
    let mut maker = Maker::new(1);
    repo.claim(maker.node, at(0)).unwrap();
    let intruder = rusqlite::Connection::open(&path).unwrap();
    intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| repo.commit(set([created(&maker.allocated())])));
        assert!(!commit.is_finished());
        intruder.execute_batch("COMMIT").unwrap();
        assert_eq!(commit.join().unwrap().unwrap(), CommitOutcome::Applied);
    });
}

fn fill(path: &Path) -> Vec<payload_core::Payload> {
    let repo = support::open(path);
    let mut maker = Maker::new(2);
    repo.claim(maker.node, at(0)).unwrap();
    let payloads: Vec<_> = (0..200).map(|_| maker.allocated()).collect();
    repo.commit(set(payloads.iter().map(created).collect::<Vec<_>>()))
        .unwrap();
    payloads
}

/// The file without its log, which is empty after a clean close.
fn damage(path: &Path, from: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[from..].fill(0xa5);
    std::fs::write(path, bytes).unwrap();
    std::fs::remove_file(path.with_extension("db-wal")).unwrap();
}

fn check_damage(error: &payload_core::Error, path: &Path) {
    assert_eq!(error.reason(), Reason::RepositoryCorrupt, "{error}");
    assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    assert!(error.message().contains(".recover"), "{error}");
}

#[test]
fn fault_34_a_file_that_is_no_database_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    fill(&path);
    damage(&path, 0);
    let before = std::fs::read(&path).unwrap();
    check_damage(&support::open_with(&path, SIMPLE).err().unwrap(), &path);
    assert_eq!(std::fs::read(&path).unwrap(), before, "the file was kept");
}

#[test]
fn fault_34_damage_found_by_a_read_ends_all_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let payloads = fill(&path);
    let recorder = Arc::new(Recorder::default());
    let clock = Arc::new(ManualClock::default());
    // Only rows of payloads: schema, migrations and nodes come first in the file.
    let conn = rusqlite::Connection::open(&path).unwrap();
    let read = "SELECT rootpage FROM sqlite_schema WHERE name = 'payloads'";
    let root: usize = conn
        .query_row(read, [], |row| row.get::<_, i64>(0))
        .unwrap()
        .try_into()
        .unwrap();
    drop(conn);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[(root - 1) * 4_096..root * 4_096].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();

    let repo = SqliteRepository::open(&path, SIMPLE, clock, Arc::clone(&recorder) as _, &|_| Ok(())).unwrap();
    let mut maker = Maker::new(3);
    repo.claim(maker.node, at(0)).unwrap();
    check_damage(&repo.get(payloads[0].id).unwrap_err(), &path);
    check_damage(&repo.get(payloads[1].id).unwrap_err(), &path);
    let error = repo.commit(set([created(&maker.allocated())])).unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::RepositoryUnavailable, Outcome::NotApplied)
    );
    assert_eq!(*recorder.fatal.lock().unwrap(), [Reason::RepositoryCorrupt]);
    assert!(repo.check().is_err());
}

#[test]
fn fault_59_a_file_of_a_newer_server_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let payloads = fill(&path);
    let conn = rusqlite::Connection::open(&path).unwrap();
    let known: i64 = conn
        .query_row("SELECT max(number) FROM migrations", [], |row| row.get(0))
        .unwrap();
    conn.execute("INSERT INTO migrations VALUES (99, 'from the future', x'00', 0)", [])
        .unwrap();
    let error = support::open_with(&path, SIMPLE).err().unwrap();
    assert_eq!(error.reason(), Reason::RepositoryIncompatible);
    assert!(
        error.message().contains("99") && error.message().contains(&format!("up to {known}")),
        "{error}"
    );
    conn.execute("DELETE FROM migrations WHERE number = 99", []).unwrap();
    let repo = support::open(&path);
    assert_eq!(repo.get(payloads[7].id).unwrap(), Some(payloads[7].clone()));
}

#[test]
fn the_log_begins_anew_while_commits_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let options = SqliteOptions {
        log_pages_max: 50,
        ..SqliteOptions::default()
    };
    let repo = support::open_with(&path, options).unwrap();
    let mut maker = Maker::new(4);
    repo.claim(maker.node, at(0)).unwrap();
    let mut last = maker.allocated();
    repo.commit(set([created(&last)])).unwrap();
    // The log's header counts how often it has begun anew (bytes 12 to 15, see the SQLite file format).
    let round = || {
        let log = std::fs::read(path.with_extension("db-wal")).unwrap();
        assert!(log.len() < 64 << 20, "the log grows and grows");
        log[12..16].to_vec()
    };
    let first = round();
    while round() == first {
        let next = edited(&last, |after| after.size += 1);
        repo.commit(set([changed(&last, &next)])).unwrap();
        assert_eq!(repo.get(last.id).unwrap(), Some(next.clone()));
        last = next;
    }
}

#[test]
fn a_clean_close_leaves_everything_in_the_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("catalog.db"), dir.path().join("copy.db"));
    let mut payloads = fill(&path);
    std::fs::copy(&path, &copy).unwrap();
    payloads.sort_by_key(|payload| payload.id);
    let query = ListQuery::all(Namespace::default(), 1_000);
    assert_eq!(support::open(&copy).list(&query).unwrap().rows, payloads);
}
