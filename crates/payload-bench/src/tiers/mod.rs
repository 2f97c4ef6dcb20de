//! Payloads on their way between RAM and disk, next to the same disk with nothing but `fio` on it.

pub(crate) mod rate;
pub(crate) mod world;

use anyhow::Result;
use clap::Args;
use payload_client::Tier;

use self::rate::{Case, Rate, table};
use self::world::{Load, World};
use crate::floor::fio::{Fio, Way};
use crate::report::Settings;

/// What the larger payloads have, and the smaller ones, which share files.
const LARGE: usize = 16 << 20;
const SMALL: usize = 64 << 10;
/// Small payloads are a part of what the large ones are together: they cost more processor time before they can be moved.
const SMALL_SHARE: u64 = 4;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// MiB that are moved in a round
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(64..=16_384))]
    mib: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    options.settings.report(|settings| measure(settings, options), table)
}

/// What goes down comes up again in the same round, and is deleted: so the disk is as full for each.
fn measure(settings: &Settings, options: &Options) -> Result<Vec<Rate>> {
    let scratch = settings.scratch()?;
    let bytes = options.mib << 20;
    let write = Fio::tuned(scratch.path(), bytes, Way::Write)?;
    let read = Fio::tuned(scratch.path(), bytes, Way::Read)?;
    let world = World::start(settings, scratch.path(), bytes, Tier::Disk, "")?;
    let large = Load::new(LARGE, bytes);
    let small = Load::new(SMALL, bytes / SMALL_SHARE);
    let mut spill = Case::new("spill of 16 MiB, durable", write.name());
    let mut fused = Case::new("spill of 64 KiB, durable", write.name());
    let mut promote = Case::new("promotion of 16 MiB, cold", read.name());
    let mut small_up = Case::new("promotion of 64 KiB, cold", read.name());
    for _ in 0..settings.rounds {
        let floor = (write.run()?, read.run()?);
        let (down, up) = world.down_and_up(&large)?;
        spill.add(floor.0, down);
        promote.add(floor.1, up);
        let (down, up) = world.down_and_up(&small)?;
        fused.add(floor.0, down);
        small_up.add(floor.1, up);
    }
    Ok([spill, fused, promote, small_up]
        .into_iter()
        .flat_map(Case::rates)
        .collect())
}
