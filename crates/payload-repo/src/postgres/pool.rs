//! A few connections for reads, opened when they are needed and replaced when they are lost.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::connect::{Conn, Session};
use super::fault::Fault;
use super::options::Target;
use super::{sql, streams};
use crate::observer::{CommitObserver, Purpose};

const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Connections that nobody is using, and places for those that are not open.
pub(super) struct Pool {
    target: Arc<Target>,
    observer: Arc<dyn CommitObserver>,
    idle: Mutex<Vec<Option<Conn>>>,
    freed: Condvar,
}

impl Pool {
    /// With one connection open, the others to come.
    pub(super) fn open(target: Arc<Target>, observer: Arc<dyn CommitObserver>) -> Result<Self, Fault> {
        let pool = Self {
            idle: Mutex::new((0..target.options.readers).map(|_| None).collect()),
            freed: Condvar::new(),
            observer,
            target,
        };
        let mut lent = pool.take();
        lent.conn = Some(pool.connect()?);
        drop(lent);
        Ok(pool)
    }

    /// Lends a connection to `work`; waits while all are lent. Reads change nothing, so what failed because a connection
    /// broke while it was idle is done once more with a new one.
    pub(super) fn read<T>(&self, work: &dyn Fn(&Conn) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut lent = self.take();
        if lent.is_open() {
            match lent.run(work) {
                Err(fault) if fault.is_lost() => {}
                result => return result,
            }
        }
        lent.conn = Some(self.connect()?);
        lent.run(work)
    }

    /// The same for work of several statements, which see one snapshot.
    pub(super) fn snapshot<T>(&self, work: impl Fn(&Conn) -> Result<T, Fault>) -> Result<T, Fault> {
        self.read(&|conn| {
            conn.run(async |session: &Session| session.batch(SNAPSHOT).await)?;
            let result = work(conn);
            if !result.as_ref().is_err_and(Fault::spoils_connection) {
                conn.run(async |session: &Session| session.batch("ROLLBACK").await)?;
            }
            result
        })
    }

    fn connect(&self) -> Result<Conn, Fault> {
        let conn = Conn::open(&self.target, &[sql::SHARED, sql::READS, streams::sql::READS])?;
        self.observer.connected(Purpose::Read);
        Ok(conn)
    }

    fn take(&self) -> Lent<'_> {
        let mut idle = self.idle.lock();
        loop {
            match idle.pop() {
                Some(conn) => {
                    self.observer.reading(self.target.options.readers - idle.len());
                    return Lent { pool: self, conn };
                }
                None => self.freed.wait(&mut idle),
            }
        }
    }
}

/// Goes back to the pool even if its user panics.
struct Lent<'a> {
    pool: &'a Pool,
    conn: Option<Conn>,
}

impl Lent<'_> {
    fn is_open(&self) -> bool {
        self.conn.as_ref().is_some_and(|conn| !conn.is_closed())
    }

    /// Nobody gets the connection after this if the failure leaves it useless.
    fn run<T>(&mut self, work: &dyn Fn(&Conn) -> Result<T, Fault>) -> Result<T, Fault> {
        let result = work(self.conn.as_ref().expect("is open"));
        if result.as_ref().is_err_and(Fault::spoils_connection) {
            self.conn = None;
        }
        result
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock();
        idle.push(self.conn.take());
        self.pool
            .observer
            .reading(self.pool.target.options.readers - idle.len());
        drop(idle);
        self.pool.freed.notify_one();
    }
}
