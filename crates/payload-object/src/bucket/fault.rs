//! Says what the library's errors mean to a caller of the port.

use std::error::Error as StdError;

use http::StatusCode;
use object_store::Error as StoreError;
use payload_core::{Error, Reason, Span};

use super::wire::{DAMAGED, RANGE_IGNORED, Refused};

/// When to try again after the store was not to be had for a whole budget of time.
const RETRY: Span = Span::from_secs(5);

/// What a failed request leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Nothing: it did not happen.
    None,
    /// Whose object is there.
    Taken,
    /// Whether it happened.
    Unknown,
}

/// What a request that should change something leaves open.
pub(super) fn doubt(error: &StoreError) -> Doubt {
    match error {
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => Doubt::Taken,
        StoreError::NotFound { .. } => Doubt::Unknown,
        _ => match reason(error) {
            Reason::ObjectStoreUnavailable => Doubt::Unknown,
            _ => Doubt::None,
        },
    }
}

/// `doing` completes "cannot …".
pub(super) fn fault(doing: impl std::fmt::Display, error: StoreError) -> Error {
    let reason = reason(&error);
    let message = match refused(&error) {
        Some(refused) => format!("cannot {doing}: {refused}"),
        None => format!("cannot {doing}"),
    };
    let fault = Error::new(reason, message).source(error);
    match reason {
        Reason::ObjectStoreUnavailable | Reason::ObjectStoreDenied => fault.retry_after(RETRY),
        _ => fault,
    }
}

/// The same for a request that stores: what is missing then is an upload that somebody gave up, and never the bytes that
/// are to be stored.
pub(super) fn unstored(doing: impl std::fmt::Display, error: StoreError) -> Error {
    match error {
        StoreError::NotFound { .. } => {
            let message = format!("cannot {doing}: its upload is not there any more");
            Error::new(Reason::ObjectStoreUnavailable, message)
                .retry_after(RETRY)
                .source(error)
        }
        error => fault(doing, error),
    }
}

/// The store did not answer within the budget of time.
pub(super) fn late(doing: impl std::fmt::Display) -> Error {
    let message = format!("cannot {doing}: the store takes too long");
    Error::new(Reason::ObjectStoreUnavailable, message).retry_after(RETRY)
}

fn reason(error: &StoreError) -> Reason {
    match error {
        StoreError::NotFound { .. } => Reason::BytesMissing,
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => Reason::ObjectStoreDenied,
        StoreError::AlreadyExists { .. } => Reason::ObjectExists,
        StoreError::Precondition { .. } => Reason::BytesCorrupt,
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => Reason::ObjectUrlsUnsupported,
        _ => match refused(error) {
            Some(refused) => reason_of(refused),
            None => Reason::ObjectStoreUnavailable,
        },
    }
}

fn reason_of(refused: &Refused) -> Reason {
    match (refused.status, &*refused.code) {
        (StatusCode::RANGE_NOT_SATISFIABLE, _) => Reason::BytesMissing,
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _)
        | (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "AuthorizationHeaderMalformed") => {
            Reason::ObjectStoreDenied
        }
        (StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED, _)
        | (_, "NoSuchBucket" | "ContainerNotFound" | "InvalidBucketName" | "NotImplemented" | RANGE_IGNORED) => {
            Reason::ObjectStoreUnfit
        }
        // The same request would be refused again. Who gives no word for it may be anybody in between.
        (StatusCode::BAD_REQUEST, code) if !code.is_empty() && !DAMAGED.contains(&code) => Reason::ObjectStoreUnfit,
        _ => Reason::ObjectStoreUnavailable,
    }
}

/// The refusal that an error came from.
pub(super) fn refused(error: &StoreError) -> Option<&Refused> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref() {
            return Some(refused);
        }
        cause = error.source();
    }
    None
}
