//! The floor of appends on PostgreSQL: rows inserted by pgbench, prepared, with the database's own durability.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use payload_core::Span;

use super::append::BATCH;
use crate::measure::Round;

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS payload_bench_floor (stream uuid, position bigint, payload uuid, size bigint, at bigint);
";
/// About as much as an entry says.
const ROW: &str = "INSERT INTO payload_bench_floor
SELECT '01a210bb-c44d-7f7f-884e-867159d1778e', n, '01a210bb-c453-7273-b93c-7f5712cb7598', 100, 1790000000000000
FROM generate_series(1, ";

pub(super) struct Pgbench {
    program: PathBuf,
    url: String,
    scripts: PathBuf,
}

impl Pgbench {
    /// Makes its table.
    pub(super) fn new(program: &Path, url: &str, scratch: &Path) -> Result<Self> {
        let floor = Self {
            program: program.to_owned(),
            url: url.to_owned(),
            scripts: scratch.to_owned(),
        };
        std::fs::write(floor.script(0), TABLE)?;
        for rows in [1, BATCH] {
            std::fs::write(floor.script(rows), format!("{ROW}{rows}) AS n;\n"))?;
        }
        floor.ask(0, 1, 1)?;
        Ok(floor)
    }

    /// So many rows in all; a transaction's time is shared by its rows.
    pub(super) fn run(&self, rows: usize, clients: usize, all: usize) -> Result<Round> {
        let transactions = (all / rows / clients).max(1);
        let said = self.ask(rows, clients, transactions)?;
        let number = |what: &str| -> Result<f64> {
            let line = said.lines().find_map(|line| line.strip_prefix(what));
            let word = line.and_then(|rest| rest.split_whitespace().next());
            Ok(word
                .with_context(|| format!("pgbench did not say {what:?}: {said}"))?
                .parse()?)
        };
        let count = transactions * clients * rows;
        let average = Span::from_secs_f64(number("latency average = ")? / 1e3 / rows as f64);
        Ok(Round {
            latencies: vec![average; count],
            elapsed: Span::from_secs_f64((transactions * clients) as f64 / number("tps = ")?),
            ..Round::default()
        })
    }

    fn ask(&self, rows: usize, clients: usize, transactions: usize) -> Result<String> {
        let output = Command::new(&self.program)
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=1"])
            .arg(format!("--client={clients}"))
            .arg(format!("--transactions={transactions}"))
            .arg("--file")
            .arg(self.script(rows))
            .arg(&self.url)
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        ensure!(
            output.status.success(),
            "pgbench: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn script(&self, rows: usize) -> PathBuf {
        self.scripts.join(format!("{rows}.sql"))
    }
}
