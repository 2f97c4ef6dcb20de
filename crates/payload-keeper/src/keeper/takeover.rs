//! How a keeper that starts comes to the socket, and to what an earlier keeper holds.

use std::io::{self, ErrorKind};
use std::path::Path;

use payload_core::{Error, Reason, Result, Span};
use payload_socket::Listener;

use super::segments::Segments;
use crate::options::Start;
use crate::protocol::{Reply, Request, VERSION};
use crate::wire::{Channel, unexpected};

/// How long an earlier keeper may take for one reply.
const PATIENCE: Span = Span::from_secs(10);

/// How often a keeper may vanish between our finding its socket and our asking it.
const ATTEMPTS_MAX: usize = 16;

/// The socket, and everything that an earlier keeper held.
pub(crate) fn acquire(directory: &Path, start: Start) -> Result<(Listener, Segments)> {
    let path = crate::socket_path(directory);
    for _ in 0..ATTEMPTS_MAX {
        if start != Start::Hold {
            match Listener::bind(&path, 0o600) {
                Ok(listener) => return Ok((listener, Segments::new())),
                Err(error) if error.kind() == ErrorKind::AddrInUse && start == Start::Serve => {}
                Err(error) => return Err(unavailable("the keeper's socket cannot be bound", error)),
            }
        }
        match Channel::connect(directory, PATIENCE) {
            Ok(channel) => return take_over(&channel, &path),
            Err(error) if gone(&error) && start == Start::Serve => {}
            Err(error) => return Err(unavailable("the earlier keeper cannot be reached", error)),
        }
    }
    Err(Error::new(
        Reason::KeeperUnavailable,
        "keepers of this data directory come and go",
    ))
}

fn take_over(channel: &Channel, path: &Path) -> Result<(Listener, Segments)> {
    let unavailable = |error| unavailable("the earlier keeper does not hand over", error);
    let (reply, fds) = channel
        .call(&Request::Takeover { version: VERSION }, &[])
        .map_err(unavailable)?;
    let (Reply::Done, Some(socket)) = (&reply, fds.into_iter().next()) else {
        return Err(Error::new(Reason::KeeperUnavailable, unexpected(&reply).to_string()));
    };
    let mut segments = Segments::new();
    let mut lost = 0;
    channel
        .list(|segment, fd| lost += usize::from(!segments.store(segment, fd)))
        .map_err(unavailable)?;
    if lost > 0 {
        return Err(Error::new(
            Reason::SegmentsExhausted,
            format!("no room for {lost} of the earlier keeper's segments: raise the limit of open files"),
        ));
    }
    let listener = Listener::inherit(socket, path).map_err(unavailable)?;
    // From here on the segments are ours, whether or not the reply arrives: the earlier keeper exits when it reads this.
    if let Err(error) = channel.tell(&Request::Taken) {
        tracing::warn!(%error, "the earlier keeper did not say goodbye");
    }
    tracing::info!(segments = segments.len(), "took over from an earlier keeper");
    Ok((listener, segments))
}

/// Whether there was nobody to connect to.
fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn unavailable(message: &'static str, error: io::Error) -> Error {
    Error::new(Reason::KeeperUnavailable, message).source(error)
}
