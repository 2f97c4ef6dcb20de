//! What a keeper is told when it starts.

use std::ffi::OsString;
use std::path::PathBuf;

use payload_core::Span;

/// How a keeper comes to its descriptors and its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Takes over from a keeper that holds on, if there is one, and starts the server.
    Serve,
    /// Supervises the running server whose connection is on standard input.
    Adopt,
    /// Takes over from the keeper in the foreground and holds on without a server.
    Hold,
}

/// Settings of a keeper.
#[derive(Clone, Debug)]
pub struct KeeperOptions {
    /// The data directory; the socket is `keeper.sock` in it.
    pub directory: PathBuf,
    /// What this keeper is for.
    pub start: Start,
    /// The command that starts the server: program and arguments.
    pub server: Vec<OsString>,
    /// The command that starts a keeper with [`Start::Hold`] for the same directory.
    pub hold: Vec<OsString>,
    /// How long descriptors are held after a graceful stop of the server; zero drops them at once.
    pub linger: Span,
    /// How eagerly a server that died is started again.
    pub backoff: Backoff,
}

/// How eagerly a server that died is started again: at once, then after `first`, then after twice as long each time.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The wait after the second death in a row.
    pub first: Span,
    /// The longest wait.
    pub max: Span,
    /// Deaths no longer count as a row when the server was ready for this long.
    pub steady: Span,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Span::from_millis(100),
            max: Span::from_secs(5),
            steady: Span::from_secs(10),
        }
    }
}
