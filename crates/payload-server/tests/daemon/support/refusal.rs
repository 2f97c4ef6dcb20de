//! A refusal as the wire has it, by whichever door.

use payload_proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a call or an item of a batch did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    /// Empty if the transport refused.
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) field: String,
    pub(crate) retry_after_ms: Option<u64>,
}

pub(crate) type Answer<T> = Result<T, Refusal>;

impl From<v1::Failure> for Refusal {
    fn from(failure: v1::Failure) -> Self {
        Self {
            code: Code::from_i32(failure.code),
            reason: failure.reason,
            message: failure.message,
            field: failure.field,
            retry_after_ms: failure.retry_after_ms,
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let field = details.bad_request().and_then(|bad| bad.field_violations.first());
        let retry = details.retry_info().and_then(|info| info.retry_delay);
        Self {
            code: status.code(),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            field: field.map(|field| field.field.clone()).unwrap_or_default(),
            retry_after_ms: retry.map(|delay| delay.as_millis() as u64),
        }
    }
}

/// The reason of a refusal, or a panic with what was answered instead.
pub(crate) fn reason<T: std::fmt::Debug>(answer: Answer<T>) -> String {
    answer.unwrap_err().reason
}

/// What an item of an acquire brought.
pub(crate) fn lease(result: v1::AcquireResult) -> Answer<v1::Lease> {
    match result.result.unwrap() {
        v1::acquire_result::Result::Lease(lease) => Ok(lease),
        v1::acquire_result::Result::Failure(failure) => Err(failure.into()),
    }
}

/// What became of one payload that was to be moved.
pub(crate) fn moved(mut response: v1::MoveResponse) -> Answer<v1::Payload> {
    match response.results.remove(0).result.unwrap() {
        v1::move_result::Result::Payload(payload) => Ok(payload),
        v1::move_result::Result::Failure(failure) => Err(failure.into()),
    }
}

/// Nothing, or why an item did not work.
pub(crate) fn outcome(failure: Option<v1::Failure>) -> Answer<()> {
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}
