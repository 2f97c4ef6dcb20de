//! The configuration: one TOML file, environment variables on top of it, the command line on top of those.
//!
//! [`Config::load`] answers with a configuration in which nothing contradicts anything else, or with all that is wrong.
//! The keys stand in one table (`keys.rs`); [`Config`] is what they amount to on this machine.

mod build;
mod defaults;
mod file;
mod keys;
mod log_filter;
mod machine;
mod object;
mod problem;
mod reader;
mod unit;
mod value;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use payload_core::Span;
use payload_core::tiering::Watermarks;

use build::build;
use reader::{Effective, Reader};

pub use log_filter::LogFilter;
pub use object::ObjectConfig;
pub use problem::{Origin, Problem};
pub use unit::Capacity;
pub use value::{KeeperKind, LogFormat, Secret, UnsafeSettings};

/// Everything the server can be told, checked and resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The directory that belongs to this server; absolute.
    pub data_dir: PathBuf,
    /// Where gRPC listens; a loopback address.
    pub grpc_listen: SocketAddr,
    /// Where health and metrics are served; a loopback address.
    pub http_listen: SocketAddr,
    /// The byte endpoint.
    pub bytes: Bytes,
    /// What the tiers may hold.
    pub tiers: Tiers,
    /// How often and how fast bytes are read to see whether they are right.
    pub scrub: Scrub,
    /// Terms of leases.
    pub leases: Leases,
    /// Bounds of sessions and principals.
    pub sessions: Sessions,
    /// An allocation that is not committed for so long is aborted, unless its request named another time.
    pub allocation_timeout: Span,
    /// How long a request waits for room in a full RAM tier.
    pub room_wait: Span,
    /// How long a subscriber may acknowledge nothing while there is more for it.
    pub stream_stall_timeout: Span,
    /// How long a retry with the same request id gets the first answer.
    pub request_retention: Span,
    /// How patient the server is with those who watch events.
    pub events: Events,
    /// How long the history is kept.
    pub retention: Retention,
    /// Who keeps segments while the server is down, and for how long.
    pub keeper: Keeper,
    /// Where the catalog is.
    pub repository: Repository,
    /// What is logged and how.
    pub log: Log,
    /// How long a graceful stop waits for calls that are under way.
    pub shutdown_drain: Span,
}

/// The byte endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// Where it listens; a loopback address.
    pub listen: SocketAddr,
    /// Connections at a time.
    pub connections_max: u32,
    /// A connection on which too little moves for so long is closed.
    pub idle_timeout: Span,
}

/// What the tiers may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiers {
    /// Bytes of the RAM tier.
    pub ram_capacity: u64,
    /// Bytes of it that may be made ready for payloads to come.
    pub ram_pool: u64,
    /// Between which shares of it eviction works.
    pub ram_watermarks: Watermarks,
    /// And between which shares of the disk tier.
    pub disk_watermarks: Watermarks,
    /// Payloads that are copied from tier to tier at a time.
    pub movers: u32,
    /// See the key.
    pub spill_mib_per_second: u32,
    /// See the key.
    pub promote_mib_per_second: u32,
    /// See the key.
    pub pinned_max: u32,
    /// How much may be written behind at a time, in per cent of what RAM may hold.
    pub write_behind_max: u32,
    /// See the key.
    pub compact_below: u32,
    /// See the key.
    pub compact_mib_per_second: u32,
    /// What the disk tier may hold; a share is of what is free and what the tier holds already.
    pub disk_capacity: Capacity,
    /// The disk tier's own directory; absolute.
    pub disk_path: PathBuf,
    /// The object tier; none: there is no such tier.
    pub object: Option<ObjectConfig>,
}

/// How bytes at rest are looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrub {
    /// All of them are read so often; none: never.
    pub interval: Option<Span>,
    /// So many MiB in a second.
    pub mib_per_second: u32,
}

/// Terms of leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// For a remote holder who asks for none.
    pub remote_default: Span,
    /// The longest for remote holders.
    pub remote_max: Span,
    /// The longest for local holders; none: until released.
    pub local_hold_max: Option<Span>,
    /// How long after a restart local sessions may reclaim what they held.
    pub grace: Span,
}

