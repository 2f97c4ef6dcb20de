//! Errors on the wire: one total function to gRPC statuses, one to batch failures, and both ways back.

use std::error::Error as _;
use std::time::Duration;

use payload_core::{Error, ErrorKind, Outcome, Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::v1;

/// The domain of the reasons in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "payload.v1";

/// The status code of an error kind.
pub const fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::OutOfRange => Code::OutOfRange,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Aborted => Code::Aborted,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DataLoss => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    }
}

/// An error as a gRPC status with `ErrorInfo`, and `RetryInfo` and `BadRequest` where they apply.
pub fn to_status(error: &Error) -> Status {
    let mut details = ErrorDetails::new();
    let metadata = match error.outcome() {
        Outcome::NotApplied => Vec::new(),
        Outcome::Unknown => vec![("outcome".to_owned(), "unknown".to_owned())],
    };
    details.set_error_info(
        error.reason().as_str(),
        DOMAIN,
        metadata.into_iter().collect::<std::collections::HashMap<_, _>>(),
    );
    if let Some(delay) = error.retry_delay() {
        details.set_retry_info(Some(delay));
    }
    if let Some(field) = error.fault_field() {
        details.add_bad_request_violation(field, error.message());
    }
    Status::with_error_details(code(error.kind()), error.message(), details)
}

/// An error as one item's failure in a batch, or as an answer on the local socket.
pub fn to_failure(error: &Error) -> v1::Failure {
    v1::Failure {
        code: code(error.kind()) as i32,
        reason: error.reason().as_str().to_owned(),
        message: error.message().to_owned(),
        retry_after_ms: error
            .retry_delay()
            .map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        field: error.fault_field().unwrap_or_default().to_owned(),
        outcome_unknown: error.outcome() == Outcome::Unknown,
    }
}

/// The error that a server put into a failure. A reason that this client does not know becomes `INTERNAL`.
pub fn from_failure(failure: v1::Failure) -> Error {
    let reason = failure.reason.parse().unwrap_or(Reason::Internal);
    let mut error = Error::new(reason, failure.message);
    if let Some(delay) = failure.retry_after_ms {
        error = error.retry_after(Duration::from_millis(delay));
    }
    if failure.outcome_unknown {
        error = error.outcome_unknown();
    }
    error
}

/// The error that a server put into a status; one without our details comes from the transport.
pub fn from_status(status: &Status) -> Error {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.domain == DOMAIN);
    let Some((info, reason)) = info.and_then(|info| Some((info, info.reason.parse::<Reason>().ok()?))) else {
        let reason = match status.code() {
            // Made on this side: no answer came, whatever code the transport gives to a connection that broke.
            _ if status.source().is_some() => Reason::ConnectionLost,
            Code::InvalidArgument => Reason::BadRequest,
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => Reason::ConnectionLost,
            Code::ResourceExhausted => Reason::Overloaded,
            _ => Reason::Internal,
        };
        return Error::new(reason, status.message().to_owned()).outcome_unknown();
    };
    let mut error = Error::new(reason, status.message().to_owned());
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        error = error.retry_after(delay);
    }
    if info.metadata.get("outcome").is_some_and(|outcome| outcome == "unknown") {
        error = error.outcome_unknown();
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of docs/reference/errors.md is this mapping, so the page is checked against it.
    #[test]
    fn every_reason_has_its_status_in_the_reference() {
        let page = include_str!("../../../docs/reference/errors.md");
        for reason in Reason::ALL {
            let name = format!("{:?}", code(reason.kind()));
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", reason.as_str())));
            let row = row.unwrap_or_else(|| panic!("docs/reference/errors.md has no row for {}", reason.as_str()));
            let wanted = screaming(&name);
            assert!(row.contains(&format!("| `{wanted}` |")), "{row} should say {wanted}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(
            rows,
            Reason::ALL.len(),
            "docs/reference/errors.md has rows for reasons that do not exist"
        );
    }

    #[test]
    fn errors_survive_the_wire_both_ways() {
        for reason in Reason::ALL {
            let error = Error::new(*reason, "what happened")
                .retry_after(Duration::from_millis(250))
                .field("size")
                .outcome_unknown();
            for back in [from_status(&to_status(&error)), from_failure(to_failure(&error))] {
                assert_eq!(back.reason(), *reason);
                assert_eq!(back.message(), "what happened");
                assert_eq!(back.retry_delay(), Some(Duration::from_millis(250)));
                assert_eq!(back.outcome(), Outcome::Unknown);
            }
        }
    }

    #[test]
    fn a_status_from_the_transport_leaves_the_outcome_open() {
        let error = from_status(&Status::unavailable("connection reset"));
        assert_eq!(
            (error.reason(), error.outcome()),
            (Reason::ConnectionLost, Outcome::Unknown)
        );
    }

    fn screaming(name: &str) -> String {
        let mut text = String::new();
        for (i, c) in name.char_indices() {
            if c.is_uppercase() && i > 0 {
                text.push('_');
            }
            text.push(c.to_ascii_uppercase());
        }
        text
    }
}
