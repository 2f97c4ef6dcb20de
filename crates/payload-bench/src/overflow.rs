//! More than RAM holds: payloads are written and read back while readers hold leases, and a table tells what moved and why.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use parking_lot::{Condvar, Mutex};
use payload_client::{AcquireOptions, AllocateOptions, Client, CommitOptions, EventFilter, PayloadId, v1};
use payload_core::{Digest, Span};

use crate::clock::Moment;
use crate::content::{Content, Dice};
use crate::crew::runtime;
use crate::kill_loop::stats;
use crate::report::{align, default_directory, new_table};
use crate::server::{Server, own_payloadd};

/// A payload is such a part of RAM.
const PART: u64 = 64;
/// A reader keeps its lease until so many more payloads have been written, and looks at the bytes again.
const HELD_FOR: usize = 8;
/// How full RAM is, is asked once for so many payloads.
const LOOK: usize = 16;
/// What moves, and what it is called in the table.
const KINDS: [(&str, &str); 7] = [
    ("committed", "written"),
    ("replica_added", "copied into another tier"),
    ("replica_dropped", "given up in RAM"),
    ("replica_moved", "moved within a tier"),
    ("discarded", "given up altogether"),
    ("replica_lost", "damaged"),
    ("lost", "lost"),
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// MiB of the RAM tier
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(64..))]
    ram_mib: u64,
    /// How many times as much is written
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    times: u64,
    /// Readers that hold leases meanwhile
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=16))]
    readers: u64,
    /// Where the server gets its data directory, which is removed in the end [default: next to this program]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The server to use [default: payloadd next to this program]
    #[arg(long, value_name = "FILE")]
    payloadd: Option<PathBuf>,
}

/// What has been written so far, for the readers.
#[derive(Debug, Default)]
struct Shelf {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    written: Vec<(PayloadId, Digest)>,
    /// No more comes.
    over: bool,
}

/// What the writer did.
struct Writing {
    took: Span,
    /// The most that RAM was ever seen to hold.
    ram_max: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let dir = options.dir.clone().map_or_else(default_directory, Ok)?;
    let scratch = tempfile::Builder::new().prefix("overflow-").tempdir_in(dir)?;
    let payloadd = options.payloadd.clone().map_or_else(own_payloadd, Ok)?;
    let config = format!(
        "allocations.room_wait = \"1m\"\n[tiers.ram]\ncapacity = \"{}MiB\"\n",
        options.ram_mib
    );
    let server = Server::start_with(&payloadd, &scratch.path().join("data"), &config)?;
    let size = (options.ram_mib << 20) / PART;
    let count = usize::try_from(PART * options.times)?;
    println!(
        "RAM of {} MiB: writing {count} payloads of {} KiB, {} times as much, while {} readers hold leases\n",
        options.ram_mib,
        size >> 10,
        options.times,
        options.readers
    );
    let shelf = Shelf::default();
    let (writing, looks) = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..options.readers)
            .map(|seed| {
                scope.spawn({
                    let (server, shelf) = (&server, &shelf);
                    move || read_along(server, shelf, seed)
                })
            })
            .collect();
        let writing = write_all(&server, &shelf, size, count);
        shelf.finish();
        let looks = readers
            .into_iter()
            .map(|reader| reader.join().expect("a reader does not panic"))
            .sum::<Result<usize>>();
        anyhow::Ok((writing?, looks?))
    })?;
    let reading = read_back(&server, &shelf)?;
    let rate = |took: Span| format!("{:.0} MB/s", (size * count as u64) as f64 / 1e6 / took.as_secs_f64());
    let mut table = new_table(&["", "", "payloads", "MiB"]);
    for ((what, why), moved) in moves(&server)? {
        let mib = (moved as u64 * size) >> 20;
        table.add_row([what, why, moved.to_string(), mib.to_string()]);
    }
    align(&mut table, 2);
    println!("{table}\n");
    println!("written at {}, read back at {}", rate(writing.took), rate(reading));
    println!(
        "RAM held {} MiB at most; readers looked {looks} times at bytes that they held; wrong 0, refused 0",
        writing.ram_max >> 20
    );
    Ok(())
}

impl Shelf {
    fn put(&self, payload: PayloadId, digest: Digest) {
        self.state.lock().written.push((payload, digest));
        self.changed.notify_all();
    }