/// Bounds of sessions and principals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// At a time.
    pub max: u32,
    /// At a time, of one principal.
    pub per_principal_max: u32,
    /// Leases at a time, of one principal.
    pub leases_per_principal_max: u32,
    /// Open allocations at a time, of one principal.
    pub allocations_per_principal_max: u32,
    /// A session whose client does not read for so long is closed.
    pub stall_timeout: Span,
    /// Users who may connect besides root and the server's own.
    pub allow_uids: Vec<u32>,
}

/// How patient the server is with those who watch events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// Something is sent at least so often.
    pub heartbeat: Span,
    /// Who does not read for so long is cut off.
    pub stall_timeout: Span,
}

/// How long the parts of the history are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// From when they happened.
    pub events: Span,
    /// From when a later revision took the place of one.
    pub metadata: Span,
    /// From when a name pointed elsewhere.
    pub names: Span,
    /// From when the payload ended.
    pub tombstones: Span,
}

/// Who keeps segments while the server is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeper {
    /// Who.
    pub kind: KeeperKind,
    /// For how long after a graceful stop.
    pub linger: Span,
}

/// Where the catalog is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Where.
    pub place: Place,
    /// How long a call waits for the catalog.
    pub busy_timeout: Span,
    /// How often one looks for what other servers may have done.
    pub poll: Span,
    /// What is done about a PostgreSQL whose settings are unsafe.
    pub unsafe_settings: UnsafeSettings,
}

/// Where a catalog can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this process, until it ends.
    Memory,
    /// In this file; absolute.
    Sqlite(PathBuf),
    /// In the PostgreSQL database that a connection string leads to.
    Postgres {
        /// The connection string.
        url: Secret,
        /// Whose certificates to believe.
        ca_file: Option<PathBuf>,
    },
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Which events are logged.
    pub filter: LogFilter,
}

impl Config {
    /// Reads the file (if there is one), the environment and the command line, the later ones over the earlier.
    ///
    /// `env` is the whole environment as pairs, `command_line` pairs of keys and values such as `("data_dir", "/data")`.
    /// The problems come in the order in which they would be met when reading.
    pub fn load(
        file: Option<&Path>,
        env: &[(String, String)],
        command_line: &[(String, String)],
    ) -> Result<Self, Vec<Problem>> {
        load(file, env, command_line).map(|(config, _)| config)
    }

    /// The defaults for a data directory, on free ports: what an embedded server or a test starts from.
    pub fn default_for(data_dir: &Path) -> Result<Self, Vec<Problem>> {
        let set = |key: &str, value: String| (key.to_owned(), value);
        let command_line = [
            set("data_dir", data_dir.display().to_string()),
            set("grpc.listen", "127.0.0.1:0".to_owned()),
        ];
        Self::load(None, &[], &command_line)
    }
}

/// What `payloadd check-config` prints when all is well: every key with what it amounts to here and where that was
/// set. The text is itself a configuration file.
pub fn check(
    file: Option<&Path>,
    env: &[(String, String)],
    command_line: &[(String, String)],
) -> Result<String, Vec<Problem>> {
    let (_, effective) = load(file, env, command_line)?;
    let line = |setting: &Effective| match &setting.value {
        Some(value) => format!("{} = {value}  # {}\n", setting.path, setting.origin),
        None => format!("# {} is not set\n", setting.path),
    };
    Ok(std::iter::once("# OK\n".to_owned())
        .chain(effective.iter().map(line))
        .collect())
}

/// The table of the reference page: every key with its type, default and meaning.
pub fn reference() -> String {
    let rows: Vec<_> = keys::ALL.iter().map(|key| key.reference()).collect();
    format!(
        "| key | type | default | meaning |\n|---|---|---|---|\n{}\n",
        rows.join("\n")
    )
}

fn load(
    file: Option<&Path>,
    env: &[(String, String)],
    command_line: &[(String, String)],
) -> Result<(Config, Vec<Effective>), Vec<Problem>> {
    let mut problems = Vec::new();
    let settings = file.map(|path| file::read(path, &mut problems)).unwrap_or_default();
    let mut reader = Reader::new(settings, env, command_line, problems);
    let config = build(&mut reader, env);
    if reader.problems.is_empty() {
        return Ok((config, reader.effective));
    }
    reader.problems.sort();
    Err(reader.problems)
}
