//! Replaces a keeper that died: the server lives, so nothing is lost if it stores everything again.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use payload_core::{SegmentId, Span};
use payload_socket::Seqpacket;

use super::{Change, Shared, Source, State, send};
use crate::protocol::{BATCH_MAX, Operation, Request, VERSION};
use crate::wire::Channel;

/// The wait after the first repair that failed; it doubles each time.
const PAUSE_FIRST: Span = Span::from_millis(100);
const PAUSE_MAX: Span = Span::from_secs(5);

/// Waits for the connection's end, repairs it, and waits again, until the client closes or the server stops.
pub(super) fn run(shared: &Shared) {
    let mut pause = PAUSE_FIRST;
    while let Some(source) = broken(shared) {
        match repair(shared, source) {
            Ok(channel) => {
                let mut state = shared.state();
                if matches!(&*state, State::Repairing) {
                    *state = State::Up(Arc::new(channel));
                    shared.changed.notify_all();
                }
                pause = PAUSE_FIRST;
                tracing::info!("the keeper holds everything again");
            }
            Err(error) => {
                tracing::error!(%error, "the keeper cannot be replaced yet");
                wait(shared, pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Waits until a repair is needed and possible; `None` if there will be none any more.
fn broken(shared: &Shared) -> Option<&Source> {
    loop {
        let mut state = shared.state();
        if shared.stopping.load(Ordering::SeqCst) {
            return None;
        }
        let channel = match &*state {
            State::Closed => return None,
            State::Up(channel) => Arc::clone(channel),
            State::Repairing => match shared.source.get() {
                Some(source) => return Some(source),
                None => {
                    // Nobody could say what to store again: wait for the owner of the segments.
                    state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    drop(state);
                    continue;
                }
            },
        };
        drop(state);
        if let Err(error) = channel.wait_closed() {
            tracing::error!(%error, "cannot watch the keeper's connection");
        }
        if !shared.stopping.load(Ordering::SeqCst) && matches!(&*shared.state(), State::Up(_)) {
            tracing::warn!("the keeper is gone");
        }
        shared.broken(&channel);
    }
}

/// Waits, but not if the client closes meanwhile.
fn wait(shared: &Shared, pause: Span) {
    let going_on = |state: &mut State| matches!(state, State::Repairing) && !shared.stopping.load(Ordering::SeqCst);
    let waited = shared.changed.wait_timeout_while(shared.state(), pause, going_on);
    drop(waited.unwrap_or_else(PoisonError::into_inner));
}

/// A connection to a keeper that holds everything.
fn repair(shared: &Shared, source: &Source) -> io::Result<Channel> {
    let options = &shared.options;
    let channel = match Channel::connect(&options.directory, options.patience) {
        Ok(channel) => channel,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            start_keeper(shared)?
        }
        Err(error) => return Err(error),
    };
    channel.tell(&Request::Hello { version: VERSION })?;
    forget_removed(shared, &channel)?;
    let segments = shared.names().all();
    for batch in segments.chunks(BATCH_MAX) {
        store_again(shared, source, &channel, batch)?;
    }
    if shared.ready.load(Ordering::SeqCst) {
        channel.tell(&Request::Ready)?;
    }
    Ok(channel)
}

/// A keeper that was only out of reach may hold what has been removed meanwhile.
fn forget_removed(shared: &Shared, channel: &Channel) -> io::Result<()> {
    let mut removed: Vec<Change> = Vec::new();
    channel.list(|segment, _| {
        if !shared.names().contains(segment) {
            removed.push((Operation::Remove, segment, None));
        }
    })?;
    for batch in removed.chunks(BATCH_MAX) {
        send(channel, batch)?;
    }
    Ok(())
}

fn store_again(shared: &Shared, source: &Source, channel: &Channel, segments: &[SegmentId]) -> io::Result<()> {
    let mut changes: Vec<Change> = Vec::with_capacity(segments.len());
    for segment in segments {
        // The latest first: their owner may not know them yet.
        let recent = shared.names().recent(*segment);
        match recent.or_else(|| source(*segment)) {
            Some(fd) => changes.push((Operation::Store, *segment, Some(fd))),
            // It may have been removed since the names were read; else its owner gave it up without a word.
            None => shared.names().remove(*segment),
        }
    }
    if send(channel, &changes)?.contains(&false) {
        return Err(io::Error::other("the new keeper has no place for every segment"));
    }
    Ok(())
}

/// Starts a keeper in the background. Its standard input is the connection, so that there is no moment in which it could not
/// be reached, and no doubt whom it is to supervise.
fn start_keeper(shared: &Shared) -> io::Result<Channel> {
    let (ours, theirs) = Seqpacket::pair()?;
    let (program, arguments) = shared
        .options
        .respawn
        .split_first()
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "no command that starts a keeper"))?;
    // A process group of its own: Ctrl-C in a terminal is not meant for it.
    let mut keeper = Command::new(program)
        .args(arguments)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .process_group(0)
        .spawn()?;
    tracing::info!(pid = keeper.id(), "started a keeper");
    // It may die long after, and somebody has to reap it; the thread ends with it.
    std::thread::Builder::new()
        .name("keeper-reaper".into())
        .spawn(move || match keeper.wait() {
            Ok(status) => tracing::warn!(%status, "the keeper ended"),
            Err(error) => tracing::error!(%error, "cannot wait for the keeper"),
        })?;
    Ok(Channel::new(ours, shared.options.patience))
}
