//! Moves the log into the database behind the commits' backs.
//!
//! SQLite would do this inside whichever commit makes the log too long: that one would wait for two fsyncs, even if it
//! is volatile and owes nobody any. A thread does it instead. It first moves what it can while commits go on, and then
//! holds them up only for the rest, so that the log can begin anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use payload_core::Span;
use payload_core::sync::Signal;
use rusqlite::Connection;

use super::fault::Fault;

/// How long commits are held up for readers that still need the old log; then the next attempt is left to later.
const READERS_TIMEOUT: Span = Span::from_millis(100);

/// The thread, which ends when this is dropped.
pub(super) struct Checkpointer {
    watch: Arc<LogWatch>,
    thread: Option<JoinHandle<()>>,
}

/// Sees how the log grows, and wakes the thread.
pub(super) struct LogWatch {
    wake: Signal,
    stop: AtomicBool,
    pages_max: u32,
    /// The length of the log at which the thread is woken next.
    wake_at: AtomicU32,
}

impl LogWatch {
    /// For a log that is kept at about `pages_max` pages.
    pub(super) fn new(pages_max: u32) -> Self {
        Self {
            wake: Signal::new(),
            stop: AtomicBool::new(false),
            pages_max,
            wake_at: AtomicU32::new(pages_max),
        }
    }

    /// Says how long the log is.
    pub(super) fn notice(&self, pages: u32) {
        if pages >= self.wake_at.load(Ordering::Relaxed) {
            self.wake.raise();
        }
    }
}

/// What the thread needs of the repository.
pub(super) trait Host: Send + Sync + 'static {
    /// Whether a fault has ended all writing; checkpoints write too.
    fn has_ended(&self) -> bool;

    /// Calls `work` while nobody commits; not at all once writing has ended.
    fn without_commits(&self, work: &mut dyn FnMut());

    /// Deals with a failure.
    fn failed(&self, fault: Fault);
}

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn start(conn: Connection, watch: Arc<LogWatch>, host: Arc<dyn Host>) -> std::io::Result<Self> {
        let thread = std::thread::Builder::new().name("catalog-checkpoint".into()).spawn({
            let watch = Arc::clone(&watch);
            move || work(&watch, &conn, &*host)
        })?;
        Ok(Self {
            watch,
            thread: Some(thread),
        })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.watch.stop.store(true, Ordering::Relaxed);
        self.watch.wake.raise();
        if let Some(thread) = self.thread.take() {
            // Its panic has been reported by the panic hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn work(watch: &LogWatch, conn: &Connection, host: &dyn Host) {
    loop {
        watch.wake.wait(None);
        if host.has_ended() {
            return;
        }
        let stop = watch.stop.load(Ordering::Relaxed);
        match run(conn, host) {
            Ok(Log { begins_anew: true, .. }) => watch.wake_at.store(watch.pages_max, Ordering::Relaxed),
            Ok(Log { pages, .. }) => {
                let later = pages.saturating_add(watch.pages_max);
                watch.wake_at.store(later, Ordering::Relaxed);
            }
            Err(fault) => {
                // A full disk lets the log grow on; it is looked at again when it has.
                watch.wake_at.fetch_add(watch.pages_max, Ordering::Relaxed);
                host.failed(fault);
            }
        }
        if stop {
            return;
        }
    }
}

struct Log {
    pages: u32,
    begins_anew: bool,
}

fn run(conn: &Connection, host: &dyn Host) -> Result<Log, Fault> {
    let passed = checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)")?;
    let mut rest = Ok(passed);
    host.without_commits(&mut || rest = checkpoint(conn, "PRAGMA wal_checkpoint(RESTART)"));
    rest
}

fn checkpoint(conn: &Connection, pragma: &str) -> Result<Log, Fault> {
    conn.busy_timeout(READERS_TIMEOUT)?;
    let (busy, pages): (i64, i64) = conn.query_row(pragma, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Log {
        pages: u32::try_from(pages).unwrap_or(0),
        begins_anew: busy == 0,
    })
}
