//! Reads of a working set a little larger than RAM, some payloads much more popular than others: how many find theirs in RAM, and
//! how much is moved for that. Next to caches of the same size that know the same trace.

use anyhow::Result;
use payload_client::{Client, PayloadId, v1};
use serde::Serialize;

use super::caches::{Lru, S3Fifo, hits};
use super::calm::publish;
use crate::clock::Moment;
use crate::crew::runtime;
use crate::link::Link;
use crate::metrics::Scrape;
use crate::report::Settings;
use crate::rows::mix;
use crate::server::Server;
use crate::wait;

const CAPACITY: u64 = 512 << 20;
const SIZE: u64 = 4 << 20;
/// 1.2 times what RAM holds.
const COUNT: usize = 154;
/// What RAM holds while it is at its high watermark.
const HELD: usize = (CAPACITY / SIZE) as usize / 10 * 9;
const READS: usize = 40_000;
/// Reads come at this pace: a server needs time to move anything at all.
const READS_PER_SECOND: f64 = 2_000.0;

/// What part of the reads found their payload in RAM.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    pub(super) subject: String,
    pub(super) hits: f64,
    /// Bytes copied between tiers, in times of the working set.
    pub(super) moved: Option<f64>,
}

pub(super) fn measure(settings: &Settings) -> Result<Vec<Share>> {
    let scratch = settings.scratch()?;
    let config = format!("[tiers.ram]\ncapacity = \"{CAPACITY}B\"\npool = \"0B\"\n");
    let server = Server::start_with(&settings.payloadd()?, &scratch.path().join("data"), &config)?;
    let runtime = runtime()?;
    let client = runtime.block_on(Client::connect(server.endpoint()))?;
    let ids = runtime.block_on(publish(&client, COUNT, SIZE))?;
    let trace = zipf(READS);
    let moved_before = moved(&server)?;
    let found = read(&server, &ids, &trace)?;
    let moved = (moved(&server)? - moved_before) / (COUNT as u64 * SIZE) as f64;
    let offline = |subject: &str, hits| Share {
        subject: subject.to_owned(),
        hits,
        moved: None,
    };
    Ok(vec![
        offline("LRU, offline", hits(Lru::new(HELD), &trace)),
        offline("S3-FIFO, offline", hits(S3Fifo::new(HELD), &trace)),
        Share {
            subject: "server".to_owned(),
            hits: found,
            moved: Some(moved),
        },
    ])
}

/// Places of payloads, the k-th most popular asked for in proportion to 1/k.
fn zipf(reads: usize) -> Vec<usize> {
    let mut sums = Vec::with_capacity(COUNT);
    let mut sum = 0.0;
    for k in 1..=COUNT {
        sum += 1.0 / k as f64;
        sums.push(sum);
    }
    let place = |read: usize| {
        let part = (mix(read as u64) >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = sums.partition_point(|upto| *upto < part * sum);
        // Spread, so that neighbours in rank are not neighbours in age.
        rank * 89 % COUNT
    };
    (0..reads).map(place).collect()
}

/// Leases each in turn; the share that was found in RAM, without the first tenth.
fn read(server: &Server, ids: &[PayloadId], trace: &[usize]) -> Result<f64> {
    let mut link = Link::connect(&server.addresses()?.socket)?;
    let ids: Vec<String> = ids.iter().map(PayloadId::to_string).collect();
    let (warm, mut found) = (trace.len() / 10, 0);
    let began = Moment::now();
    for (at, place) in trace.iter().enumerate() {
        let due = at as f64 / READS_PER_SECOND;
        let early = due - began.elapsed().as_secs_f64();
        if early > 0.001 {
            wait::pause(payload_core::Span::from_secs_f64(early));
        }
        let lease = link.acquire(&ids[*place], 0)?;
        let tier = lease.descriptor.as_ref().map(v1::Descriptor::tier);
        link.release(lease.lease_id)?;
        found += usize::from(at >= warm && tier == Some(v1::Tier::Ram));
    }
    Ok(found as f64 / (trace.len() - warm) as f64)
}

fn moved(server: &Server) -> Result<f64> {
    let scrape = Scrape::of(&server.addresses()?.http)?;
    let paths = ["ram-disk", "disk-ram"];
    let moved = paths.map(|path| scrape.get(&format!("payload_moved_bytes_total{{path=\"{path}\"}}")));
    Ok(moved.iter().sum())
}
