//! Logging: one subscriber on standard error, and panics as log lines.

use std::backtrace::Backtrace;
use std::io;
use std::panic::{self, PanicHookInfo};
use std::thread;

use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};

/// The target of panics, which no filter hides.
const PANICS: &str = "panic";

/// Starts logging for the whole process. Fails when it was started before.
pub fn init(log: &Log) -> Result<(), TryInitError> {
    let lines = match log.format {
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(io::stderr)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(io::stderr)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(log.filter.targets().with_target(PANICS, Level::ERROR)))
        .try_init()?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let current = thread::current();
    tracing::error!(
        target: PANICS,
        thread = current.name().unwrap_or("unnamed"),
        location = panic.location().map(tracing::field::display),
        backtrace = %Backtrace::capture(),
        "panic: {}",
        panic.payload_as_str().unwrap_or("no message"),
    );
}
