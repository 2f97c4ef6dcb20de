//! What can be chosen about the repository, besides where it is.

use payload_core::Span;

use super::database::Database;

/// What can be chosen about a [`PostgresRepository`](super::PostgresRepository), besides where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// How long a new connection may take.
    pub connect_timeout: Span,
    /// How long one statement may take, and how long the fate of a commit is looked for whose reply was lost.
    pub statement_timeout: Span,
    /// What the database's settings must promise.
    pub settings: Settings,
    /// What becomes of a second server of the same node.
    pub rivals: Rivals,
    /// How often one looks for what other servers may have done without a word of it.
    pub poll: Span,
    /// How many reads run at a time.
    pub readers: usize,
    /// How many change sets share a transaction at most.
    pub group_max: usize,
}

/// What the database's settings must promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settings {
    /// With `fsync` or `full_page_writes` off it is refused.
    MustBeSafe,
    /// The operator answers for them.
    MayBeUnsafe,
}

/// What becomes of a server that claims a node while another one works for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rivals {
    /// It is refused for as long as the other one is connected.
    Refused,
    /// It takes the node over, and the other one is fenced.
    TakeOver,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Span::from_secs(5),
            statement_timeout: Span::from_secs(10),
            settings: Settings::MustBeSafe,
            rivals: Rivals::TakeOver,
            poll: Span::from_secs(30),
            readers: 4,
            group_max: 256,
        }
    }
}

/// A database, and what was chosen about it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) database: Database,
    pub(super) options: PostgresOptions,
}

impl Target {
    /// With the times that connections may take.
    pub(super) fn new(database: &Database, options: PostgresOptions) -> Self {
        let mut database = database.clone();
        database
            .config
            .connect_timeout(options.connect_timeout)
            .tcp_user_timeout(options.statement_timeout);
        Self { database, options }
    }

    /// How messages call it: hosts and database.
    pub(super) fn name(&self) -> &str {
        self.database.name()
    }
}
