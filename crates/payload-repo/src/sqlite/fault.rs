//! What SQLite's result codes mean to this system, and what each leaves true.

use std::io;
use std::path::Path;
use std::sync::Arc;

use payload_core::{Error, Reason};
use rusqlite::ErrorCode;

use super::journal::Unusable;
use crate::check::{self, Refusal};

/// Why a call failed. Can be told to each of the callers who shared a transaction.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    kind: Kind,
    outcome_unknown: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Busy,
    Full,
    ReadOnly,
    Damaged,
    Io,
    /// A row that this version of the server cannot have written.
    BadRow(&'static str),
    /// Contents are in the journal alone.
    Unsettled,
    /// Another process has it.
    InUse,
    /// The journal beside it is none of its own.
    ForeignJournal,
    Fenced,
    /// The rows say that it cannot be.
    Refused(Refusal),
    /// An earlier fault has ended all writing.
    Ended,
    /// The file system cannot do what the log needs.
    NoSharedMemory,
    Other,
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
            Some(ErrorCode::DiskFull) => Kind::Full,
            Some(ErrorCode::ReadOnly) => Kind::ReadOnly,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Damaged,
            Some(ErrorCode::SystemIoFailure) => Kind::Io,
            _ => Kind::Other,
        };
        Self {
            source: Some(Arc::new(error)),
            ..Self::of(kind)
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Kind::ReadOnly,
            _ => Kind::Io,
        };
        Self {
            source: Some(Arc::new(error)),
            ..Self::of(kind)
        }
    }
}

impl From<Unusable> for Fault {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::InUse => Self::of(Kind::InUse),
            Unusable::Foreign => Self::of(Kind::ForeignJournal),
            Unusable::Io(error) => error.into(),
        }
    }
}

impl Fault {
    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            outcome_unknown: false,
            source: None,
        }
    }

    /// A column holds what this system never writes there.
    pub(super) const fn bad_row(column: &'static str) -> Self {
        Self::of(Kind::BadRow(column))
    }

    /// Somebody else has claimed the node since.
    pub(super) const fn fenced() -> Self {
        Self::of(Kind::Fenced)
    }

    /// The rows do not allow it.
    pub(super) const fn refused(refusal: Refusal) -> Self {
        Self::of(Kind::Refused(refusal))
    }

    /// What commits carry could not be brought to its place on the device. It is in the journal, where a restart finds
    /// it.
    pub(super) fn unsettled(error: Error) -> Self {
        Self {
            source: Some(Arc::new(error)),
            ..Self::of(Kind::Unsettled)
        }
    }

    /// Writing has ended for good.
    pub(super) const fn ended() -> Self {
        Self::of(Kind::Ended)
    }

    /// SQLite could only open it for reading.
    pub(super) const fn read_only() -> Self {
        Self::of(Kind::ReadOnly)
    }

    /// SQLite would not keep a log here.
    pub(super) const fn no_shared_memory() -> Self {
        Self::of(Kind::NoSharedMemory)
    }

    /// This happened while a transaction was being committed. A disk that fails then may have kept the commit or not;
    /// one that is full has not, because a log without its last frame is cut off there.
    pub(super) fn in_commit(mut self) -> Self {
        self.outcome_unknown = !matches!(self.kind, Kind::Full | Kind::ReadOnly | Kind::Busy);
        self
    }

    /// This happened while the journal was synced. The entries are whole in the file, whatever the disk says of it, so a
    /// restart may find them.
    pub(super) fn in_sync(mut self) -> Self {
        self.outcome_unknown = true;
        self
    }

    /// Whether the rows themselves can no longer be trusted.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self.kind, Kind::Damaged | Kind::BadRow(_))
    }

    /// Whether nothing may be written after this. After a failed write or fsync the kernel may have thrown the bytes
    /// away and report success the next time, so only a restart, which reads what the disk has, can tell what is true.
    pub(super) fn ends_writing(&self) -> bool {
        self.is_damage() || matches!(self.kind, Kind::Io | Kind::Unsettled) || self.outcome_unknown
    }

    /// For the caller.
    pub(super) fn into_error(self, path: &Path) -> Error {
        let path = path.display();
        let error = match &self.kind {
            Kind::Busy => Error::new(
                Reason::RepositoryUnavailable,
                format!("another process has kept {path} locked for longer than the busy timeout"),
            ),
            Kind::Full => Error::new(Reason::RepositoryReadOnly, format!("the disk of {path} is full")),
            Kind::ReadOnly => Error::new(
                Reason::RepositoryReadOnly,
                format!("{path} is read-only or was moved away"),
            ),
            Kind::Damaged => damaged(format!("{path} is damaged")),
            Kind::BadRow(column) => damaged(format!("{path} is damaged: impossible value in {column}")),
            Kind::Io => Error::new(Reason::RepositoryUnavailable, format!("the disk of {path} failed")),
            Kind::Unsettled => Error::new(
                Reason::RepositoryUnavailable,
                format!("contents in {path}-commits could not be brought to the disk tier; the next start tries again"),
            ),
            Kind::Ended => Error::new(
                Reason::RepositoryUnavailable,
                format!("writing to {path} has ended after a fault; the server must restart"),
            ),
            Kind::NoSharedMemory => Error::new(
                Reason::RepositoryUnavailable,
                format!("{path} is on a file system without shared memory maps; use a local one"),
            ),
            Kind::InUse => Error::new(
                Reason::RepositoryInUse,
                format!("another process has {path}; one server at a time can use it"),
            ),
            Kind::ForeignJournal => Error::new(
                Reason::RepositoryCorrupt,
                format!(
                    "{path}-commits is not the journal of this catalog; put the right one back, or move it away to go \
                     on without the last commits"
                ),
            ),
            Kind::Fenced => check::fenced(),
            Kind::Refused(refusal) => refusal.error(),
            Kind::Other => Error::new(Reason::Internal, format!("SQLite refused to work on {path}")),
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
        what + "; stop the server, keep the file with its -wal, and restore a copy or salvage it with `sqlite3 .recover`",
    )
}
