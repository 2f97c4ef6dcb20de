//! What goes wrong with PostgreSQL, what it means to this system, and what each failure leaves true.

use std::sync::Arc;

use payload_core::{Error, Reason};
use tokio_postgres::error::SqlState;
use tokio_rustls::rustls;

use crate::check::{self, Refusal};

/// Why a call failed. Can be told to each of the callers who shared a transaction.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    kind: Kind,
    outcome_unknown: bool,
    source: Option<Arc<tokio_postgres::Error>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The connection is gone, or there is none to be had.
    Lost,
    /// The server let us in no further: wrong password, no such database, no such role.
    Denied,
    /// Its certificate is not one that may be believed.
    Untrusted,
    /// No answer in time.
    TimedOut,
    /// Another transaction was in the way: this one did nothing and can be tried again.
    Contended,
    Full,
    ReadOnly,
    Damaged,
    /// A row that this version of the server cannot have written.
    BadRow(&'static str),
    Unclaimed,
    Fenced,
    /// It has lost what it had acknowledged.
    Forgotten,
    /// The rows say that it cannot be.
    Refused(Refusal),
    /// Somebody else keeps the lock that a connection needs which writes.
    Occupied,
    NoResources,
    Other,
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        let kind = match error.code() {
            Some(code) => kind_of(code),
            None if is_of_the_connection(&error) => Kind::Lost,
            None => Kind::Other,
        };
        Self {
            source: Some(Arc::new(error)),
            ..Self::of(kind)
        }
    }
}

/// Told apart from values that the driver could not put into its messages.
fn is_of_the_connection(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    error.is_closed() || source.is_none_or(|source| source.is::<std::io::Error>())
}

/// Whether it is the certificate by which the connection failed.
fn is_of_the_certificate(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    let of_stream = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    let of_tls = of_stream.and_then(|error| error.get_ref()?.downcast_ref::<rustls::Error>());
    matches!(of_tls, Some(rustls::Error::InvalidCertificate(_)))
}

