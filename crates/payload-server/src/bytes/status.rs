//! Which HTTP status a refusal of the engine gets.

use payload_core::{ErrorKind, Reason};

/// One number for each kind, and a few that say more.
pub(super) const fn of(reason: Reason) -> u16 {
    match (reason, reason.kind()) {
        (Reason::BadSize, _) => 413,
        (Reason::PayloadDeleted | Reason::PayloadExpired | Reason::PayloadAborted | Reason::PayloadLost, _) => 410,
        (Reason::AllocationNotOwned, _) | (_, ErrorKind::PermissionDenied) => 403,
        (_, ErrorKind::InvalidArgument | ErrorKind::OutOfRange) => 400,
        (_, ErrorKind::NotFound) => 404,
        (_, ErrorKind::FailedPrecondition | ErrorKind::Aborted) => 409,
        (_, ErrorKind::ResourceExhausted | ErrorKind::Unavailable) => 503,
        (_, ErrorKind::DeadlineExceeded) => 504,
        (_, ErrorKind::DataLoss | ErrorKind::Internal) => 500,
    }
}
