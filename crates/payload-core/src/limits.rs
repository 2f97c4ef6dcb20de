//! Every bound of the system, in one place. What has no limit here has a limit in the configuration.

use crate::time::Span;

/// The largest payload: 1 TiB.
pub const PAYLOAD_SIZE_MAX: u64 = 1 << 40;
/// Payloads up to this size may travel inside a message instead of through a file descriptor.
pub const INLINE_SIZE_MAX: u64 = 64 << 10;
/// The largest message on the local socket, in bytes.
pub const MESSAGE_SIZE_MAX: usize = 128 << 10;
/// The largest number of file descriptors that one message carries, and that a session may leave unread.
pub const MESSAGE_FDS_MAX: usize = 64;
/// The largest number of items in one batch.
pub const BATCH_ITEMS_MAX: usize = 64;
/// The longest namespace, in bytes.
pub const NAMESPACE_LEN_MAX: usize = 63;
/// The largest bound that a quota sets, in bytes or payloads: 1 EiB.
pub const QUOTA_MAX: u64 = 1 << 60;
/// The largest number of labels on a payload.
pub const LABELS_MAX: usize = 32;
/// The longest label key, in bytes.
pub const LABEL_KEY_LEN_MAX: usize = 63;
/// The longest label value, in bytes.
pub const LABEL_VALUE_LEN_MAX: usize = 255;
/// The longest request id, in bytes.
pub const REQUEST_ID_LEN_MAX: usize = 64;
/// The longest reason that a client may give for an abort, a delete or a revocation, in bytes.
pub const REASON_LEN_MAX: usize = 255;
/// The longest page of a listing.
pub const PAGE_SIZE_MAX: u32 = 1_000;
/// The page size when the caller names none.
pub const PAGE_SIZE_DEFAULT: u32 = 100;
/// The longest page token, in bytes.
pub const PAGE_TOKEN_LEN_MAX: usize = 256;
/// The longest time to live of a payload: 10 years.
pub const TTL_MAX: Span = Span::from_secs(10 * 366 * 24 * 3600);
/// The longest time that a call may wait for a payload to be committed.
pub const WAIT_MAX: Span = Span::from_secs(600);
/// How many requests of one session may be in flight; the server stops reading beyond that.
pub const SESSION_REQUESTS_MAX: usize = 64;
/// How many replicas one payload may have.
pub const REPLICAS_MAX: usize = 8;
/// How many segments of one server the keeper holds at most.
pub const KEEPER_SEGMENTS_MAX: usize = 1 << 16;
