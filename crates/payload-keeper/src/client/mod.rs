//! The server's side of the keeper: stores what must outlive the server, and replaces a keeper that died.

mod names;
mod none;
mod repair;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use payload_core::port::FdStore;
use payload_core::sync::Group;
use payload_core::{Error, Reason, Result, SegmentId, Span};

use crate::protocol::{BATCH_MAX, Fate, Operation, Refusal, Reply, Request, VERSION};
use crate::wire::{Channel, unexpected};
use names::Names;
pub use none::NoKeeper;

/// How often a call goes out again over a connection that was repaired.
const ATTEMPTS_MAX: usize = 2;

/// What the client needs to know.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The data directory.
    pub directory: PathBuf,
    /// The command that starts a keeper with [`crate::Start::Adopt`] for the same directory, in place of one that died.
    pub respawn: Vec<OsString>,
    /// How long a call waits for a reply, and for a repair.
    pub patience: Span,
}

/// Whether the keeper is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Everything is kept.
    Up,
    /// The keeper is being replaced; what was stored would not survive the server's death now.
    Repairing,
    /// The client is shutting down.
    Closed,
}

/// The connection of the server to its keeper.
///
/// A thread of its own waits for the end of the connection and repairs it: it reaches the keeper again, or starts a new one, and
/// stores everything again. Calls wait for the repair, but not longer than the patience of the options.
#[derive(Debug)]
pub struct KeeperClient {
    shared: Arc<Shared>,
    repairer: Option<JoinHandle<()>>,
}

/// Gives a duplicate of a segment's descriptor, if the segment still exists.
type Source = Box<dyn Fn(SegmentId) -> Option<OwnedFd> + Send + Sync>;

type Change = (Operation, SegmentId, Option<OwnedFd>);

struct Shared {
    options: ClientOptions,
    state: Mutex<State>,
    changed: Condvar,
    names: Mutex<Names>,
    source: OnceLock<Source>,
    group: Group<Change, Result<()>>,
    ready: AtomicBool,
    stopping: AtomicBool,
}

#[derive(Debug)]
enum State {
    Up(Arc<Channel>),
    Repairing,
    Closed,
}

impl KeeperClient {
    /// Says hello to the keeper that started this process.
    ///
    /// # Errors
    ///
    /// `KeeperUnavailable` if there is no keeper, or it is not this process that it supervises.
    pub fn connect(options: ClientOptions) -> Result<Self> {
        let channel = Channel::connect(&options.directory, options.patience)
            .and_then(|channel| {
                channel.tell(&Request::Hello { version: VERSION })?;
                Ok(Arc::new(channel))
            })
            .map_err(|error| unavailable("the keeper cannot be reached").source(error))?;
        let shared = Arc::new(Shared {
            options,
            state: Mutex::new(State::Up(channel)),
            changed: Condvar::new(),
            names: Mutex::default(),
            source: OnceLock::new(),
            group: Group::new(BATCH_MAX),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        });
        let repairing = Arc::clone(&shared);
        let repairer = std::thread::Builder::new()
            .name("keeper-repair".into())
            .spawn(move || repair::run(&repairing))
            .map_err(|error| unavailable("the thread that repairs cannot be started").source(error))?;
        Ok(Self {
            shared,
            repairer: Some(repairer),
        })
    }

    /// Names the owner of the segments, who is asked for duplicates of their descriptors when a new keeper must be given all
    /// of them. Until then a keeper that dies is not replaced. Only the first call counts.
    ///
    /// The owner answers for a segment until it removes it, and from the end of its `store` on at the latest.
    pub fn set_source(&self, source: impl Fn(SegmentId) -> Option<OwnedFd> + Send + Sync + 'static) {
        let _later = self.shared.source.set(Box::new(source));
        // Under the lock, so that the repairer cannot look before and sleep after.
        let _state = self.shared.state();
        self.shared.changed.notify_all();
    }

    /// Tells the keeper that the server serves: from now on it is restarted whatever it dies of.
    pub fn ready(&self) -> Result<()> {
        self.shared.ready.store(true, Ordering::SeqCst);
        self.shared.tell(&Request::Ready)
    }

    /// Tells the keeper that the server stops gracefully and is not to be started again, and what becomes of the segments.
    /// A keeper that dies from now on is not replaced.
    pub fn stopping(&self, fate: Fate) -> Result<()> {
        let told = self.shared.tell(&Request::Stopping(fate));
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _state = self.shared.state();
        self.shared.changed.notify_all();
        told
    }

    /// Whether the keeper is there.
    pub fn state(&self) -> Link {
        match *self.shared.state() {
            State::Up(_) => Link::Up,
            State::Repairing => Link::Repairing,
            State::Closed => Link::Closed,
        }
    }
}

