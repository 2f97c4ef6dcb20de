//! Every key there is, in one table: its name, type, default, range and meaning.
//!
//! Reading, the environment's names, suggestions, `check-config` and the reference page all come from here.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;

use payload_core::Span;
use payload_object::{Addressing, Credentials, Place};

use super::log_filter::LogFilter;
use super::object::{Endpoint, Words};
use super::unit::Capacity;
use super::value::{KeeperKind, LogFormat, RepositoryUrl, UnsafeSettings, Value};

/// A key whose values are `T`s.
pub(super) struct Key<T: 'static> {
    pub(super) path: &'static str,
    pub(super) default: Fallback,
    /// The smallest and the largest value that is accepted.
    pub(super) range: Option<(T, T)>,
    meaning: &'static str,
}

/// What holds when nobody sets the key.
#[derive(Clone, Copy)]
pub(super) enum Fallback {
    /// This value, written as it would be in the environment.
    Value(&'static str),
    /// What these words say; computed in `defaults.rs`.
    Derived(&'static str),
}

/// A key of whatever type: what the table can say about it.
pub(super) trait Entry: Sync {
    /// With its sections, separated by dots.
    fn path(&self) -> &'static str;

    /// The row of the reference page.
    fn reference(&self) -> String;

    /// The environment variable that sets it.
    fn variable(&self) -> String {
        format!("PAYLOADD_{}", self.path().replace('.', "_").to_uppercase())
    }
}

impl<T: Value + PartialOrd + Debug + Sync> Entry for Key<T> {
    fn path(&self) -> &'static str {
        self.path
    }

    fn reference(&self) -> String {
        let default = match self.default {
            Fallback::Value(text) => format!("`{text}`").replace("``", "none"),
            Fallback::Derived(words) => words.to_owned(),
        };
        let range = match &self.range {
            Some((least, most)) => format!(", {} to {}", least.show(), most.show()).replace('"', ""),
            None => String::new(),
        };
        let kind = T::KIND.trim_end().replace("\" \"", "\" or \"");
        format!("| `{}` | {kind}{range} | {default} | {} |", self.path, self.meaning)
    }
}

/// Declares each key once, and the list of them all.
macro_rules! keys {
    ($($name:ident: $type:ty = $path:literal, $default:expr, $range:expr, $meaning:literal;)+) => {
        $(pub(super) static $name: Key<$type> =
            Key { path: $path, default: $default, range: $range, meaning: $meaning };)+

        /// Every key, in the order of the reference page.
        pub(super) static ALL: &[&dyn Entry] = &[$(&$name),+];
    };
}

const fn ms(millis: u64) -> Span {
    Span::from_millis(millis)
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

use Fallback::{Derived, Value as Is};

keys! {
    DATA_DIR: PathBuf = "data_dir",
        Derived("`/var/lib/payload-manager` for root, else `$XDG_DATA_HOME/payload-manager`"), None,
        "The directory that belongs to this server: lock, identity, catalog, files and sockets.";

    GRPC_LISTEN: SocketAddr = "grpc.listen", Is("127.0.0.1:7600"), None,
        "Where gRPC listens. Port 0 takes a free one; `endpoint.json` tells which.";

    HTTP_LISTEN: SocketAddr = "http.listen", Derived("`grpc.listen` with the next port (0 if that is 0)"), None,
        "Where health and metrics are served.";

    BYTES_LISTEN: SocketAddr = "bytes.listen", Derived("`grpc.listen` with the port after next (0 if that is 0)"), None,
        "Where payloads' bytes are read and written over HTTP.";
    BYTES_CONNECTIONS_MAX: u32 = "bytes.connections_max", Is("256"), Some((1, 65_536)),
        "Connections to the byte endpoint at a time; each has a thread.";
    BYTES_IDLE_TIMEOUT: Span = "bytes.idle_timeout", Is("30s"), Some((ms(100), ms(HOUR))),
        "A connection to the byte endpoint on which too little moves for so long is closed.";

    RAM_CAPACITY: Capacity = "tiers.ram.capacity",
        Is("25%"), None,
        "What the RAM tier may hold. A percentage is of the memory that the host and the cgroup allow.";
    RAM_POOL: Capacity = "tiers.ram.pool",
        Is("4%"), None,
        "How much of its capacity the RAM tier may make ready for payloads to come; `0B` for nothing.";
    RAM_LOW_WATERMARK: u32 = "tiers.ram.low_watermark", Is("80"), Some((1, 99)),
        "Once eviction has begun it goes on down to this share of the capacity, in per cent.";
    RAM_HIGH_WATERMARK: u32 = "tiers.ram.high_watermark", Is("90"), Some((2, 100)),
        "Above this share of the capacity, in per cent, payloads that nobody holds are moved from RAM to disk.";
    MOVERS: u32 = "tiers.movers", Is("4"), Some((1, 64)),
        "Payloads that are copied down at a time, and as many up.";
    SPILL_RATE: u32 = "tiers.spill_mib_per_second", Is("0"), Some((0, 1_048_576)),
        "How many MiB are copied down in a second; `0`: as many as the disk takes.";
    PROMOTE_RATE: u32 = "tiers.promote_mib_per_second", Is("0"), Some((0, 1_048_576)),
        "How many MiB are copied up in a second; `0`: as many as the disk gives.";
    PINNED_MAX: u32 = "tiers.pinned_max", Is("50"), Some((0, 100)),
        "How much of a tier may be pinned, in per cent of what it may hold.";
    WRITE_BEHIND_MAX: u32 = "tiers.write_behind_max", Is("25"), Some((0, 100)),
        "How much may be written behind at a time, in per cent of what RAM may hold; what comes on top is written through.";
    COMPACT_BELOW: u32 = "tiers.compact_below", Is("40"), Some((0, 90)),
        "A slab or a pack of which less than this is used, in per cent, is emptied into others; `0`: never.";
    COMPACT_RATE: u32 = "tiers.compact_mib_per_second", Is("32"), Some((1, 65_536)),
        "How many MiB are copied for that in a second.";
    DISK_CAPACITY: Capacity = "tiers.disk.capacity",
        Is("80%"), None,
        "What the disk tier may hold. A percentage is of what is free at start, with what the tier holds already.";
    DISK_LOW_WATERMARK: u32 = "tiers.disk.low_watermark", Is("80"), Some((1, 99)),
        "Once eviction from disk has begun it goes on down to this share of the capacity, in per cent.";
    DISK_HIGH_WATERMARK: u32 = "tiers.disk.high_watermark", Is("90"), Some((2, 100)),
        "Above this share of the capacity, in per cent, payloads that nobody holds are moved from disk to the object tier, if there is one.";
    DISK_PATH: PathBuf = "tiers.disk.path", Derived("`disk` in the data directory"), None,
        "The disk tier's own directory: what no catalog row names is removed from it.";
    OBJECT_URL: Place = "tiers.object.url", Derived("none: there is no object tier"), None,
        "The bucket of the object tier: `s3://bucket`, `gs://bucket`, `az://account/container`, or `file:///directory`.";
    OBJECT_ENDPOINT: Endpoint = "tiers.object.endpoint", Derived("the provider's own"), None,
        "Where another server than the provider's is that speaks S3, or the provider's protocol. In the clear only with `http://`.";
    OBJECT_REGION: Words = "tiers.object.region", Derived("`AWS_REGION` with credentials from the environment, else `us-east-1`"), None,
        "The region of an S3 bucket.";
    OBJECT_ADDRESSING: Addressing = "tiers.object.addressing", Is("host"), None,
        "Where S3 is told the bucket: in the name of the `host`, as AWS wants it, or in the `path`, as most other servers do.";
    OBJECT_PREFIX: Words = "tiers.object.prefix", Is(""), None,
        "Goes in front of every key. What lies beside it in the bucket is never touched. Give each catalog a prefix of its own.";
    OBJECT_CA_FILE: PathBuf = "tiers.object.ca_file", Is(""), None,
        "Certificates (PEM) of those who vouch for the bucket's server, besides the system's.";
    OBJECT_CREDENTIALS: Credentials = "tiers.object.credentials", Is("environment"), None,
        "The permission to use the bucket: the provider's variables, the role of the machine or container, or a file, read again when it changes.";
    OBJECT_CONCURRENCY: u32 = "tiers.object.concurrency", Is("16"), Some((1, 256)),
        "Parts of objects that are sent or received at a time; each of those sent is in memory.";
    OBJECT_PART_SIZE: Capacity = "tiers.object.part_size", Is("8MiB"), None,
        "Larger objects are stored in parts of this size, side by side, and read in parts always; 5 MiB to 1 GiB.";
    OBJECT_TIMEOUT: Span = "tiers.object.timeout", Is("30s"), Some((ms(SECOND), ms(HOUR))),
        "How long a request to the bucket may take with all its attempts.";
    OBJECT_URL_TERM: Span = "tiers.object.url_term", Is("1m"), Some((ms(0), ms(HOUR))),
        "How long a URL is good for with which a client reads or stores an object itself; objects are removed so much later. `0s`: there are none. Servers of one catalog must agree.";

    SCRUB_INTERVAL: Span = "scrub.interval", Is("7d"), Some((ms(0), ms(365 * DAY))),
        "How often all bytes are read to see whether they are right, and mended where there is a copy; `0s`: never.";
    SCRUB_RATE: u32 = "scrub.mib_per_second", Is("32"), Some((1, 65_536)),
        "How many MiB of them are read in a second.";

    LEASES_REMOTE_DEFAULT: Span = "leases.remote_default", Is("30s"), Some((ms(SECOND), ms(DAY))),
        "The term of a remote holder's lease that asks for none.";
    LEASES_REMOTE_MAX: Span = "leases.remote_max", Is("2m"), Some((ms(SECOND), ms(DAY))),
        "The longest term that anybody gets at once; longer wishes are refused.";
    LEASES_LOCAL_HOLD_MAX: Span = "leases.local_hold_max", Derived("none"), Some((ms(SECOND), ms(365 * DAY))),
        "The longest that a local holder keeps a lease; without it until it is released or the session closes.";
    LEASES_GRACE: Span = "leases.grace", Is("10s"), Some((ms(100), ms(HOUR))),
        "After a restart: how long local sessions have to reclaim what they held.";

    SESSIONS_MAX: u32 = "sessions.max", Is("1024"), Some((1, 65_536)),
        "Sessions on the local socket at a time; each has a thread.";
    SESSIONS_PER_PRINCIPAL_MAX: u32 = "sessions.per_principal_max", Is("256"), Some((1, 65_536)),
        "Sessions of one principal at a time.";
    SESSIONS_LEASES_MAX: u32 = "sessions.leases_per_principal_max", Is("100000"), Some((1, 10_000_000)),
        "Leases of one principal at a time, local and remote.";
    SESSIONS_ALLOCATIONS_MAX: u32 = "sessions.allocations_per_principal_max", Is("10000"), Some((1, 1_000_000)),
        "Open allocations of one principal at a time.";
    SESSIONS_STALL_TIMEOUT: Span = "sessions.stall_timeout", Is("5s"), Some((ms(100), ms(HOUR))),
        "A session whose client does not read for so long is closed.";
    SESSIONS_ALLOW_UIDS: Vec<u32> = "sessions.allow_uids", Is(""), None,
        "Users who may open sessions, besides root and the one the server runs as.";

    ALLOCATIONS_TIMEOUT: Span = "allocations.timeout", Is("10m"), Some((ms(SECOND), ms(7 * DAY))),
        "An allocation that is not committed for so long is aborted, unless its request named another time.";

    ALLOCATIONS_ROOM_WAIT: Span = "allocations.room_wait", Is("5s"), Some((ms(0), ms(HOUR))),
        "How long a request waits for room in a full RAM tier before it is refused; `0s`: not at all.";
    STREAMS_STALL_TIMEOUT: Span = "streams.stall_timeout", Is("2m"), Some((ms(100), ms(HOUR))),
        "A subscriber that acknowledges nothing for so long, while there is more for it, is cut off.";

    REQUESTS_RETENTION: Span = "requests.retention", Is("1h"), Some((ms(60 * SECOND), ms(30 * DAY))),
        "How long a retry with the same request id gets the first answer.";

    EVENTS_HEARTBEAT: Span = "events.heartbeat", Is("15s"), Some((ms(10), ms(HOUR))),
        "Who watches events hears something at least so often.";
    EVENTS_STALL_TIMEOUT: Span = "events.stall_timeout", Is("30s"), Some((ms(100), ms(HOUR))),
        "Who watches events and does not read for so long is cut off, and can go on later.";

    RETENTION_EVENTS: Span = "retention.events", Is("30d"), Some((ms(SECOND), ms(3_650 * DAY))),
        "How long events are kept.";
    RETENTION_METADATA: Span = "retention.metadata", Is("30d"), Some((ms(SECOND), ms(3_650 * DAY))),
        "How long a revision of metadata is kept once a later one has taken its place.";
    RETENTION_NAMES: Span = "retention.names", Is("30d"), Some((ms(SECOND), ms(3_650 * DAY))),
        "How long it is kept where a name has pointed, once it points elsewhere or was taken away.";
    RETENTION_TOMBSTONES: Span = "retention.tombstones", Is("30d"), Some((ms(SECOND), ms(3_650 * DAY))),
        "How long a payload that has ended stays in the catalog; longer while something descends from it.";

    KEEPER_KIND: KeeperKind = "keeper.kind", Derived("`built-in`; `none` with `memory:`"), None,
        "Who keeps RAM payloads while the server is down.";
    KEEPER_LINGER: Span = "keeper.linger", Is("10m"), Some((ms(0), ms(7 * DAY))),
        "How long the built-in keeper keeps RAM payloads after a graceful stop.";

    REPOSITORY_URL: RepositoryUrl = "repository.url", Is("sqlite:"), None,
        "Where the catalog is: `sqlite:` (`catalog.db` in the data directory), `sqlite:/path`, `postgres://…`, or `memory:`.";
    REPOSITORY_URL_FILE: PathBuf = "repository.url_file", Is(""), None,
        "A file whose first line is `repository.url`, for one with a password in it.";
    REPOSITORY_CA_FILE: PathBuf = "repository.ca_file", Is(""), None,
        "Certificates (PEM) of those who vouch for the PostgreSQL server, with `sslmode=verify-full` in the url.";
    REPOSITORY_UNSAFE_SETTINGS: UnsafeSettings = "repository.unsafe_settings", Is("refuse"), None,
        "A PostgreSQL with `fsync` or `full_page_writes` off: `refuse` to start, or `accept` that a crash of its host damages it.";
    REPOSITORY_POLL: Span = "repository.poll", Is("30s"), Some((ms(100), ms(HOUR))),
        "How often a server looks for what other servers of a PostgreSQL catalog may have done without a word of it.";
    REPOSITORY_BUSY_TIMEOUT: Span = "repository.busy_timeout", Is("5s"), Some((ms(10), ms(60 * SECOND))),
        "How long a call waits for the catalog before it is UNAVAILABLE.";

    LOG_FORMAT: LogFormat = "log.format", Is("text"), None,
        "How log lines on standard error look.";
    LOG_FILTER: LogFilter = "log.filter", Is("info"), None,
        "What is logged: a level, or `target=level` pairs separated by commas.";

    SHUTDOWN_DRAIN: Span = "shutdown.drain", Is("10s"), Some((ms(0), ms(HOUR))),
        "How long a graceful stop waits for calls that are under way.";
}
