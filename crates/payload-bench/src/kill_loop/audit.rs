//! The end of a run: everybody is quiet, and the books must be right to the byte.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use payload_client::{Admin, Catalog, ClientOptions, ListOptions, v1};
use payload_core::Span;

use super::model::Model;
use super::stubborn::{Seen, Stubborn, is_gone};
use crate::crew::runtime;
use crate::server::Server;
use crate::wait;

/// How long the server has to finish deletions and sweeps. Payloads that were there before its last start stay for the
/// grace time, because sessions of the time before may hold them.
const PATIENCE: Span = Span::from_secs(60);
const PAGE: u32 = 1_000;
/// Files are counted in whole blocks of this.
const BLOCK: u64 = 4_096;
/// The unit of `st_blocks`, see stat(2).
const BLOCK_OF_STAT: u64 = 512;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Acknowledged, and not to be read any more; or deleted, and still there.
    pub(super) lost: Vec<String>,
    /// There, and nobody's.
    pub(super) orphans: Vec<String>,
    /// Payloads that were put into RAM and are on disk alone.
    pub(super) spilled: usize,
}

pub(super) fn run(server: &Server, model: &Model, client: &mut Stubborn) -> Result<Audit> {
    let mut audit = Audit::default();
    audit.read_everything(model, client)?;
    let settled = wait::until("the books to be right", PATIENCE, || {
        let open = open_books(server)?;
        Ok(open.is_empty().then_some(()))
    });
    if settled.is_err() {
        audit.orphans.extend(open_books(server)?);
    }
    audit.compare_rows(server, model)?;
    Ok(audit)
}

impl Audit {
    pub(super) fn verdict(&self, model: &Model) -> Result<()> {
        let mut findings = self.lost.clone();
        findings.extend(self.orphans.iter().cloned());
        findings.extend(model.with(|facts| facts.wrong.clone()));
        ensure!(findings.is_empty(), "{}", findings.join("\n"));
        Ok(())
    }

    fn read_everything(&mut self, model: &Model, client: &mut Stubborn) -> Result<()> {
        let (live, deleted) = model.with(|facts| (facts.live.clone(), facts.deleted.clone()));
        for (payload, content) in live {
            match client.verify(&payload, content, 0)? {
                Seen::Right => model.with(|facts| facts.verified += 1),
                Seen::Wrong(what) => model.with(|facts| facts.wrong.push(what)),
                Seen::Refused(error) => self.lost.push(format!("{payload} was acknowledged: {error}")),
            }
        }
        for (payload, content) in deleted {
            match client.verify(&payload, content, 0)? {
                Seen::Refused(error) if is_gone(&error) => {}
                seen => self
                    .lost
                    .push(format!("{payload} was deleted, and a read shows {seen:?}")),
            }
        }
        Ok(())
    }

    /// Every row that is active must be one that was acknowledged.
    fn compare_rows(&mut self, server: &Server, model: &Model) -> Result<()> {
        let rows = active(server)?;
        let moved = |row: &&v1::Payload| row.replicas.iter().all(|replica| replica.tier != row.tier);
        self.spilled = rows.iter().filter(moved).count();
        model.with(|facts| {
            let strangers = rows.iter().filter(|row| !facts.live.contains_key(&row.payload_id));
            self.orphans
                .extend(strangers.map(|row| format!("{} is active, and nobody committed it", row.payload_id)));
        });
        Ok(())
    }
}

/// Asks the server for its numbers.
pub(crate) fn stats(server: &Server) -> Result<v1::GetStatsResponse> {
    let admin = Admin::new(server.endpoint(), &ClientOptions::default());
    Ok(runtime()?.block_on(admin.stats())?)
}

/// What is not as it must be when nobody does anything.
fn open_books(server: &Server) -> Result<Vec<String>> {
    let stats = stats(server)?;
    let mut open = Vec::new();
    let mut expect = |what: &str, found: u64, expected: u64| {
        if found != expected {
            open.push(format!("{what}: {found}, not {expected}"));
        }
    };
    expect("leases", stats.leases, 0);
    expect("allocations", stats.allocations, 0);
    let rows = active(server)?;
    for tier in &stats.tiers {
        let name = tier.tier().as_str_name();
        let replicas = rows
            .iter()
            .flat_map(|row| &row.replicas)
            .filter(|row| row.tier == tier.tier);
        let (count, charged) = replicas.fold((0, 0), |(count, sum), row| (count + 1, sum + row.charged));
        expect(&format!("{name}: charged"), tier.charged_bytes, charged);
        expect(&format!("{name}: replicas"), tier.replicas, count);
        let containers = match tier.tier() {
            v1::Tier::Disk => files(&server.data().join("disk")),
            _ => segments(server),
        };
        let bytes = containers.values().sum();
        // What was made ready ahead is the server's alone.
        let kept = tier.used_bytes.saturating_sub(tier.pool_bytes);
        expect(&format!("{name}: used"), kept, bytes);
        expect(
            &format!("{name}: files or segments"),
            tier.containers,
            containers.len() as u64,
        );
    }
    Ok(open)
}

fn active(server: &Server) -> Result<Vec<v1::Payload>> {
    let catalog = Catalog::new(server.endpoint(), &ClientOptions::default());
    let active = ListOptions {
        state: v1::State::Active,
        page_size: PAGE,
        ..ListOptions::default()
    };
    runtime()?.block_on(async {
        let (mut rows, mut token) = (Vec::new(), String::new());
        loop {
            let page = catalog.list(&active, &token).await?;
            rows.extend(page.payloads);
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(rows);
            }
        }
    })
}

/// Every file below a directory, with the whole blocks that it needs.
fn files(directory: &Path) -> HashMap<PathBuf, u64> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => found.extend(files(&entry.path())),
            Ok(metadata) => {
                found.insert(entry.path(), metadata.len().next_multiple_of(BLOCK));
            }
            Err(_) => {}
        }
    }
    found
}

/// The memfds that the keeper holds, with the memory that they take up.
fn segments(server: &Server) -> HashMap<PathBuf, u64> {
    let mut found = HashMap::new();
    for keeper in server.keepers() {
        let fds = std::fs::read_dir(format!("/proc/{keeper}/fd"));
        for fd in fds.into_iter().flatten().flatten() {
            let target = std::fs::read_link(fd.path()).unwrap_or_default();
            if target.to_string_lossy().starts_with("/memfd:")
                && let Ok(metadata) = std::fs::metadata(fd.path())
            {
                found.insert(fd.path(), metadata.blocks() * BLOCK_OF_STAT);
            }
        }
    }
    found
}
