//! What a repository tells about its work, for metrics and for the end of the server.

use payload_core::{Error, Span};

/// Hears of every group commit, and of the fault that ends them.
pub trait CommitObserver: Send + Sync {
    /// `sets` change sets were committed together in `took`; `synced` if they waited for an fsync.
    fn group(&self, sets: usize, synced: bool, took: Span);

    /// So many change sets that had been acknowledged were brought into the tables in `took`.
    fn applied(&self, sets: usize, took: Span);

    /// Something is not as it should be, and goes on all the same.
    fn warning(&self, message: &str);

    /// The repository takes no more writes, for good: its disk failed in the middle of a commit, or its file is
    /// damaged. The server must stop; what is true is found out at the next start. Called once.
    fn fatal(&self, error: &Error);
}

/// Nobody listens.
impl CommitObserver for () {
    fn group(&self, _sets: usize, _synced: bool, _took: Span) {}

    fn applied(&self, _sets: usize, _took: Span) {}

    fn warning(&self, _message: &str) {}

    fn fatal(&self, _error: &Error) {}
}
