//! The floor of a durable commit: one row, inserted through the same driver, fsynced, on the same file system.

use std::path::Path;

use anyhow::Result;
use payload_core::Span;
use rusqlite::Connection;

use crate::clock::Moment;

/// About as much as the catalog writes for a small payload: its row, its replica, its event, its request.
const ROW: usize = 512;

/// About as much as an entry of a stream.
const ENTRY: usize = 100;

/// A database with one table.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    last: i64,
}

impl Database {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch("PRAGMA synchronous = FULL; CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB)")?;
        Ok(Self { connection, last: 0 })
    }

    /// One transaction with one insertion.
    pub(crate) fn insert(&mut self) -> Result<Span> {
        self.last += 1;
        let began = Moment::now();
        let mut statement = self.connection.prepare_cached("INSERT INTO rows VALUES (?, ?)")?;
        statement.execute((self.last, [7u8; ROW].as_slice()))?;
        Ok(began.elapsed())
    }

    /// One transaction with so many insertions.
    pub(crate) fn insert_many(&mut self, rows: usize) -> Result<Span> {
        let began = Moment::now();
        let transaction = self.connection.transaction()?;
        for _ in 0..rows {
            self.last += 1;
            let mut statement = transaction.prepare_cached("INSERT INTO rows VALUES (?, ?)")?;
            statement.execute((self.last, [7u8; ENTRY].as_slice()))?;
        }
        transaction.commit()?;
        Ok(began.elapsed())
    }
}
