//! Streams next to their floors: appends, deliveries, hand-overs, reads, and what a hundred thousand streams cost.

mod append;
mod deliver;
mod fill;
mod pgbench;
mod read;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use payload_client::StreamName;

use crate::measure::Figure;
use crate::report::{self, Settings};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Entries of the stream that is read
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Streams over which appends are spread, next to a hundred
    #[arg(long, default_value_t = 100_000)]
    streams: u64,
    /// An empty database to measure appends on too, next to pgbench
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// The floor of the database
    #[arg(long, default_value = "pgbench", value_name = "FILE")]
    pgbench: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    options
        .settings
        .report(|settings| measure(settings, options), report::figures)
}

fn measure(settings: &Settings, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = append::sqlite(settings)?;
    if let Some(url) = &options.postgres {
        figures.extend(append::postgres(settings, url, &options.pgbench)?);
    }
    figures.extend(append::many_streams(settings, options.streams)?);
    figures.extend(deliver::idle(settings)?);
    figures.extend(deliver::hand_over(settings)?);
    figures.extend(read::pages(settings, options.entries)?);
    Ok(figures)
}

/// The stream that is measured, unless there are many.
fn name() -> StreamName {
    "measured".parse().expect("it is a good name")
}
