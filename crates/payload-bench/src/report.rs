//! What a measurement is told, and how it tells its results: a table for people, JSON for machines.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use tempfile::TempDir;

use crate::machine::Machine;
use crate::measure::Figure;
use crate::server;

/// The settings that all measurements share.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct Settings {
    /// Rounds; in each, floor and subjects have their turn
    #[arg(long, default_value_t = 7, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(5..))]
    pub(crate) rounds: usize,
    /// Operations of each client in a round
    #[arg(long, default_value_t = 2_000)]
    pub(crate) operations: usize,
    /// Where servers get their data directories; on a disk, or syncs cost nothing [default: next to this program]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The server to measure [default: payloadd next to this program]
    #[arg(long, value_name = "FILE")]
    payloadd: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
}

/// A whole run.
#[derive(Serialize)]
struct Report<'a, T> {
    machine: Machine,
    settings: &'a Settings,
    figures: &'a T,
}

impl Settings {
    /// A directory that is removed in the end.
    pub(crate) fn scratch(&self) -> Result<TempDir> {
        let dir = self.parent()?;
        Ok(tempfile::Builder::new().prefix("payload-bench-").tempdir_in(dir)?)
    }

    pub(crate) fn payloadd(&self) -> Result<PathBuf> {
        Ok(self.payloadd.clone().map_or_else(server::own_payloadd, Ok)?)
    }

    /// Measures and prints.
    pub(crate) fn report<T: Serialize>(
        &self,
        measure: impl FnOnce(&Self) -> Result<T>,
        table: impl FnOnce(&T) -> Table,
    ) -> Result<()> {
        let machine = Machine::describe(&self.parent()?);
        let figures = measure(self)?;
        if self.json {
            let report = Report {
                machine,
                settings: self,
                figures: &figures,
            };
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            println!("{}\n{}", table(&figures), machine.summary());
        }
        Ok(())
    }

    fn parent(&self) -> Result<PathBuf> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => default_directory(),
        }
    }
}

/// Where this program is: not in memory, as the directory for temporary files may be.
pub(crate) fn default_directory() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(""))
}

/// One row for each figure, one block for each case.
pub(crate) fn figures(figures: &Vec<Figure>) -> Table {
    let mut table = new_table(&[
        "",
        "",
        "p50 µs",
        "p99 µs",
        "spread of p50",
        "per s",
        "CPU asking",
        "CPU answering",
        "× floor",
        "commits/sync",
    ]);
    let mut case = "";
    for figure in figures {
        let new = figure.case != case;
        case = &figure.case;
        table.add_row([
            if new { figure.case.clone() } else { String::new() },
            figure.subject.clone(),
            format!("{:.1}", figure.p50_us),
            format!("{:.1}", figure.p99_us),
            format!("{:.1}–{:.1}", figure.spread_us.0, figure.spread_us.1),
            format!("{:.0}", figure.per_second),
            format!("{:.1}", figure.own_cpu_us),
            format!("{:.1}", figure.peer_cpu_us),
            format!("{:.2}", figure.ratio),
            figure
                .commits_per_sync
                .map_or(String::new(), |count| format!("{count:.1}")),
        ]);
    }
    align(&mut table, 2);
    table
}

/// A table without lines, like those of `payloadctl`; without a header too if that is empty.
pub(crate) fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if !header.is_empty() {
        table.set_header(header.iter().copied());
    }
    table
}

/// Numbers stand right.
pub(crate) fn align(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
