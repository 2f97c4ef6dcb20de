//! Who keeps the segments while no server lives: the built-in keeper, systemd, or nobody.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use payload_core::port::FdStore;
use payload_core::{Error, NodeId, Reason, SegmentId, Span, limits};
use payload_keeper::systemd::{Systemd, SystemdStore};
use payload_keeper::{Backoff, ClientOptions, Fate, KeeperClient, KeeperOptions, Link, NoKeeper, Start};

use crate::clock::BootClock;
use crate::command::Again;
use crate::config::{Config, KeeperKind};
use crate::identity::Identity;

/// How long a call waits for the keeper, and for one that has died to be replaced.
const PATIENCE: Span = Span::from_secs(5);
/// The exit code of a keeper that could not start.
const EXIT_UNAVAILABLE: u8 = 1;

/// The server's side of whoever keeps its segments.
#[derive(Clone)]
pub(crate) enum Keeping {
    BuiltIn(Arc<KeeperClient>),
    Systemd(Arc<SystemdStore>),
    Nobody,
}

impl Keeping {
    /// Says hello to the keeper that started this server, or takes what systemd kept. A server that nobody keeps has none.
    pub(crate) fn connect(
        config: &Config,
        keeper: Option<&Again>,
        systemd: &mut Systemd,
    ) -> payload_core::Result<Self> {
        let segments = systemd.take_segments();
        let Some(again) = keeper else {
            if config.keeper.kind == KeeperKind::Systemd {
                return Self::with_systemd(systemd, segments);
            }
            if !segments.is_empty() {
                tracing::warn!(
                    segments = segments.len(),
                    "systemd kept RAM payloads, which are lost: keeper.kind is not \"systemd\" any more"
                );
            }
            return Ok(Self::Nobody);
        };
        let options = ClientOptions {
            directory: config.data_dir.clone(),
            respawn: again.command(&["keeper", "--adopt"]),
            patience: PATIENCE,
        };
        Ok(Self::BuiltIn(Arc::new(KeeperClient::connect(options)?)))
    }

    fn with_systemd(systemd: &Systemd, segments: Vec<(SegmentId, OwnedFd)>) -> payload_core::Result<Self> {
        let cannot = |why: &str| {
            let message = format!("keeper.kind is \"systemd\", but {why}");
            Error::new(Reason::KeeperUnavailable, message)
        };
        let notifier = systemd.notifier.clone();
        let notifier = notifier.ok_or_else(|| cannot("it did not start this process: NOTIFY_SOCKET is not set"))?;
        let max = systemd.store_max.filter(|max| *max > 0).ok_or_else(|| {
            cannot(
                "this unit has no place for descriptors: set FileDescriptorStoreMax= and, before systemd 254, FDSTORE \
                 to the same number with Environment=",
            )
        })?;
        Ok(Self::Systemd(Arc::new(SystemdStore::new(notifier, max, segments))))
    }

    pub(crate) fn store(&self) -> Arc<dyn FdStore> {
        match self {
            Self::BuiltIn(client) => Arc::clone(client) as _,
            Self::Systemd(store) => Arc::clone(store) as _,
            Self::Nobody => Arc::new(NoKeeper),
        }
    }

    /// How many segments can be kept.
    pub(crate) fn segments_max(&self) -> u64 {
        match self {
            Self::BuiltIn(_) => limits::KEEPER_SEGMENTS_MAX as u64,
            Self::Systemd(store) => store.max() as u64,
            Self::Nobody => u64::MAX,
        }
    }

    /// Names who has the segments, so that a new keeper can be given all of them.
    pub(crate) fn set_source(&self, source: impl Fn(SegmentId) -> Option<OwnedFd> + Send + Sync + 'static) {
        if let Self::BuiltIn(client) = self {
            client.set_source(source);
        }
    }

    /// Says that the server serves: from now on it is restarted whatever it dies of.
    pub(crate) fn ready(&self) {
        if let Self::BuiltIn(client) = self {
            log_failure("hear that the server is ready", client.ready());
        }
    }

    /// Says that the server stops on purpose, and what becomes of the segments.
    pub(crate) fn stopping(&self, drop_volatile: bool) {
        match self {
            Self::BuiltIn(client) => {
                let fate = if drop_volatile { Fate::Drop } else { Fate::Keep };
                log_failure("hear that the server stops", client.stopping(fate));
            }
            Self::Systemd(store) if drop_volatile => log_failure("drop what it keeps", store.clear()),
            Self::Systemd(_) | Self::Nobody => {}
        }
    }

    pub(crate) fn identity(&self, node: NodeId) -> Identity {
        let kind = match self {
            Self::BuiltIn(_) => "built-in",
            Self::Systemd(_) => "systemd",
            Self::Nobody => "none",
        };
        let keeping = self.clone();
        let connected = move || match &keeping {
            Self::BuiltIn(client) => client.state() == Link::Up,
            // It started this process, and takes datagrams as long as it lives.
            Self::Systemd(_) => true,
            Self::Nobody => false,
        };
        Identity {
            node,
            keeper_kind: kind,
            keeper_connected: Box::new(connected),
        }
    }
}

fn log_failure(what: &str, told: payload_core::Result<()>) {
    if let Err(error) = told {
        tracing::warn!(%error, "could not make the keeper {what}");
    }
}

/// Runs the keeper in this process, which starts and supervises the server.
pub(crate) fn run(config: &Config, start: Start, again: &Again) -> ExitCode {
    let options = KeeperOptions {
        directory: config.data_dir.clone(),
        start,
        server: again.command(&["serve", "--kept"]),
        hold: again.command(&["keeper", "--hold"]),
        linger: config.keeper.linger,
        backoff: Backoff::default(),
    };
    let result = prepare(&config.data_dir).and_then(|()| payload_keeper::run(&options, &BootClock));
    result.unwrap_or_else(|error| {
        eprintln!("payloadd: {error}");
        ExitCode::from(EXIT_UNAVAILABLE)
    })
}

/// The keeper comes before the server, and its socket needs the directory.
fn prepare(directory: &Path) -> payload_core::Result<()> {
    crate::data_dir::create(directory).map_err(|error| {
        let message = format!("cannot make the data directory {}: {error}", directory.display());
        Error::new(Reason::Internal, message)
    })
}
