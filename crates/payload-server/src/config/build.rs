//! From settings to a [`Config`]: reads every key once, resolves what depends on the machine, refuses contradictions.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::keys::{self, Key};
use super::object::object;
use super::reader::Reader;
use payload_core::tiering::Watermarks;
use payload_repo::Database;

use super::unit::{Capacity, show_size};
use super::value::{KeeperKind, RepositoryUrl, Secret, Value, Written, quote};
use super::{
    Bytes, Config, Events, Keeper, Leases, Log, Place, Repository, Retention, Scrub, Sessions, Tiers, defaults, machine,
};

/// Less would not hold one payload of middling size.
const CAPACITY_MIN: u64 = 1 << 20;

/// Reads everything. What is wrong is in `reader.problems`, and then the result means nothing.
pub(super) fn build(reader: &mut Reader, env: &[(String, String)]) -> Config {
    let data_dir = data_dir(reader, env);
    let grpc_listen = reader.get(&keys::GRPC_LISTEN);
    let repository = Repository {
        place: place(reader, &data_dir),
        busy_timeout: reader.get(&keys::REPOSITORY_BUSY_TIMEOUT),
        poll: reader.get(&keys::REPOSITORY_POLL),
        unsafe_settings: reader.get(&keys::REPOSITORY_UNSAFE_SETTINGS),
    };
    let config = Config {
        http_listen: listen_after(reader, &keys::HTTP_LISTEN, grpc_listen, 1),
        bytes: Bytes {
            listen: listen_after(reader, &keys::BYTES_LISTEN, grpc_listen, 2),
            connections_max: reader.get(&keys::BYTES_CONNECTIONS_MAX),
            idle_timeout: reader.get(&keys::BYTES_IDLE_TIMEOUT),
        },
        grpc_listen,
        tiers: tiers(reader, &data_dir),
        scrub: Scrub {
            interval: Some(reader.get(&keys::SCRUB_INTERVAL)).filter(|interval| !interval.is_zero()),
            mib_per_second: reader.get(&keys::SCRUB_RATE),
        },
        leases: Leases {
            remote_default: reader.get(&keys::LEASES_REMOTE_DEFAULT),
            remote_max: reader.get(&keys::LEASES_REMOTE_MAX),
            local_hold_max: reader.find(&keys::LEASES_LOCAL_HOLD_MAX),
            grace: reader.get(&keys::LEASES_GRACE),
        },
        sessions: Sessions {
            max: reader.get(&keys::SESSIONS_MAX),
            per_principal_max: reader.get(&keys::SESSIONS_PER_PRINCIPAL_MAX),
            leases_per_principal_max: reader.get(&keys::SESSIONS_LEASES_MAX),
            allocations_per_principal_max: reader.get(&keys::SESSIONS_ALLOCATIONS_MAX),
            stall_timeout: reader.get(&keys::SESSIONS_STALL_TIMEOUT),
            allow_uids: reader.get(&keys::SESSIONS_ALLOW_UIDS),
        },
        allocation_timeout: reader.get(&keys::ALLOCATIONS_TIMEOUT),
        room_wait: reader.get(&keys::ALLOCATIONS_ROOM_WAIT),
        stream_stall_timeout: reader.get(&keys::STREAMS_STALL_TIMEOUT),
        request_retention: reader.get(&keys::REQUESTS_RETENTION),
        events: Events {
            heartbeat: reader.get(&keys::EVENTS_HEARTBEAT),
            stall_timeout: reader.get(&keys::EVENTS_STALL_TIMEOUT),
        },
        retention: Retention {
            events: reader.get(&keys::RETENTION_EVENTS),
            metadata: reader.get(&keys::RETENTION_METADATA),
            names: reader.get(&keys::RETENTION_NAMES),
            tombstones: reader.get(&keys::RETENTION_TOMBSTONES),
        },
        keeper: keeper(reader, &repository),
        repository,
        log: Log {
            format: reader.get(&keys::LOG_FORMAT),
            filter: reader.get(&keys::LOG_FILTER),
        },
        shutdown_drain: reader.get(&keys::SHUTDOWN_DRAIN),
        data_dir,
    };
    // A value that was refused stands here as its default, and must not be blamed for contradicting another.
    if reader.problems.is_empty() {
        refuse_contradictions(reader, &config);
    }
    config
}

