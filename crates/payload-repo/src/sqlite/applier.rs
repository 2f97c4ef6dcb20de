//! Brings the journal into the tables behind the commits' backs, many entries in one transaction, and what it carries to its
//! places on the device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use payload_core::Span;
use payload_core::sync::Signal;

/// How many entries are worth a transaction at once.
const ENOUGH: usize = 128;
/// How long fewer wait for more. Nobody waits for them: whoever reads the tables brings them up to date himself.
const GATHER: Span = Span::from_millis(10);
/// How long after a failure it is tried again.
const RETRY: Span = Span::from_millis(500);

/// The thread, which ends when this is dropped.
pub(super) struct Applier {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    wake: Signal,
    stop: AtomicBool,
}

/// What the thread does.
pub(super) trait Work: Send + Sync {
    /// Brings some of what is pending into the tables.
    fn apply_some(&self) -> Progress;
    /// Settles contents that have waited for long enough; how long others still have to, if there are any.
    fn settle_some(&self) -> Option<Span>;
    /// Comes at the end, if nothing is left.
    fn finish(&self);
}

/// What came of an attempt.
pub(super) enum Progress {
    /// Nothing is left.
    Done,
    /// There is more.
    More,
    /// What is left waits for its fsync.
    Waiting,
    /// The tables cannot take it now.
    Failed,
    /// They never will.
    Ended,
}

impl Applier {
    /// Starts the thread.
    pub(super) fn start(work: Arc<dyn Work>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("catalog-apply".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&*work)
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// An entry was written, and so many are pending with it.
    pub(super) fn notice(&self, pending: usize) {
        if pending == 1 || pending.is_multiple_of(ENOUGH) {
            self.shared.wake.raise();
        }
    }
}

impl Shared {
    fn run(&self, work: &dyn Work) {
        let mut pause = None;
        loop {
            self.wake.wait(pause);
            if !self.has_to_stop() {
                self.wake.wait(Some(GATHER));
            }
            loop {
                match work.apply_some() {
                    Progress::Done if self.has_to_stop() => return work.finish(),
                    Progress::Done => break,
                    Progress::More => {}
                    Progress::Waiting => self.wake.wait(Some(GATHER)),
                    Progress::Failed if self.has_to_stop() => return,
                    Progress::Failed => self.wake.wait(Some(RETRY)),
                    Progress::Ended => return,
                }
            }
            pause = work.settle_some();
        }
    }

    fn has_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake.raise();
        if let Some(thread) = self.thread.take() {
            // Its panic has been reported by the panic hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}
