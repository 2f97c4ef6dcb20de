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
/// The longest name of a payload, in bytes.
pub const PAYLOAD_NAME_LEN_MAX: usize = 255;
/// The largest bound that a quota sets, in bytes or payloads: 1 EiB.
pub const QUOTA_MAX: u64 = 1 << 60;
/// The longest key of an object below the prefix, in bytes.
pub const OBJECT_KEY_LEN_MAX: usize = 200;
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
/// How many payloads one page of a listing looks at, however few of them fit its filter.
pub const LIST_SCAN_MAX: usize = 10_000;
/// How many payloads are looked at to count those that fit a filter.
pub const LIST_COUNT_MAX: usize = 100_000;
/// The largest number of labels that a listing asks for.
pub const LIST_LABELS_MAX: usize = 8;
/// The longest page token, in bytes.
pub const PAGE_TOKEN_LEN_MAX: usize = 512;
/// How many events of a log one page looks at, however few of them fit its filter.
pub const LOG_SCAN_MAX: u32 = 10_000;
/// How many watches of events one server has at a time.
pub const WATCHES_MAX: usize = 1_024;
/// The largest revision of metadata, and the largest body of an application's event, in bytes.
pub const DOCUMENT_SIZE_MAX: usize = 64 << 10;
/// The longest content type, in bytes.
pub const CONTENT_TYPE_LEN_MAX: usize = 127;
/// The longest name of an application's kind of event, in bytes.
pub const EVENT_TYPE_LEN_MAX: usize = 63;
/// How deep a JSON merge patch may nest.
pub const JSON_DEPTH_MAX: usize = 128;
/// How many bytes the events of a page take, about; a page with one event may be larger.
pub const LOG_PAGE_BYTES_MAX: usize = 1 << 20;
/// The longest time to live of a payload: 10 years.
pub const TTL_MAX: Span = Span::from_secs(10 * 366 * 24 * 3600);
/// The longest time that a payload stays in RAM at least.
pub const MIN_RESIDENCY_MAX: Span = Span::from_secs(3600);
/// The longest term of a pin that has one: 10 years.
pub const PIN_TERM_MAX: Span = TTL_MAX;
/// The longest time that a call may wait for a payload to be committed.
pub const WAIT_MAX: Span = Span::from_secs(600);
/// How many requests of one session may be in flight; the server stops reading beyond that.
pub const SESSION_REQUESTS_MAX: usize = 64;
/// How many replicas one payload may have.
pub const REPLICAS_MAX: usize = 8;
/// How many segments of one server the keeper holds at most.
pub const KEEPER_SEGMENTS_MAX: usize = 1 << 16;
/// How many segments of one server systemd holds at most.
pub const SYSTEMD_SEGMENTS_MAX: usize = 1_024;
/// The longest name of an operation, or role of a parent, in the lineage graph, in bytes.
pub const LINEAGE_WORD_LEN_MAX: usize = 128;
/// The largest parameters of an operation in the lineage graph, in bytes.
pub const LINEAGE_PARAMETERS_LEN_MAX: usize = 4 << 10;
/// The largest number of parents that one call names.
pub const LINEAGE_PARENTS_MAX: usize = 256;
/// The most steps from its start that a query of the lineage graph may ask for.
pub const LINEAGE_DEPTH_MAX: u32 = 1_000;
/// The depth when the caller names none.
pub const LINEAGE_DEPTH_DEFAULT: u32 = 100;
/// The longest page of a query of the lineage graph, in edges.
pub const LINEAGE_PAGE_SIZE_MAX: u32 = 10_000;
/// How much the edges on one page may say, in bytes: a page must fit into a message.
pub const LINEAGE_PAGE_BYTES_MAX: usize = 2 << 20;
/// The page size of such a query when the caller names none.
pub const LINEAGE_PAGE_SIZE_DEFAULT: u32 = 1_000;
/// How many edges one query may lead over, all its pages together.
pub const LINEAGE_WALK_MAX: usize = 250_000;
/// How many descendants one call deletes together with what they descend from, and how many it lists.
pub const CASCADE_MAX: usize = 1_000;
/// How many edges a transaction looks at for one decision.
pub const LINEAGE_CHECK_MAX: usize = 50_000;
/// The longest name of a stream, a group or a producer, in bytes.
pub const STREAM_NAME_LEN_MAX: usize = 127;
/// The longest tag of an entry, in bytes.
pub const TAG_LEN_MAX: usize = 63;
/// The largest number of tags on an entry.
pub const ENTRY_TAGS_MAX: usize = 8;
/// The largest number of entries in one append.
pub const APPEND_ENTRIES_MAX: u32 = 1_000;
/// The largest number of streams in a namespace.
pub const STREAMS_MAX: u64 = 1_000_000;
/// The largest number of groups of a stream.
pub const STREAM_GROUPS_MAX: u32 = 1_000;
/// How many producers a stream remembers; the one that was idle for longest gives way to a new one.
pub const STREAM_PRODUCERS_MAX: u32 = 1_000;
/// How many batches of a producer can be told from new ones.
pub const PRODUCER_BATCHES_MAX: usize = 8;
/// How many entries one read looks at, however few of them fit its filter.
pub const READ_SCAN_MAX: u32 = 10_000;
/// How many subscriptions a server has at most.
pub const SUBSCRIPTIONS_MAX: usize = 16_384;
/// How many subscriptions a session of the local socket has at most.
pub const SESSION_SUBSCRIPTIONS_MAX: usize = 64;
