//! RAM that is too small, while it is: what readers and producers notice of it, next to the same when nothing is short.

mod caches;
mod calm;
mod full;
mod popular;
mod victims;

use anyhow::Result;
use clap::{Args, ValueEnum};

use self::popular::Share;
use crate::measure::Figure;
use crate::report::{self, Settings, align, new_table};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// What to measure
    #[arg(long, value_enum, default_values_t = Part::ALL, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Payloads among which victims are chosen, next to a thousand
    #[arg(long, default_value_t = 1_000_000)]
    payloads: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Leases on other payloads while 1 GiB is spilled
    Calm,
    /// Allocations when RAM is full of what has copies
    Full,
    /// Popular payloads of a working set that is a little larger than RAM
    Popular,
    /// The choice of victims among many
    Victims,
}

impl Part {
    const ALL: [Self; 4] = [Self::Calm, Self::Full, Self::Popular, Self::Victims];
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let asked = |part| options.parts.contains(&part);
    if asked(Part::Calm) || asked(Part::Full) || asked(Part::Victims) {
        options
            .settings
            .report(|settings| latencies(settings, options), report::figures)?;
    }
    if asked(Part::Popular) {
        options.settings.report(popular::measure, shares)?;
    }
    Ok(())
}

fn latencies(settings: &Settings, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for part in &options.parts {
        figures.extend(match part {
            Part::Calm => calm::measure(settings)?,
            Part::Full => full::measure(settings)?,
            Part::Victims => victims::measure(settings, options.payloads)?,
            Part::Popular => Vec::new(),
        });
    }
    Ok(figures)
}

fn shares(shares: &Vec<Share>) -> comfy_table::Table {
    let mut table = new_table(&["Zipf reads", "in RAM", "moved, × working set"]);
    for share in shares {
        table.add_row([
            share.subject.clone(),
            format!("{:.1} %", share.hits * 100.0),
            share.moved.map_or(String::new(), |moved| format!("{moved:.2}")),
        ]);
    }
    align(&mut table, 1);
    table
}
