//! Who keeps the segments while no server lives: the built-in keeper, or nobody.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use payload_core::port::FdStore;
use payload_core::{Error, NodeId, Reason, SegmentId, Span};
use payload_keeper::{Backoff, ClientOptions, Fate, KeeperClient, KeeperOptions, Link, NoKeeper, Start};

use crate::clock::BootClock;
use crate::command::Again;
use crate::config::Config;
use crate::identity::Identity;

/// How long a call waits for the keeper, and for one that has died to be replaced.
const PATIENCE: Span = Span::from_secs(5);
/// The exit code of a keeper that could not start.
const EXIT_UNAVAILABLE: u8 = 1;

/// The server's side of the keeper.
pub(crate) struct Keeping {
    client: Option<Arc<KeeperClient>>,
}

impl Keeping {
    /// Says hello to the keeper that started this server. A server that nobody keeps has none.
    pub(crate) fn connect(config: &Config, keeper: Option<&Again>) -> payload_core::Result<Self> {
        let Some(again) = keeper else {
            return Ok(Self { client: None });
        };
        let options = ClientOptions {
            directory: config.data_dir.clone(),
            respawn: again.command(&["keeper", "--adopt"]),
            patience: PATIENCE,
        };
        Ok(Self {
            client: Some(Arc::new(KeeperClient::connect(options)?)),
        })
    }

    pub(crate) fn store(&self) -> Arc<dyn FdStore> {
        match &self.client {
            Some(client) => Arc::clone(client) as _,
            None => Arc::new(NoKeeper),
        }
    }

    /// Names who has the segments, so that a new keeper can be given all of them.
    pub(crate) fn set_source(&self, source: impl Fn(SegmentId) -> Option<OwnedFd> + Send + Sync + 'static) {
        if let Some(client) = &self.client {
            client.set_source(source);
        }
    }

    /// Says that the server serves: from now on it is restarted whatever it dies of.
    pub(crate) fn ready(&self) {
        self.tell("that the server is ready", KeeperClient::ready);
    }

    /// Says that the server stops on purpose, and what becomes of the segments.
    pub(crate) fn stopping(&self, drop_volatile: bool) {
        let fate = if drop_volatile { Fate::Drop } else { Fate::Keep };
        self.tell("that the server stops", |client| client.stopping(fate));
    }

    pub(crate) fn identity(&self, node: NodeId) -> Identity {
        let client = self.client.clone();
        let kind = if client.is_some() { "built-in" } else { "none" };
        let connected = move || client.as_ref().is_some_and(|client| client.state() == Link::Up);
        Identity {
            node,
            keeper_kind: kind,
            keeper_connected: Box::new(connected),
        }
    }

    fn tell(&self, what: &str, tell: impl Fn(&KeeperClient) -> payload_core::Result<()>) {
        if let Some(client) = &self.client
            && let Err(error) = tell(client)
        {
            tracing::warn!(%error, "could not tell the keeper {what}");
        }
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