fn data_dir(reader: &mut Reader, env: &[(String, String)]) -> PathBuf {
    let usual = defaults::data_dir(env, rustix::process::geteuid().is_root());
    if usual.is_none() && !reader.is_set(&keys::DATA_DIR) {
        let hint = Some("set it, or HOME or XDG_DATA_HOME in the environment".to_owned());
        reader.refuse(
            &keys::DATA_DIR,
            "there is no usual place for this user".to_owned(),
            hint,
        );
    }
    reader.get_or(&keys::DATA_DIR, || usual.unwrap_or_default())
}

/// The address of another listener, which is `places` after gRPC's unless somebody says otherwise.
fn listen_after(reader: &mut Reader, key: &'static Key<SocketAddr>, grpc: SocketAddr, places: u16) -> SocketAddr {
    let usual = defaults::listen_after(grpc, places);
    if usual.is_none() && !reader.is_set(key) {
        let message = format!("there is no port {places} after {} for {}", grpc.port(), key.path);
        reader.refuse(&keys::GRPC_LISTEN, message, Some(format!("set {}", key.path)));
    }
    reader.get_or(key, || usual.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
}

fn tiers(reader: &mut Reader, data_dir: &Path) -> Tiers {
    let ram_capacity = capacity(reader, &keys::RAM_CAPACITY, "memory", machine::memory);
    if let Ok(memory) = machine::memory()
        && ram_capacity > memory
    {
        let message = format!("more than the {} of memory that there are", show_size(memory));
        reader.refuse(
            &keys::RAM_CAPACITY,
            message,
            Some("write a share such as \"50%\"".to_owned()),
        );
    }
    let disk_path = reader.get_or(&keys::DISK_PATH, || data_dir.join("disk"));
    if data_dir.starts_with(&disk_path) {
        // Whatever no row names is removed from there. And it may be all of the file system, which is not to be measured.
        let message = "the disk tier needs a directory of its own, which data_dir is not to be in".to_owned();
        reader.refuse(
            &keys::DISK_PATH,
            message,
            Some("write a directory below data_dir".to_owned()),
        );
    }
    let disk_capacity = reader.get(&keys::DISK_CAPACITY);
    if let Capacity::Bytes(bytes) = disk_capacity {
        refuse_too_small(reader, &keys::DISK_CAPACITY, bytes);
    }
    let ram_pool = reader.get(&keys::RAM_POOL).of(ram_capacity);
    if ram_pool > ram_capacity {
        let message = format!("more than the tier's capacity of {}", show_size(ram_capacity));
        reader.refuse(&keys::RAM_POOL, message, None);
    }
    Tiers {
        ram_capacity,
        ram_pool,
        ram_watermarks: watermarks(reader, &keys::RAM_LOW_WATERMARK, &keys::RAM_HIGH_WATERMARK),
        disk_watermarks: watermarks(reader, &keys::DISK_LOW_WATERMARK, &keys::DISK_HIGH_WATERMARK),
        movers: reader.get(&keys::MOVERS),
        spill_mib_per_second: reader.get(&keys::SPILL_RATE),
        promote_mib_per_second: reader.get(&keys::PROMOTE_RATE),
        pinned_max: reader.get(&keys::PINNED_MAX),
        write_behind_max: reader.get(&keys::WRITE_BEHIND_MAX),
        compact_below: reader.get(&keys::COMPACT_BELOW),
        compact_mib_per_second: reader.get(&keys::COMPACT_RATE),
        disk_capacity,
        disk_path,
        object: object(reader),
    }
}

/// The shares between which eviction works; those that contradict each other are refused.
fn watermarks(reader: &mut Reader, low_key: &'static Key<u32>, high_key: &'static Key<u32>) -> Watermarks {
    let (low, high) = (reader.get(low_key), reader.get(high_key));
    let share = |percent: u32| u8::try_from(percent).unwrap_or(u8::MAX);
    Watermarks::new(share(low), share(high)).unwrap_or_else(|_| {
        reader.refuse(low_key, format!("not below {}", high_key.path), None);
        Watermarks::default()
    })
}

/// The key's value in bytes; a percentage is of what `whole` finds.
fn capacity(
    reader: &mut Reader,
    key: &'static Key<Capacity>,
    what: &str,
    whole: impl FnOnce() -> std::io::Result<u64>,
) -> u64 {
    let capacity = reader.get(key);
    let whole = match capacity {
        Capacity::Bytes(_) => Ok(0),
        Capacity::Percent(_) => whole(),
    };
    let bytes = match whole {
        Ok(whole) => capacity.of(whole),
        Err(error) => {
            reader.refuse(
                key,
                format!("cannot find out {what}: {error}"),
                Some("write a size".to_owned()),
            );
            return 0;
        }
    };
    refuse_too_small(reader, key, bytes);
    reader.resolved(quote(show_size(bytes)));
    bytes
}

fn refuse_too_small(reader: &mut Reader, key: &'static Key<Capacity>, bytes: u64) {
    if bytes < CAPACITY_MIN {
        let message = format!(
            "{} is less than the smallest capacity, {}",
            show_size(bytes),
            show_size(CAPACITY_MIN)
        );
        reader.refuse(key, message, None);
    }
}

fn place(reader: &mut Reader, data_dir: &Path) -> Place {
    let url = reader.get(&keys::REPOSITORY_URL);
    let url = match reader.find(&keys::REPOSITORY_URL_FILE) {
        None => url,
        Some(file) => url_in(reader, &file).unwrap_or(url),
    };
    let ca_file = reader.find(&keys::REPOSITORY_CA_FILE);
    match url {
        RepositoryUrl::Postgres(url) => postgres(reader, url, ca_file),
        _ if ca_file.is_some() => {
            let message = "repository.url is not one of PostgreSQL".to_owned();
            reader.refuse(&keys::REPOSITORY_CA_FILE, message, Some("leave it out".to_owned()));
            Place::Memory
        }
        RepositoryUrl::Memory => Place::Memory,
        RepositoryUrl::Sqlite(Some(path)) => Place::Sqlite(path),
        RepositoryUrl::Sqlite(None) => Place::Sqlite(data_dir.join("catalog.db")),
    }
}

fn postgres(reader: &mut Reader, url: Secret, ca_file: Option<PathBuf>) -> Place {
    if let Err(error) = Database::parse(url.reveal(), ca_file.as_deref()) {
        let message = error.message().to_owned();
        match ca_file.is_some() {
            true => reader.refuse(&keys::REPOSITORY_CA_FILE, message, None),
            false if reader.is_set(&keys::REPOSITORY_URL) => reader.refuse(&keys::REPOSITORY_URL, message, None),
            false => reader.refuse(&keys::REPOSITORY_URL_FILE, message, None),
        }
    }
    Place::Postgres { url, ca_file }
}

fn url_in(reader: &mut Reader, file: &Path) -> Option<RepositoryUrl> {
    let key = &keys::REPOSITORY_URL_FILE;
    if reader.is_set(&keys::REPOSITORY_URL) {
        let hint = Some("leave one of them out".to_owned());
        reader.refuse(key, "repository.url is set too".to_owned(), hint);
        return None;
    }
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            reader.refuse(key, format!("cannot read {}: {error}", file.display()), None);
            return None;
        }
    };
    let line = text.lines().next().unwrap_or_default().trim();
    match RepositoryUrl::read(&Written::Words(line.to_owned())) {
        Ok(url) => Some(url),
        Err(fault) => {
            reader.refuse(key, fault.message, fault.hint);
            None
        }
    }
}

