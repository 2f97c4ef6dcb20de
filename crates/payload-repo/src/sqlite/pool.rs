//! A few connections that only read, so that no reader ever waits for the writer.

use std::path::Path;

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, OpenFlags};

use super::{SqliteOptions, fault::Fault};

/// Connections that nobody is using.
pub(super) struct Pool {
    idle: Mutex<Vec<Connection>>,
    freed: Condvar,
}

impl Pool {
    /// Opens them all, so that a missing file descriptor shows at the start and not under load.
    pub(super) fn open(path: &Path, options: &SqliteOptions) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || {
            let conn = Connection::open_with_flags(path, flags)?;
            conn.busy_timeout(options.busy_timeout)?;
            conn.set_prepared_statement_cache_capacity(super::STATEMENTS_CACHED);
            Ok(conn)
        };
        let idle: rusqlite::Result<Vec<_>> = (0..options.readers.max(1)).map(|_| connect()).collect();
        Ok(Self {
            idle: Mutex::new(idle?),
            freed: Condvar::new(),
        })
    }

    /// Lends a connection to `work`, inside one snapshot; waits while all are lent.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let lent = self.take();
        let snapshot = lent.conn().unchecked_transaction()?;
        work(&snapshot)
    }

    /// The same without a snapshot around it: each statement sees what is there when it begins.
    pub(super) fn look<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        work(self.take().conn())
    }

    fn take(&self) -> Lent<'_> {
        let mut idle = self.idle.lock();
        loop {
            match idle.pop() {
                Some(conn) => {
                    return Lent {
                        pool: self,
                        conn: Some(conn),
                    };
                }
                None => self.freed.wait(&mut idle),
            }
        }
    }
}

/// Goes back to the pool even if its user panics.
struct Lent<'a> {
    pool: &'a Pool,
    conn: Option<Connection>,
}

impl Lent<'_> {
    fn conn(&self) -> &Connection {
        self.conn.as_ref().expect("is there until the drop")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.idle.lock().extend(self.conn.take());
        self.pool.freed.notify_one();
    }
}
