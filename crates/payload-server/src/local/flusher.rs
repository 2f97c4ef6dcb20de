//! One thread for all sessions whose clients do not read: it sends on when they do, and gives them up when they do not.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use payload_core::port::Clock;
use payload_core::{Instant, Span};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::outbox::{Outbox, Stall};

/// How often a client is looked at that has unread descriptors: the kernel does not tell when it has read them.
const UNREAD_FDS_LOOK: Span = Span::from_millis(5);

/// Sleeps while every client reads.
pub(crate) struct Flusher {
    arrivals: Mutex<Arrivals>,
    wake: OwnedFd,
    clock: Arc<dyn Clock>,
    patience: Span,
}

#[derive(Default)]
struct Arrivals {
    outboxes: Vec<Arc<Outbox>>,
    stop: bool,
}

struct Stalled {
    outbox: Arc<Outbox>,
    since: Instant,
    stall: Stall,
}

impl Flusher {
    /// Clients that do not read for as long as `patience` lose their session.
    pub(crate) fn start(clock: Arc<dyn Clock>, patience: Span) -> std::io::Result<(Arc<Self>, JoinHandle<()>)> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let flusher = Arc::new(Self {
            arrivals: Mutex::default(),
            wake,
            clock,
            patience,
        });
        let worker = Arc::clone(&flusher);
        let thread = std::thread::Builder::new()
            .name("flusher".into())
            .spawn(move || worker.run())?;
        Ok((flusher, thread))
    }

    /// Takes over an outbox with waiting messages.
    pub(super) fn watch(&self, outbox: Arc<Outbox>) {
        self.arrivals.lock().outboxes.push(outbox);
        self.ring();
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.arrivals.lock().stop = true;
        self.ring();
    }

    fn ring(&self) {
        // A full counter means that it rings already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn run(&self) {
        let mut stalled: Vec<Stalled> = Vec::new();
        loop {
            let mut arrivals = self.arrivals.lock();
            if arrivals.stop {
                return;
            }
            let now = self.clock.now();
            stalled.extend(arrivals.outboxes.drain(..).map(|outbox| Stalled {
                outbox,
                since: now,
                stall: Stall::Full,
            }));
            drop(arrivals);
            stalled.retain_mut(|client| self.look(client));
            self.sleep(&stalled);
        }
    }

    /// Sends what can be sent; whether the client must be watched on.
    fn look(&self, client: &mut Stalled) -> bool {
        client.stall = client.outbox.flush();
        if client.stall == Stall::None {
            return false;
        }
        let patient = self.clock.now().since(client.since) < self.patience;
        if !patient {
            tracing::warn!(patience = ?self.patience, "a client does not read; its session is closed");
            client.outbox.give_up();
        }
        patient
    }

    /// Until something can be sent, somebody's time is over, or somebody new stalls.
    fn sleep(&self, stalled: &[Stalled]) {
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        let full = stalled.iter().filter(|client| client.stall == Stall::Full);
        fds.extend(full.map(|client| PollFd::new(client.outbox.connection(), PollFlags::OUT)));
        let timeout = if stalled.iter().any(|client| client.stall == Stall::UnreadFds) {
            Some(UNREAD_FDS_LOOK)
        } else {
            let now = self.clock.now();
            stalled
                .iter()
                .map(|client| client.since.after(self.patience).since(now) + Span::from_millis(1))
                .min()
        };
        let timeout = timeout.and_then(|span| Timespec::try_from(span).ok());
        // An interrupted or failed poll only means looking again.
        let _ = poll(&mut fds, timeout.as_ref());
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
    }
}
