//! `pgbench` as a floor: prepared single-row inserts, each in a transaction of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use payload_core::Span;
use tempfile::TempDir;

use crate::measure::Round;

/// A row about as large as what the catalog writes for a small payload.
const TABLE: &str = "
    DROP TABLE IF EXISTS bench_floor;
    CREATE TABLE bench_floor (id uuid NOT NULL PRIMARY KEY, row bytea NOT NULL)";
const INSERT: &str = "INSERT INTO bench_floor VALUES (gen_random_uuid(), decode(repeat('07', 512), 'hex'));\n";

pub(super) struct Pgbench {
    programs: PathBuf,
    url: String,
    scratch: TempDir,
}

impl Pgbench {
    pub(super) fn new(programs: &Path, url: &str, scratch: TempDir) -> Result<Self> {
        let pgbench = Self {
            programs: programs.to_owned(),
            url: url.to_owned(),
            scratch,
        };
        pgbench.psql(TABLE)?;
        std::fs::write(pgbench.script(), INSERT)?;
        Ok(pgbench)
    }

    /// So many clients, each with its share of the operations.
    pub(super) fn round(&self, clients: usize, operations: usize) -> Result<Round> {
        let before = self.syncs()?;
        let script = self.script();
        let log = self.scratch.path().join("log");
        let (clients, each) = (clients.to_string(), (operations / clients).to_string());
        let threads = if clients == "1" { "1" } else { "2" };
        let output = self.run(
            "pgbench",
            [
                "--no-vacuum".as_ref(),
                "--protocol=prepared".as_ref(),
                "--log".as_ref(),
                "--log-prefix".as_ref(),
                log.as_os_str(),
                "--client".as_ref(),
                clients.as_ref(),
                "--jobs".as_ref(),
                threads.as_ref(),
                "--transactions".as_ref(),
                each.as_ref(),
                "--file".as_ref(),
                script.as_os_str(),
                self.url.as_ref(),
            ],
        )?;
        let rate = output.lines().find_map(|line| {
            let words = line.strip_prefix("tps = ")?;
            words.split(' ').next()?.parse::<f64>().ok()
        });
        let latencies = self.latencies()?;
        let elapsed = latencies.len() as f64 / rate.context("pgbench says no tps")?;
        Ok(Round {
            elapsed: Span::from_secs_f64(elapsed),
            commits: latencies.len() as f64,
            syncs: self.syncs()? - before,
            latencies,
            ..Round::default()
        })
    }

    /// How often the cluster has synced its log.
    pub(super) fn syncs(&self) -> Result<f64> {
        let count = self.psql("SELECT wal_sync FROM pg_stat_wal")?;
        count.trim().parse().context("pg_stat_wal needs PostgreSQL 14 or newer")
    }

    fn script(&self) -> PathBuf {
        self.scratch.path().join("insert.sql")
    }

    /// Of each transaction, from the logs of its threads, which are removed.
    fn latencies(&self) -> Result<Vec<Span>> {
        let mut latencies = Vec::new();
        for entry in std::fs::read_dir(self.scratch.path())? {
            let path = entry?.path();
            if !path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"log."))
            {
                continue;
            }
            for line in std::fs::read_to_string(&path)?.lines() {
                let micros = line.split(' ').nth(2).and_then(|word| word.parse().ok());
                latencies.push(Span::from_micros(micros.context("pgbench's log has another form")?));
            }
            std::fs::remove_file(path)?;
        }
        Ok(latencies)
    }

    fn psql(&self, sql: &str) -> Result<String> {
        let options = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.url, "-c", sql];
        self.run("psql", options.map(OsStr::new))
    }

    fn run<'a>(&self, program: &str, options: impl IntoIterator<Item = &'a OsStr>) -> Result<String> {
        let output = Command::new(self.programs.join(program)).args(options).output();
        let output = output.with_context(|| format!("cannot run {program}"))?;
        // The URL may have a password in it.
        ensure!(
            output.status.success(),
            "{program} failed: {}",
            String::from_utf8_lossy(&output.stderr).replace(&self.url, "postgres:…")
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}
