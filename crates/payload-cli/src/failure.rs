//! What went wrong, in one line: what was tried, why it failed, what to do about it; and as an exit code.

use std::io;

use payload_client::{Error, ErrorKind, Outcome, Reason};

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was tried, on what.
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) todo: Option<&'static str>,
    /// The server's or the client's reason; of this program's own, `IO`, `FILE_EXISTS`, `DAMAGED`, `COMMAND_FAILED` or
    /// `INTERRUPTED`.
    pub(crate) reason: &'static str,
    pub(crate) outcome_unknown: bool,
    code: u8,
    /// Nobody reads the output any more, and that is fine.
    quiet: bool,
}

impl Failure {
    /// A refusal or failure that the client reports.
    pub(crate) fn new(what: impl Into<String>, error: &Error) -> Self {
        Self {
            what: what.into(),
            why: error.message().to_owned(),
            todo: todo(error.reason()),
            reason: error.reason().as_str(),
            outcome_unknown: error.outcome() == Outcome::Unknown,
            code: code(error.reason()),
            quiet: false,
        }
    }

    /// A file or a pipe that does not do what it should.
    pub(crate) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        let mut failure = Self::own(what, error.to_string(), "IO", 1);
        if error.kind() == io::ErrorKind::BrokenPipe {
            failure.quiet = true;
            failure.code = 0;
        }
        failure
    }

    /// A file that is in the way.
    pub(crate) fn exists(what: impl Into<String>, why: String) -> Self {
        let mut failure = Self::own(what, why, "FILE_EXISTS", 1);
        failure.todo = Some("name another one with -O, or overwrite it with --force");
        failure
    }

    /// A command line that cannot be meant.
    pub(crate) fn usage(what: impl Into<String>, why: &str) -> Self {
        Self::own(what, why.to_owned(), Reason::BadRequest.as_str(), 2)
    }

    /// What the server keeps is not as it should be.
    pub(crate) fn damaged(what: impl Into<String>, why: String) -> Self {
        Self::own(what, why, "DAMAGED", 5)
    }

    /// A command that was run for an entry did not succeed.
    pub(crate) fn command(what: impl Into<String>, why: String) -> Self {
        Self::own(what, why, "COMMAND_FAILED", 1)
    }

    /// Stopped from the keyboard.
    pub(crate) fn interrupted() -> Self {
        Self::own("stopped", "interrupted".to_owned(), "INTERRUPTED", 130)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.code
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    fn own(what: impl Into<String>, why: String, reason: &'static str, code: u8) -> Self {
        Self {
            what: what.into(),
            why,
            todo: None,
            reason,
            outcome_unknown: false,
            code,
            quiet: false,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "payloadctl: {}: {}", self.what, self.why)?;
        match self.todo {
            Some(todo) => write!(f, "; {todo}"),
            None => Ok(()),
        }
    }
}

fn code(reason: Reason) -> u8 {
    match (reason, reason.kind()) {
        (Reason::DigestMismatch, _) | (_, ErrorKind::DataLoss) => 5,
        (_, ErrorKind::InvalidArgument) => 2,
        (_, ErrorKind::NotFound) => 3,
        (_, ErrorKind::Unavailable) => 4,
        _ => 1,
    }
}

fn todo(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::ConnectionLost => "start payloadd, or name the server with --endpoint",
        Reason::PayloadNotFound => "check the id and --namespace",
        Reason::NamespaceNotFound => "look at payloadctl namespace ls, or make it with payloadctl namespace create",
        Reason::NameNotFound => "look at payloadctl name ls, and check --namespace",
        Reason::NameTaken => "point it elsewhere with --if ID or --replace",
        Reason::StreamNotFound => "look at payloadctl stream ls",
        Reason::PayloadHeld => "wait for the stream to let it go, or use --force",
        Reason::LeaseNotFound => "look at payloadctl leases",
        Reason::PayloadNotCommitted => "wait until its producer has committed it",
        Reason::PayloadHasDependents => {
            "look at payloadctl lineage impact, or say what is to become of them with --dependents"
        }
        Reason::TierFull => "remove payloads, or choose another --tier",
        _ => match reason.kind() {
            ErrorKind::DataLoss => "see what happened with payloadctl show --events",
            ErrorKind::Unavailable | ErrorKind::ResourceExhausted | ErrorKind::Aborted => "try again later",
            ErrorKind::Internal => "look into the server's log",
            ErrorKind::PermissionDenied => "run it as the user that the server runs as",
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_kind_of_error() {
        for reason in Reason::ALL {
            let code = Failure::new("x", &Error::new(*reason, "y")).exit_code();
            let wanted = match reason.kind() {
                ErrorKind::InvalidArgument => 2,
                ErrorKind::NotFound => 3,
                ErrorKind::Unavailable => 4,
                ErrorKind::DataLoss => 5,
                _ if *reason == Reason::DigestMismatch => 5,
                _ => 1,
            };
            assert_eq!(code, wanted, "{reason:?}");
        }
    }

    #[test]
    fn one_line_says_what_why_and_what_to_do() {
        let error = Error::new(Reason::PayloadNotFound, "no such payload");
        let line = Failure::new("get 018f", &error).to_string();
        assert_eq!(
            line,
            "payloadctl: get 018f: no such payload; check the id and --namespace"
        );
        let failure = Failure::io("read x", &io::Error::other("bad disk"));
        assert_eq!(failure.to_string(), "payloadctl: read x: bad disk");
        assert!(Failure::io("write", &io::ErrorKind::BrokenPipe.into()).is_quiet());
    }
}
