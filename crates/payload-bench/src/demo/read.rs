//! Another process reads them back: mapped, not copied, and compared with the files.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use payload_client::{AcquireOptions, Client, Endpoint, Lease, PayloadId, Verified};
use payload_core::Span;
use payload_core::digest::Digest;
use serde::{Deserialize, Serialize};

use super::publish::{Manifest, Published};
use crate::clock::Moment;
use crate::crew::runtime;
use crate::measure::quantile;

/// Leases that are taken and released to see how long one takes.
const LEASES: usize = 2_000;

/// What reading has shown.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Reading {
    pub(super) verified: usize,
    /// For leasing all payloads and digesting all their bytes where they are.
    pub(super) took: Span,
    /// Median of taking and releasing a lease on a payload that is mapped already.
    pub(super) lease: Span,
}

/// Reads and prints what that has shown.
pub(crate) fn run(manifest: &Path, endpoint: Option<&str>) -> Result<()> {
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(manifest)?)?;
    let reading = runtime()?.block_on(async {
        let client = Client::connect(Endpoint::discover(endpoint)?).await?;
        read(&client, &manifest.files).await
    })?;
    println!("{}", serde_json::to_string(&reading)?);
    Ok(())
}

async fn read(client: &Client, files: &[Published]) -> Result<Reading> {
    let ids: Vec<PayloadId> = files
        .iter()
        .map(|file| file.payload_id.parse())
        .collect::<Result<_, _>>()?;
    let began = Moment::now();
    let mut leases = Vec::with_capacity(files.len());
    for lease in client.acquire_many(&ids, mapped()).await? {
        let lease = lease?;
        ensure!(lease.verify()? == Verified::Matches, "a payload has no digest");
        leases.push(lease);
    }
    let took = began.elapsed();
    for (file, lease) in files.iter().zip(&leases) {
        compare(file, lease)?;
    }
    Ok(Reading {
        verified: leases.len(),
        took,
        lease: round_trips(client, &ids).await?,
    })
}

fn compare(file: &Published, lease: &Lease) -> Result<()> {
    let path = file.path.display();
    let bytes = std::fs::read(&file.path).with_context(|| format!("cannot read {path}"))?;
    ensure!(
        Digest::of(&bytes) == Digest::of(lease),
        "{path} was changed since it was published"
    );
    Ok(())
}

async fn round_trips(client: &Client, ids: &[PayloadId]) -> Result<Span> {
    let Some(id) = ids.first() else { return Ok(Span::ZERO) };
    let mut latencies = Vec::with_capacity(LEASES);
    for _ in 0..LEASES {
        let began = Moment::now();
        client.acquire(*id, mapped()).await?.release().await?;
        latencies.push(began.elapsed());
    }
    latencies.sort_unstable();
    Ok(quantile(&latencies, 0.5))
}

/// No content inside answers: even small payloads are read where they are.
fn mapped() -> AcquireOptions {
    AcquireOptions {
        inline_max: 0,
        ..AcquireOptions::default()
    }
}
