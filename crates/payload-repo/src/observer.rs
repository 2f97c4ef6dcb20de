//! What a repository tells about its work, for metrics and for the end of the server.

use payload_core::{Error, Span};

/// Hears of every group commit, and of the fault that ends them.
pub trait CommitObserver: Send + Sync {
    /// `sets` change sets were committed together in `took`; `synced` if they waited for an fsync.
    fn group(&self, sets: usize, synced: bool, took: Span);

    /// So many change sets that had been acknowledged were brought into the tables in `took`.
    fn applied(&self, sets: usize, took: Span);

    /// A connection to a database was opened, for this.
    fn connected(&self, purpose: Purpose);

    /// So many connections are in use for reads now.
    fn reading(&self, connections: usize);

    /// A transaction was undone because of others, for which the database has this code, and is done again.
    fn retried(&self, code: &str);

    /// Something is not as it should be, and goes on all the same.
    fn warning(&self, message: &str);

    /// The repository takes no more writes, for good: its disk failed in the middle of a commit, or its file is
    /// damaged. The server must stop; what is true is found out at the next start. Called once.
    fn fatal(&self, error: &Error);
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Commits and all else that changes something.
    Write,
    /// Queries.
    Read,
    /// Word of other servers.
    Listen,
}

impl Purpose {
    /// Every purpose there is.
    pub const ALL: [Self; 3] = [Self::Write, Self::Read, Self::Listen];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Listen => "listen",
        }
    }
}

/// Nobody listens.
impl CommitObserver for () {
    fn group(&self, _sets: usize, _synced: bool, _took: Span) {}

    fn applied(&self, _sets: usize, _took: Span) {}

    fn connected(&self, _purpose: Purpose) {}

    fn reading(&self, _connections: usize) {}

    fn retried(&self, _code: &str) {}

    fn warning(&self, _message: &str) {}

    fn fatal(&self, _error: &Error) {}
}
