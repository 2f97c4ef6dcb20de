//! Payloads on their way between RAM and a bucket, next to the same bytes straight through the library that speaks to it.

mod floor;
mod weed;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use comfy_table::Table;
use payload_client::Tier;
use serde::Serialize;

use self::floor::{Floor, Way};
use self::weed::{Requests, Weed};
use crate::report::Settings;
use crate::tiers::rate::{self, Case, Rate};
use crate::tiers::world::{Load, World};

/// What the larger payloads have, and the smaller ones, which may share objects.
const LARGE: usize = 16 << 20;
const SMALL: usize = 64 << 10;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// MiB of large payloads that are moved in a round
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(64..=16_384))]
    mib: u64,
    /// Small payloads that are moved in a round
    #[arg(long, default_value_t = 10_000)]
    small: u64,
    /// SeaweedFS's program [default: where `cargo xtask test` puts it]
    #[arg(long, value_name = "FILE")]
    weed: Option<PathBuf>,
}

/// What was measured, and what was counted.
#[derive(Debug, Serialize)]
struct Outcome {
    rates: Vec<Rate>,
    /// Of each case, how many requests of which kind the bucket had for a payload.
    requests: Vec<(&'static str, Requests)>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    options.settings.report(|settings| measure(settings, options), table)
}

fn measure(settings: &Settings, options: &Options) -> Result<Outcome> {
    let scratch = settings.scratch()?;
    let bytes = options.mib << 20;
    let weed = Weed::start(options.weed.as_deref(), scratch.path())?;
    let floor = Floor::new(&weed, LARGE, bytes)?;
    let (put, get) = (floor.tuned(Way::Put)?, floor.tuned(Way::Get)?);
    let ram = bytes.max(options.small * SMALL as u64);
    let world = World::start(settings, scratch.path(), ram, Tier::Object, &weed.section())?;
    let large = Load::new(LARGE, bytes);
    let small = Load::new(SMALL, options.small * SMALL as u64);
    let mut spill = Case::new("spill of 16 MiB", put.name());
    let mut promote = Case::new("promotion of 16 MiB", get.name());
    let mut small_down = Case::new("spill of 64 KiB", put.name());
    let mut small_up = Case::new("promotion of 64 KiB", get.name());
    let mut requests = Vec::new();
    for _ in 0..settings.rounds {
        let least = (floor.run(put)?, floor.run(get)?);
        requests.clear();
        let (down, up) = round(&world, &weed, &large, &mut requests)?;
        spill.add(least.0, down);
        promote.add(least.1, up);
        let (down, up) = round(&world, &weed, &small, &mut requests)?;
        small_down.add(least.0, down);
        small_up.add(least.1, up);
    }
    let cases = [spill, promote, small_down, small_up];
    let requests = cases.iter().map(Case::name).zip(requests).collect();
    let rates = cases.into_iter().flat_map(Case::rates).collect();
    Ok(Outcome { rates, requests })
}

/// Down and up; the requests of each for a payload are counted where they arrive.
fn round(world: &World, weed: &Weed, load: &Load, requests: &mut Vec<Requests>) -> Result<(f64, f64)> {
    let before = weed.requests()?;
    let (ids, down) = world.down(load)?;
    let between = weed.requests()?;
    let up = world.up(load, &ids)?;
    let after = weed.requests()?;
    world.delete(ids)?;
    requests.push(between.since(&before).per(load.count()));
    requests.push(after.since(&between).per(load.count()));
    Ok((down, up))
}

fn table(outcome: &Outcome) -> Table {
    let mut table = rate::table(&outcome.rates);
    for (case, requests) in &outcome.requests {
        table.add_row([format!("requests for one {case}"), requests.to_string()]);
    }
    table
}
