//! What the tests share: a server with a directory of its own, both doors, and processes that play a client.

pub(crate) mod child;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod local;
pub(crate) mod map;
pub(crate) mod mount;
pub(crate) mod refusal;
pub(crate) mod samples;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use payload_proto::v1;
use payload_testkit::process::{Daemon, Setup, until};
use tempfile::TempDir;

use self::grpc::Grpc;
use self::local::Local;

/// Short times, so that nothing in a test lasts long; small tiers, so that they can be filled.
pub(crate) const CONFIG: &str = r#"
[tiers.ram]
capacity = "64MiB"
[tiers.disk]
capacity = "64MiB"
[leases]
grace = "300ms"
[keeper]
kind = "none"
"#;

/// A server in a directory of its own.
pub(crate) struct World {
    pub(crate) daemon: Daemon,
    setup: Setup,
    dir: TempDir,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With more configuration.
    pub(crate) fn with(config: &str) -> Self {
        Self::of(&format!("{CONFIG}{config}"))
    }

    /// With a configuration of its own.
    pub(crate) fn of(config: &str) -> Self {
        let dir = directory();
        let setup = setup(&data_dir(&dir)).config(config);
        Self {
            daemon: setup.start(),
            setup,
            dir,
        }
    }

    /// The disk tier's directory.
    pub(crate) fn disk(&self) -> PathBuf {
        data_dir(&self.dir).join("disk")
    }

    pub(crate) fn session(&self) -> Local {
        Local::open(self.socket())
    }

    pub(crate) fn grpc(&self) -> Grpc {
        Grpc::tcp(&self.daemon.endpoint().grpc)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.daemon.endpoint().socket
    }

    /// Kills the server and starts it again.
    pub(crate) fn kill_and_restart(self) -> Self {
        self.restart_after(|_| ())
    }

    /// Kills the server, lets something happen to its directory, and starts it again.
    pub(crate) fn restart_after(self, happens: impl FnOnce(&Path)) -> Self {
        let Self { daemon, setup, dir } = self;
        daemon.kill();
        happens(&data_dir(&dir));
        Self {
            daemon: setup.start(),
            setup,
            dir,
        }
    }

    /// A second server like this one.
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// A place that other users can reach.
    pub(crate) fn shared_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a namespace.
    pub(crate) fn namespace(&self, name: &str) -> v1::Namespace {
        let request = v1::CreateNamespaceRequest {
            name: name.to_owned(),
            quota: None,
        };
        self.grpc().create_namespace(request).unwrap().namespace.unwrap()
    }

    pub(crate) fn stats(&self) -> v1::GetStatsResponse {
        self.grpc().get_stats(v1::GetStatsRequest {}).unwrap()
    }

    /// Waits until the numbers are as they should be.
    pub(crate) fn await_stats(&self, what: &str, level: impl Fn(&v1::GetStatsResponse) -> bool) {
        let grpc = self.grpc();
        until(what, || {
            let stats = grpc.get_stats(v1::GetStatsRequest {}).unwrap();
            level(&stats).then_some(())
        });
    }

    /// The kinds of a payload's events, oldest first.
    pub(crate) fn events(&self, payload_id: &str) -> Vec<String> {
        let request = v1::ListEventsRequest {
            payload_id: payload_id.to_owned(),
            ..Default::default()
        };
        let events = self.grpc().list_events(request).unwrap().events;
        events.into_iter().map(|event| event.kind).collect()
    }
}

/// A directory through which every user can go.
pub(crate) fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

pub(crate) fn data_dir(dir: &TempDir) -> PathBuf {
    dir.path().join("data")
}

pub(crate) fn setup(data_dir: &Path) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_payloadd"), data_dir)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Bytes used in a tier.
pub(crate) fn used(stats: &v1::GetStatsResponse, tier: v1::Tier) -> u64 {
    stats.tiers.iter().find(|one| one.tier() == tier).unwrap().used_bytes
}
