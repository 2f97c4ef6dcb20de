//! Tells the service manager, if there is one, how the server is: ready, alive, stopping.

use std::io;
use std::sync::Arc;

use payload_core::Span;
use payload_engine::{Engine, Lives};
use payload_keeper::systemd::Notifier;
use tokio_util::sync::CancellationToken;

/// How long a start may be silent that has asked for more time.
const PATIENCE: Span = Span::from_secs(60);

/// Who started this server and wants to hear of it.
pub(crate) struct Supervisor {
    notifier: Option<Arc<Notifier>>,
    watchdog: Option<Span>,
}

impl Supervisor {
    pub(crate) fn new(notifier: Option<Arc<Notifier>>, watchdog: Option<Span>) -> Self {
        Self { notifier, watchdog }
    }

    pub(crate) fn starting(&self) {
        self.tell(|notifier| notifier.status("recovering"));
    }

    /// Still on the way, for a reason that the server can do nothing about; asks for more time.
    pub(crate) fn waiting(&self, trouble: &str) {
        self.tell(|notifier| notifier.waiting(PATIENCE, &format!("waiting: {trouble}")));
    }

    pub(crate) fn ready(&self) {
        self.tell(|notifier| notifier.ready("serving"));
    }

    pub(crate) fn stopping(&self) {
        self.tell(|notifier| notifier.stopping("draining"));
    }

    /// Gives a sign of life twice in the time after which one is missed, but only while the server can work: its catalog
    /// answers, its workers are there, and its runtime and its blocking threads still run this.
    pub(crate) fn watch(&self, engine: Arc<Engine>, lives: Lives, stop: CancellationToken) {
        let (Some(notifier), Some(time)) = (self.notifier.clone(), self.watchdog) else {
            return;
        };
        let watch = async move {
            let mut was_well = true;
            loop {
                let engine = Arc::clone(&engine);
                let checked = tokio::task::spawn_blocking(move || engine.check()).await;
                let trouble = match checked {
                    Ok(Ok(())) if lives.all_alive() => None,
                    Ok(Ok(())) => Some("a background worker has died".to_owned()),
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(error) => Some(error.to_string()),
                };
                log_failure(match &trouble {
                    None if was_well => notifier.alive(),
                    None => notifier.alive().and_then(|()| notifier.status("serving")),
                    Some(trouble) => {
                        tracing::error!(%trouble, "no sign of life for the service manager");
                        notifier.status(&format!("not well: {trouble}"))
                    }
                });
                was_well = trouble.is_none();
                tokio::time::sleep(time / 2).await;
            }
        };
        tokio::spawn(async move { stop.run_until_cancelled(watch).await });
    }

    fn tell(&self, tell: impl FnOnce(&Notifier) -> io::Result<()>) {
        if let Some(notifier) = &self.notifier {
            log_failure(tell(notifier));
        }
    }
}

fn log_failure(told: io::Result<()>) {
    if let Err(error) = told {
        tracing::warn!(%error, "could not tell the service manager");
    }
}
