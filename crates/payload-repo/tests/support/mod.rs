//! What the tests of all adapters share: stores of their own, opened as the server opens them.
#![allow(dead_code, missing_docs, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

pub(crate) mod child;

use std::path::Path;
use std::sync::{Arc, Mutex};

use payload_core::port::Repository;
use payload_core::{Error, Reason, Span};
use payload_repo::{
    CommitObserver, Database, MemoryRepository, PostgresOptions, PostgresRepository, Purpose, PutBack, SqliteOptions,
    SqliteRepository,
};
use payload_testkit::clock::ManualClock;
use payload_testkit::process::Postgres;

/// Opens the file with the given options; nobody observes.
pub(crate) fn open_with(path: &Path, options: SqliteOptions) -> payload_core::Result<SqliteRepository> {
    open_carrying(path, options, &|_| Ok(()))
}

/// The same, with somebody who puts contents back.
pub(crate) fn open_carrying(
    path: &Path,
    options: SqliteOptions,
    put_back: PutBack<'_>,
) -> payload_core::Result<SqliteRepository> {
    SqliteRepository::open(path, options, Arc::new(ManualClock::default()), Arc::new(()), put_back)
}

/// Opens the file as most tests want it.
pub(crate) fn open(path: &Path) -> SqliteRepository {
    let options = SqliteOptions {
        journal_half: 64 << 10,
        ..SqliteOptions::default()
    };
    open_with(path, options).unwrap()
}

/// Handles on one store in memory.
pub(crate) fn memory() -> impl Fn() -> Box<dyn Repository> {
    let store = MemoryRepository::new();
    move || Box::new(store.another())
}

/// Handles on one file, which is removed with the closure.
pub(crate) fn sqlite() -> impl Fn() -> Box<dyn Repository> {
    let dir = tempfile::tempdir().unwrap();
    let repo = open(&dir.path().join("catalog.db"));
    // The folder goes after the file in it.
    move || {
        let _ = &dir;
        Box::new(repo.another())
    }
}

/// Handles on one database of a server of its own, which ends with the closure.
pub(crate) fn postgres() -> impl Fn() -> Box<dyn Repository> {
    let server = Postgres::start();
    move || Box::new(open_postgres(&server.url()))
}

/// Opens the database as most tests want it.
pub(crate) fn open_postgres(url: &str) -> PostgresRepository {
    let clock = Arc::new(ManualClock::default());
    let database = Database::parse(url, None).unwrap();
    PostgresRepository::open(&database, PostgresOptions::default(), clock, Arc::new(())).unwrap()
}

/// Remembers what it was told.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) groups: Mutex<Vec<(usize, bool)>>,
    pub(crate) warnings: Mutex<Vec<String>>,
    pub(crate) connected: Mutex<Vec<Purpose>>,
    pub(crate) reading: Mutex<Vec<usize>>,
    pub(crate) retried: Mutex<Vec<String>>,
    pub(crate) fatal: Mutex<Vec<Reason>>,
}

impl CommitObserver for Recorder {
    fn group(&self, sets: usize, synced: bool, _took: Span) {
        self.groups.lock().unwrap().push((sets, synced));
    }

    fn applied(&self, _sets: usize, _took: Span) {}

    fn connected(&self, purpose: Purpose) {
        self.connected.lock().unwrap().push(purpose);
    }

    fn reading(&self, connections: usize) {
        self.reading.lock().unwrap().push(connections);
    }

    fn retried(&self, code: &str) {
        self.retried.lock().unwrap().push(code.to_owned());
    }

    fn warning(&self, message: &str) {
        self.warnings.lock().unwrap().push(message.to_owned());
    }

    fn fatal(&self, error: &Error) {
        self.fatal.lock().unwrap().push(error.reason());
    }
}