fn keeper(reader: &mut Reader, repository: &Repository) -> Keeper {
    // Segments without rows are worth nothing, and rows in memory die with the server.
    let kind = reader.get_or(&keys::KEEPER_KIND, || match repository.place {
        Place::Sqlite(_) | Place::Postgres { .. } => KeeperKind::BuiltIn,
        Place::Memory => KeeperKind::None,
    });
    Keeper {
        kind,
        linger: reader.get(&keys::KEEPER_LINGER),
    }
}

fn refuse_contradictions(reader: &mut Reader, config: &Config) {
    if config.leases.remote_default > config.leases.remote_max {
        reader.refuse(
            &keys::LEASES_REMOTE_DEFAULT,
            "longer than leases.remote_max".to_owned(),
            None,
        );
    }
    if config.sessions.per_principal_max > config.sessions.max {
        reader.refuse(
            &keys::SESSIONS_PER_PRINCIPAL_MAX,
            "more than sessions.max".to_owned(),
            None,
        );
    }
    refuse_short_tombstones(reader, config);
    refuse_same_address(
        reader,
        &keys::HTTP_LISTEN,
        config.http_listen,
        &[("grpc.listen", config.grpc_listen)],
    );
    let others = [("grpc.listen", config.grpc_listen), ("http.listen", config.http_listen)];
    refuse_same_address(reader, &keys::BYTES_LISTEN, config.bytes.listen, &others);
    if config.repository.place == Place::Memory {
        refuse_keeping_with_memory(reader, config);
    }
    if config.keeper.kind == KeeperKind::Systemd && reader.is_set(&keys::KEEPER_LINGER) {
        let message = "systemd decides how long it keeps what it keeps".to_owned();
        let hint = Some("leave it out, and set FileDescriptorStorePreserve= in the unit".to_owned());
        reader.refuse(&keys::KEEPER_LINGER, message, hint);
    }
}

