//! A database server that has its processes killed. When one of them dies, it ends all of them and recovers by itself.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use payload_core::Span;
use rustix::process::Signal;

use crate::wait;

/// How long a recovery may take.
const PATIENCE: Span = Span::from_secs(60);
/// It is there while transactions can be written, and not during a recovery.
const WRITER: &str = "walwriter";

pub(super) struct Database {
    data: PathBuf,
}

impl Database {
    pub(super) const fn new(data: PathBuf) -> Self {
        Self { data }
    }

    /// Everything that comes from the first process, which starts the others.
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).context("no database server runs there")?;
        let first: u32 = file.lines().next().unwrap_or_default().parse()?;
        let all = fs::read_dir("/proc")?.flatten();
        let pids = all.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
        let children: Vec<u32> = pids.filter(|pid| parent(*pid) == Some(first)).collect();
        ensure!(!children.is_empty(), "the database server has no processes");
        Ok(children)
    }

    /// Kills one of its processes, and waits until it takes transactions again.
    pub(super) fn kill(&self, victim: u32, before: &[u32]) -> Result<()> {
        // A connection may have ended by itself meanwhile: then another round may kill something.
        if !wait::signal(victim, Signal::KILL) {
            return Ok(());
        }
        wait::until("the database to recover", PATIENCE, || {
            let now = self.processes().unwrap_or_default();
            let is_new_writer = |pid: &u32| !before.contains(pid) && title(*pid).contains(WRITER);
            Ok(now.iter().any(is_new_writer).then_some(()))
        })
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

fn title(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}