impl Fault {
    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            outcome_unknown: false,
            source: None,
        }
    }

    /// There is no connection: whatever the database did not say itself is about the way to it.
    pub(super) fn connecting(error: tokio_postgres::Error) -> Self {
        let kind = match error.code() {
            Some(code) => kind_of(code),
            None if is_of_the_certificate(&error) => Kind::Untrusted,
            None => Kind::Lost,
        };
        Self {
            source: Some(Arc::new(error)),
            ..Self::of(kind)
        }
    }

    /// A column holds what this system never writes there.
    pub(super) const fn bad_row(column: &'static str) -> Self {
        Self::of(Kind::BadRow(column))
    }

    /// Nobody has claimed a node through this handle.
    pub(super) const fn unclaimed() -> Self {
        Self::of(Kind::Unclaimed)
    }

    /// Somebody else has claimed the node since.
    pub(super) const fn fenced() -> Self {
        Self::of(Kind::Fenced)
    }

    /// The database is not at the point any more that it was at.
    pub(super) const fn forgotten() -> Self {
        Self::of(Kind::Forgotten)
    }

    /// The rows do not allow it.
    pub(super) const fn refused(refusal: Refusal) -> Self {
        Self::of(Kind::Refused(refusal))
    }

    /// The server did not answer in time; what it does meanwhile is not known.
    pub(super) const fn timed_out() -> Self {
        Self::of(Kind::TimedOut)
    }

    /// This happened while a transaction was being committed, and nobody could say what became of it.
    pub(super) fn in_commit(mut self) -> Self {
        self.outcome_unknown = true;
        self
    }

    /// This process has no descriptor or thread to spare.
    pub(super) const fn no_resources() -> Self {
        Self::of(Kind::NoResources)
    }

    /// The connection has ended.
    pub(super) const fn lost() -> Self {
        Self::of(Kind::Lost)
    }

    /// Whether the connection is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.kind == Kind::Lost
    }

    /// Whether the connection must not be used any more: it is gone, or an answer may still be on its way.
    pub(super) fn spoils_connection(&self) -> bool {
        matches!(self.kind, Kind::Lost | Kind::TimedOut)
    }

    /// Whether it is certain that nothing has happened.
    pub(super) fn changed_nothing(&self) -> bool {
        !self.outcome_unknown
    }

    /// Whether it is about what was asked, and all else is well.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.kind, Kind::Refused(_))
    }

    /// The code of whatever was in the way, if it was another transaction: then trying again is all it takes.
    pub(super) fn contention(&self) -> Option<&str> {
        let code = self.source.as_ref().and_then(|source| source.code());
        (self.kind == Kind::Contended).then(|| code.map_or("", SqlState::code))
    }

    /// For the caller. `database` says which one it is, without secrets.
    pub(super) fn into_error(self, database: &str) -> Error {
        let error = match &self.kind {
            Kind::Lost => Error::new(Reason::RepositoryUnavailable, format!("no connection to {database}")),
            Kind::Denied => Error::new(
                Reason::RepositoryUnavailable,
                format!("{database} does not let this server in"),
            ),
            Kind::Untrusted => Error::new(
                Reason::RepositoryUnavailable,
                format!("{database} shows a certificate that repository.ca_file does not vouch for"),
            ),
            Kind::TimedOut => Error::new(
                Reason::RepositoryUnavailable,
                format!("{database} did not answer in time"),
            ),
            Kind::Contended => Error::new(
                Reason::Conflict,
                format!("other servers kept changing the same rows of {database}"),
            ),
            Kind::Full => Error::new(Reason::RepositoryReadOnly, format!("the disk of {database} is full")),
            Kind::ReadOnly => Error::new(
                Reason::RepositoryReadOnly,
                format!("{database} takes no writes: it is a standby, or was made read-only"),
            ),
            Kind::Damaged => damaged(format!("{database} is damaged")),
            Kind::BadRow(column) => damaged(format!("{database} is damaged: impossible value in {column}")),
            Kind::Occupied => Error::new(
                Reason::RepositoryInUse,
                format!(
                    "another server works for this node in {database}: its data directory, or a copy of it, is in use \
                     elsewhere"
                ),
            ),
            Kind::NoResources => Error::new(
                Reason::RepositoryUnavailable,
                format!("no file descriptor to be had for a connection to {database}"),
            ),
            Kind::Unclaimed => check::unclaimed(),
            Kind::Fenced => check::fenced(),
            Kind::Forgotten => Error::new(
                Reason::Fenced,
                format!(
                    "{database} has lost commits that it acknowledged: it was restored, or a standby took over that lagged"
                ),
            ),
            Kind::Refused(refusal) => refusal.error(),
            Kind::Other => Error::new(Reason::Internal, format!("{database} refused a statement")),
        };
        let error = if self.outcome_unknown {
            error.outcome_unknown()
        } else {
            error
        };
        match self.source {
            Some(source) => error.source(source),
            None => error,
        }
    }
}

fn damaged(what: String) -> Error {
    Error::new(
        Reason::RepositoryCorrupt,
        what + "; stop its servers and restore a backup",
    )
}

/// By the codes of PostgreSQL's appendix A. A class (the first two characters) decides where all of it is alike.
fn kind_of(code: &SqlState) -> Kind {
    match *code {
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED | SqlState::UNIQUE_VIOLATION => {
            Kind::Contended
        }
        SqlState::QUERY_CANCELED => Kind::TimedOut,
        SqlState::LOCK_NOT_AVAILABLE => Kind::Occupied,
        SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::DATABASE_DROPPED
        | SqlState::TOO_MANY_CONNECTIONS
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Kind::Lost,
        SqlState::INVALID_CATALOG_NAME | SqlState::INSUFFICIENT_PRIVILEGE => Kind::Denied,
        SqlState::DISK_FULL => Kind::Full,
        SqlState::READ_ONLY_SQL_TRANSACTION => Kind::ReadOnly,
        _ => match &code.code()[..2] {
            "08" => Kind::Lost,
            "28" => Kind::Denied,
            "XX" => Kind::Damaged,
            _ => Kind::Other,
        },
    }
}