    fn finish(&self) {
        self.state.lock().over = true;
        self.changed.notify_all();
    }

    /// One of those that are there, or nothing when no more come. Waits for the first.
    fn pick(&self, dice: &mut Dice) -> Option<(PayloadId, Digest)> {
        let mut state = self.state.lock();
        self.changed
            .wait_while(&mut state, |state| state.written.is_empty() && !state.over);
        if state.over {
            return None;
        }
        let any = dice.below(state.written.len() as u64) as usize;
        Some(state.written[any])
    }

    /// Waits until more have been written, or no more come.
    fn wait_for_more(&self, more: usize) {
        let mut state = self.state.lock();
        let enough = state.written.len() + more;
        self.changed
            .wait_while(&mut state, |state| state.written.len() < enough && !state.over);
    }
}

fn write_all(server: &Server, shelf: &Shelf, size: u64, count: usize) -> Result<Writing> {
    let runtime = runtime()?;
    let client = runtime.block_on(Client::connect(server.endpoint()))?;
    let mut ram_max = 0;
    let began = Moment::now();
    for number in 0..count {
        let seed = number as u64;
        let bytes = Content { seed, size }.bytes();
        let payload = runtime.block_on(async {
            let mut writer = client.allocate(size, AllocateOptions::default()).await?;
            writer.write_at(0, &bytes)?;
            let payload = writer.payload_id();
            writer.commit(CommitOptions::default()).await?;
            anyhow::Ok(payload)
        });
        shelf.put(payload.context("a payload could not be written")?, Digest::of(&bytes));
        if number % LOOK == 0 {
            ram_max = ram_max.max(ram(server)?);
        }
    }
    Ok(Writing {
        took: began.elapsed(),
        ram_max,
    })
}

/// Leases one payload after the other, at random, and looks at each twice: when it is granted, and when much else has been written.
fn read_along(server: &Server, shelf: &Shelf, seed: u64) -> Result<usize> {
    let runtime = runtime()?;
    let client = runtime.block_on(Client::connect(server.endpoint()))?;
    let mut dice = Dice::new(seed);
    let mut looks = 0;
    while let Some((payload, digest)) = shelf.pick(&mut dice) {
        let lease = runtime.block_on(client.acquire(payload, AcquireOptions::default()))?;
        ensure!(
            Digest::of(&lease) == digest,
            "{payload} has other bytes than were written"
        );
        shelf.wait_for_more(HELD_FOR);
        ensure!(Digest::of(&lease) == digest, "{payload} has changed under a lease");
        runtime.block_on(lease.release())?;
        looks += 2;
    }
    Ok(looks)
}

fn read_back(server: &Server, shelf: &Shelf) -> Result<Span> {
    let runtime = runtime()?;
    let client = runtime.block_on(Client::connect(server.endpoint()))?;
    let written = shelf.state.lock().written.clone();
    let began = Moment::now();
    for (payload, digest) in written {
        let lease = runtime.block_on(client.acquire(payload, AcquireOptions::default()))?;
        ensure!(
            Digest::of(&lease) == digest,
            "{payload} has other bytes than were written"
        );
        runtime.block_on(lease.release())?;
    }
    Ok(began.elapsed())
}

/// How many payloads each kind of event was about, by the reason that it gives.
fn moves(server: &Server) -> Result<BTreeMap<(String, String), usize>> {
    let runtime = runtime()?;
    let client = runtime.block_on(Client::connect(server.endpoint()))?;
    let filter = EventFilter {
        kinds: KINDS.iter().map(|(kind, _)| (*kind).to_owned()).collect(),
        ..EventFilter::default()
    };
    let (mut counts, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = runtime.block_on(client.catalog().events(&filter, 1_000, &cursor))?;
        for event in &page.events {
            let name = KINDS.iter().find(|(kind, _)| *kind == event.kind);
            let what = name.map_or(event.kind.as_str(), |(_, what)| what);
            *counts.entry((what.to_owned(), event.reason.clone())).or_default() += 1;
        }
        if !page.more {
            return Ok(counts);
        }
        cursor = page.cursor;
    }
}

fn ram(server: &Server) -> Result<u64> {
    let tiers = stats(server)?.tiers;
    let ram = tiers.iter().find(|tier| tier.tier() == v1::Tier::Ram);
    Ok(ram.context("there is no RAM tier")?.used_bytes)
}
