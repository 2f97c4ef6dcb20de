//! The keeper's process: one thread, one `poll`, one phase after the other.
//!
//! ```text
//!             ┌──────────── restart ───────────┐
//!             ▼                                │
//!  Serve ─► Waiting ─► Serving ─► server ends ─┴─ finish ─► HandingOver ─► (heir took over) exit
//!             Adopt ──────▲                           │          │ heir died
//!                                                     └────────► Holding ─► (time is over, or taken over) exit
//!                                                    Hold ─────────▲
//! ```

mod desk;
mod policy;
mod process;
mod segments;
mod signals;
mod takeover;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use payload_core::port::Clock;
use payload_core::{Error, Instant, Reason, Result, Span};
use payload_socket::{Listener, Seqpacket, out_of_descriptors};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::options::{KeeperOptions, Start};
use crate::protocol::Fate;
use desk::{Desk, Notice, Scene};
use policy::{Restarts, Standing, Verdict, verdict};
use process::{Place, Process};
use signals::Signals;

/// How long nobody is let in when descriptors have run out.
const ACCEPT_PAUSE: Span = Span::from_millis(100);

/// Runs a keeper until it has nothing left to do. The calling process must be single-threaded and its own: it gets
/// signal handlers for SIGTERM, SIGINT and SIGHUP.
///
/// The exit code is the server's, of its graceful end or of its failure to become ready.
///
/// # Errors
///
/// `KeeperUnavailable` if the keeper could not start: another one is at work in this directory, or there is nothing to
/// take over or to adopt.
pub fn run(options: &KeeperOptions, clock: &dyn Clock) -> Result<ExitCode> {
    let mut keeper = Keeper::start(options, clock)?;
    loop {
        if let Phase::Done { code, heir } = keeper.phase {
            if !heir {
                // The file would only mislead: a later keeper replaces it anyway.
                let _misleading = keeper.listener.remove();
            }
            return Ok(ExitCode::from(code));
        }
        keeper
            .turn()
            .map_err(|error| Error::new(Reason::Internal, "the keeper cannot poll").source(error))?;
    }
}

struct Keeper<'a> {
    options: &'a KeeperOptions,
    clock: &'a dyn Clock,
    signals: Signals,
    listener: Listener,
    accept_from: Option<Instant>,
    desk: Desk,
    phase: Phase,
    restarts: Restarts,
    standing: Standing,
}

#[derive(Debug)]
enum Phase {
    /// The server is to be started at a moment that has not come yet.
    Waiting { until: Instant },
    /// The server runs.
    Serving { server: Process, ready_at: Option<Instant> },
    /// The server has stopped, and a keeper in the background is to take over.
    HandingOver { heir: Process, code: u8 },
    /// The server has stopped, and this keeper holds on.
    Holding { until: Instant, code: u8 },
    /// Nothing is left to do; the socket belongs to an heir, or to nobody.
    Done { code: u8, heir: bool },
}

/// What `poll` found.
struct Ready {
    signal: bool,
    visitor: bool,
    process: bool,
    connections: Vec<usize>,
}