/// A tombstone takes its metadata with it, and must be there for whoever asks again under the same request id.
fn refuse_short_tombstones(reader: &mut Reader, config: &Config) {
    let kept = config.retention;
    if kept.tombstones < config.request_retention {
        let message = "shorter than requests.retention".to_owned();
        reader.refuse(&keys::RETENTION_TOMBSTONES, message, None);
    } else if kept.metadata > kept.tombstones {
        let message = "longer than retention.tombstones".to_owned();
        reader.refuse(&keys::RETENTION_METADATA, message, None);
    }
}

fn refuse_same_address(
    reader: &mut Reader,
    key: &'static Key<SocketAddr>,
    address: SocketAddr,
    others: &[(&str, SocketAddr)],
) {
    let same = others
        .iter()
        .find(|(_, other)| address.port() != 0 && *other == address);
    if let Some((other, _)) = same {
        reader.refuse(key, format!("the same address as {other}"), None);
    }
}

/// With `memory:` every start finds no rows, so bytes of an earlier start have no owner and are removed.
fn refuse_keeping_with_memory(reader: &mut Reader, config: &Config) {
    if config.keeper.kind != KeeperKind::None {
        let message = "nothing can be kept for a catalog in memory, which forgets whose it is".to_owned();
        reader.refuse(
            &keys::KEEPER_KIND,
            message,
            Some("write \"none\", or repository.url = \"sqlite:\"".to_owned()),
        );
    }
    if reader.is_set(&keys::DISK_PATH) {
        let message = "a catalog in memory knows none of the files there and would remove them".to_owned();
        reader.refuse(
            &keys::DISK_PATH,
            message,
            Some("leave it out, or set repository.url to \"sqlite:\"".to_owned()),
        );
    }
    let catalog = config.data_dir.join("catalog.db");
    if catalog.exists() {
        let message = format!(
            "{} exists; a catalog in memory would remove the files that belong to it",
            catalog.display()
        );
        reader.refuse(
            &keys::REPOSITORY_URL,
            message,
            Some("use another data_dir for \"memory:\"".to_owned()),
        );
    }
}