impl FdStore for KeeperClient {
    fn store(&self, segment: SegmentId, fd: BorrowedFd<'_>) -> Result<()> {
        let duplicate = || {
            fd.try_clone_to_owned().map_err(|error| {
                Error::new(Reason::SegmentsExhausted, "no file descriptor to spare for the keeper").source(error)
            })
        };
        let (sent, kept) = (duplicate()?, duplicate()?);
        // Before the call: a keeper that dies right after its acknowledgement is replaced by one that knows the segment.
        self.shared.names().add_recent(segment, kept);
        let result = self.shared.change((Operation::Store, segment, Some(sent)));
        if result.is_err() {
            self.shared.names().remove(segment);
        }
        result
    }

    fn remove(&self, segment: SegmentId) -> Result<()> {
        self.shared.names().remove(segment);
        let result = self.shared.change((Operation::Remove, segment, None));
        if result.is_err() {
            // Its owner still has it and will come again.
            self.shared.names().add(segment);
        }
        result
    }

    fn list(&self) -> Result<Vec<(SegmentId, OwnedFd)>> {
        let listed = self.shared.attempt(|channel| {
            let mut listed = Vec::new();
            channel.list(|segment, fd| listed.push((segment, fd)))?;
            Ok(listed)
        })?;
        let mut names = self.shared.names();
        for (segment, _) in &listed {
            names.add(*segment);
        }
        Ok(listed)
    }
}

impl Drop for KeeperClient {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut *self.shared.state(), State::Closed);
        self.shared.changed.notify_all();
        if let State::Up(channel) = state {
            channel.close();
        }
        if let Some(repairer) = self.repairer.take()
            && repairer.join().is_err()
        {
            tracing::error!("the thread that repairs the keeper panicked");
        }
    }
}

impl Shared {
    fn change(&self, change: Change) -> Result<()> {
        self.group.run(change, |changes| self.change_all(&changes))
    }

    /// One round trip for changes that came together.
    fn change_all(&self, changes: &[Change]) -> Vec<Result<()>> {
        match self.attempt(|channel| send(channel, changes)) {
            Ok(room) => room
                .into_iter()
                .map(|room| if room { Ok(()) } else { Err(full()) })
                .collect(),
            Err(error) => changes.iter().map(|_| Err(copy(&error))).collect(),
        }
    }

    fn tell(&self, request: &Request) -> Result<()> {
        self.attempt(|channel| channel.tell(request).map(drop))
    }

    /// Calls the keeper, and calls it again after a repair if the connection broke: every request may be repeated.
    fn attempt<T>(&self, call: impl Fn(&Channel) -> io::Result<T>) -> Result<T> {
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            let channel = self.channel()?;
            match call(&channel) {
                Ok(result) => return Ok(result),
                Err(error) => last = Some(error),
            }
            self.broken(&channel);
        }
        let error = unavailable("the keeper does not answer").outcome_unknown();
        Err(match last {
            Some(last) => error.source(last),
            None => error,
        })
    }

    /// The channel, after the repair if one is going on.
    fn channel(&self) -> Result<Arc<Channel>> {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), self.options.patience, |state| {
                matches!(state, State::Repairing) && !self.stopping.load(Ordering::SeqCst)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Up(channel) => Ok(Arc::clone(channel)),
            State::Repairing => Err(unavailable("the keeper is being replaced")),
            State::Closed => Err(unavailable("the connection to the keeper was closed")),
        }
    }

    /// Leaves a channel that failed to the repairer, which waits for its end.
    fn broken(&self, channel: &Arc<Channel>) {
        channel.close();
        let mut state = self.state();
        if matches!(&*state, State::Up(current) if Arc::ptr_eq(current, channel)) {
            *state = State::Repairing;
            self.changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Sends changes; says for each whether there was room.
fn send(channel: &Channel, changes: &[Change]) -> io::Result<Vec<bool>> {
    let message = changes.iter().map(|(operation, segment, _)| (*operation, *segment));
    let fds: Vec<BorrowedFd<'_>> = changes
        .iter()
        .filter_map(|(_, _, fd)| Some(fd.as_ref()?.as_fd()))
        .collect();
    let (reply, _) = channel.call(&Request::Change(message.collect()), &fds)?;
    match reply {
        Reply::Changed(room) if room.len() == changes.len() => Ok(room),
        // Nothing of the message was done, because its descriptors did not fit.
        Reply::Refused {
            why: Refusal::Unreadable,
            ..
        } => Ok(vec![false; changes.len()]),
        reply => Err(unexpected(&reply)),
    }
}

fn unavailable(message: &'static str) -> Error {
    Error::new(Reason::KeeperUnavailable, message)
}

fn full() -> Error {
    Error::new(Reason::SegmentsExhausted, "the keeper has no place to spare")
}

/// The same error for each member of a group.
fn copy(error: &Error) -> Error {
    let copy = Error::new(error.reason(), error.message().to_owned());
    match error.outcome() {
        payload_core::Outcome::Unknown => copy.outcome_unknown(),
        payload_core::Outcome::NotApplied => copy,
    }
}