impl<'a> Keeper<'a> {
    fn start(options: &'a KeeperOptions, clock: &'a dyn Clock) -> Result<Self> {
        let failed = |message, error: io::Error| Error::new(Reason::KeeperUnavailable, message).source(error);
        // Before anything else, so that no moment is left in which a signal would end the process with what it holds.
        let signals = Signals::new().map_err(|error| failed("signals cannot be handled", error))?;
        if options.start == Start::Hold {
            // Fails only for the leader of a process group: somebody started it by hand, in a terminal of their choice.
            let _free = rustix::process::setsid();
        }
        let (listener, segments) = takeover::acquire(&options.directory, options.start)?;
        listener
            .set_nonblocking(true)
            .map_err(|error| failed("the keeper's socket cannot be used", error))?;
        let mut desk = Desk::new(segments);
        let now = clock.now();
        let phase = match options.start {
            Start::Serve => Phase::Waiting { until: now },
            Start::Adopt => adopt(&mut desk).map_err(|error| failed("there is no server to adopt", error))?,
            Start::Hold => Phase::Holding {
                until: now.after(options.linger),
                code: 0,
            },
        };
        Ok(Self {
            options,
            clock,
            signals,
            listener,
            accept_from: None,
            desk,
            phase,
            restarts: Restarts::new(options.backoff),
            standing: Standing::default(),
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        let ready = self.wait()?;
        if ready.signal {
            self.signals.drain();
            self.terminate();
        }
        // Before the connections: what a dead server sent last is still answered, but it is told apart from its successor.
        for index in ready.connections.into_iter().rev() {
            self.serve(index);
        }
        if ready.process {
            self.process_ended();
        }
        if ready.visitor {
            self.admit();
        }
        self.due();
        Ok(())
    }

    /// Waits until something happens or is due.
    fn wait(&self) -> io::Result<Ready> {
        let process = match &self.phase {
            Phase::Serving { server, .. } => Some(server.pidfd()),
            Phase::HandingOver { heir, .. } => Some(heir.pidfd()),
            _ => None,
        };
        let visitors = self.accept_from.is_none().then(|| self.listener.as_fd());
        let fixed = [Some(self.signals.as_fd()), visitors, process];
        let connections = self.desk.sockets();
        let mut polled: Vec<PollFd<'_>> = fixed.into_iter().flatten().chain(connections).map(readable).collect();
        let timeout = self.deadline().map(|at| at.since(self.clock.now()));
        // A span too long for the kernel means to wait for something else.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut found = polled.iter().map(|fd| !fd.revents().is_empty());
        let mut next = |present: bool| present && found.next().unwrap_or(false);
        Ok(Ready {
            signal: next(true),
            visitor: next(visitors.is_some()),
            process: next(process.is_some()),
            connections: found
                .enumerate()
                .filter_map(|(index, ready)| ready.then_some(index))
                .collect(),
        })
    }

    fn deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Waiting { until } => Some(until),
            // An heir that has begun is not raced against.
            Phase::Holding { until, .. } if !self.desk.has_heir() => Some(until),
            _ => None,
        };
        phase.into_iter().chain(self.accept_from).min()
    }

    fn due(&mut self) {
        let now = self.clock.now();
        if self.accept_from.is_some_and(|from| from <= now) {
            self.accept_from = None;
        }
        match self.phase {
            Phase::Waiting { until } if until <= now => match serve(self.options) {
                Ok(phase) => self.phase = phase,
                Err(error) => {
                    tracing::error!(%error, "the server cannot be started");
                    if self.standing.ever_ready {
                        self.restart(None);
                    } else {
                        self.finish(1, Fate::Keep);
                    }
                }
            },
            Phase::Holding { until, code } if until <= now && !self.desk.has_heir() => {
                tracing::info!(segments = self.desk.segments.len(), "the time to hold is over");
                self.phase = Phase::Done { code, heir: false };
            }
            _ => {}
        }
    }

    /// A signal asked for the end: the server is asked in turn; without a server this is the end.
    fn terminate(&mut self) {
        self.standing.terminating = true;
        match &self.phase {
            Phase::Serving { server, .. } => server.terminate(),
            Phase::Waiting { .. } => self.finish(0, Fate::Keep),
            Phase::Holding { code, .. } => {
                self.phase = Phase::Done {
                    code: *code,
                    heir: false,
                }
            }
            // The heir takes over or fails in a moment, and a second Ctrl-C must not drop what the first one kept.
            Phase::HandingOver { .. } | Phase::Done { .. } => {}
        }
    }

    fn admit(&mut self) {
        match self.listener.accept() {
            Ok(Some(socket)) => self.desk.admit(socket),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(%error, exhausted = out_of_descriptors(&error), "cannot let anybody in");
                self.accept_from = Some(self.clock.now().after(ACCEPT_PAUSE));
            }
        }
    }

    fn serve(&mut self, index: usize) {
        let server = match &self.phase {
            Phase::Serving { server, .. } => Some(server.pid()),
            _ => None,
        };
        let scene = Scene {
            server,
            heir_welcome: matches!(self.phase, Phase::HandingOver { .. } | Phase::Holding { .. }),
            listener: self.listener.as_fd(),
        };
        match self.desk.serve(index, &scene) {
            None => {}
            Some(Notice::Greeted) => self.standing.greeted = true,
            Some(Notice::Ready) => {
                self.standing.ever_ready = true;
                if let Phase::Serving { ready_at, .. } = &mut self.phase {
                    *ready_at = ready_at.or(Some(self.clock.now()));
                }
            }
            Some(Notice::Stopping(fate)) => self.standing.stopping = Some(fate),
            Some(Notice::Taken) => {
                if let Phase::HandingOver { code, .. } | Phase::Holding { code, .. } = self.phase {
                    self.phase = Phase::Done { code, heir: true };
                }
            }
        }
    }

    fn process_ended(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Done { code: 0, heir: false }) {
            Phase::Serving { server, ready_at } => {
                let pid = server.pid();
                let end = server.end();
                let verdict = verdict(end, self.standing);
                self.desk.forget_server();
                self.standing.greeted = false;
                tracing::info!(
                    pid,
                    ?end,
                    ?verdict,
                    segments = self.desk.segments.len(),
                    "the server ended"
                );
                match verdict {
                    Verdict::Restart => self.restart(ready_at.map(|at| self.clock.now().since(at))),
                    Verdict::Finish { code, fate } => self.finish(code, fate),
                }
            }
            Phase::HandingOver { heir, code } => {
                let end = heir.end();
                tracing::error!(
                    ?end,
                    "the keeper in the background did not take over; holding on in the foreground"
                );
                self.hold(code);
            }
            other => self.phase = other,
        }
    }

    fn restart(&mut self, ready_for: Option<Span>) {
        let wait = self.restarts.after_death(ready_for);
        let until = self.clock.now().after(wait);
        self.phase = Phase::Waiting { until };
    }

    /// The service is over: what is held stays for a while, behind the user's back if this is the foreground.
    fn finish(&mut self, code: u8, fate: Fate) {
        if fate == Fate::Drop || self.options.linger.is_zero() || self.desk.segments.len() == 0 {
            self.phase = Phase::Done { code, heir: false };
            return;
        }
        if self.options.start != Start::Serve {
            self.hold(code);
            return;
        }
        match Process::spawn(&self.options.hold, Place::Background) {
            Ok(heir) => self.phase = Phase::HandingOver { heir, code },
            Err(error) => {
                tracing::error!(%error, "no keeper in the background; holding on in the foreground");
                self.hold(code);
            }
        }
    }

    fn hold(&mut self, code: u8) {
        let until = self.clock.now().after(self.options.linger);
        self.phase = Phase::Holding { until, code };
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

fn serve(options: &KeeperOptions) -> io::Result<Phase> {
    let server = Process::spawn(&options.server, Place::Beside)?;
    tracing::info!(pid = server.pid(), "started the server");
    Ok(Phase::Serving { server, ready_at: None })
}

/// The server made the connection on standard input, so the kernel says which process it is.
fn adopt(desk: &mut Desk) -> io::Result<Phase> {
    let connection = Seqpacket::from(io::stdin().as_fd().try_clone_to_owned()?);
    let pid = u32::try_from(connection.peer()?.pid).map_err(io::Error::other)?;
    let server = Process::adopt(pid)?;
    desk.admit(connection);
    tracing::info!(pid, "adopted the server");
    Ok(Phase::Serving { server, ready_at: None })
}
