//! The floor of the disk: `fio` writing or reading one file in order, past the page cache, the way that suits it best.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What is tried. Larger blocks or more of them at a time gained nothing on any disk that was looked at.
const BLOCKS_KIB: [u32; 3] = [256, 1_024, 4_096];
const DEPTHS: [u32; 3] = [1, 4, 16];

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Write,
    Read,
}

/// A file that `fio` works on, and how it does that fastest.
#[derive(Debug)]
pub(crate) struct Fio {
    file: PathBuf,
    bytes: u64,
    way: Way,
    block_kib: u32,
    depth: u32,
}

#[derive(Deserialize)]
struct Report {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    write: Side,
    read: Side,
}

/// `fio` counts time in milliseconds here, and the sync at the end is in it.
#[derive(Deserialize)]
struct Side {
    io_bytes: u64,
    runtime: u64,
}

impl Fio {
    /// Tries every block size with every depth once, and keeps the best.
    pub(crate) fn tuned(directory: &Path, bytes: u64, way: Way) -> Result<Self> {
        let mut fio = Self {
            file: directory.join(format!("fio-{way:?}")),
            bytes,
            way,
            block_kib: 1_024,
            depth: 4,
        };
        if way == Way::Read {
            // It must be there before it can be read.
            fio.run_as(Way::Write)?;
        }
        let mut best = (0.0, fio.block_kib, fio.depth);
        for block_kib in BLOCKS_KIB {
            for depth in DEPTHS {
                (fio.block_kib, fio.depth) = (block_kib, depth);
                let rate = fio.run()?;
                if rate > best.0 {
                    best = (rate, block_kib, depth);
                }
            }
        }
        (_, fio.block_kib, fio.depth) = best;
        Ok(fio)
    }

    /// How it was done, for the table.
    pub(crate) fn name(&self) -> String {
        let way = match self.way {
            Way::Write => "write",
            Way::Read => "read",
        };
        format!("fio {way}, {} KiB × {}", self.block_kib, self.depth)
    }

    /// Bytes in a second.
    pub(crate) fn run(&self) -> Result<f64> {
        self.run_as(self.way)
    }

    fn run_as(&self, way: Way) -> Result<f64> {
        if way == Way::Write {
            // A new file each time, as every payload is one.
            let _gone = std::fs::remove_file(&self.file);
        }
        let output = Command::new("fio")
            .args(["--name=floor", "--direct=1", "--ioengine=libaio", "--end_fsync=1"])
            .args(["--output-format=json", "--invalidate=1"])
            .arg(format!("--rw={}", if way == Way::Write { "write" } else { "read" }))
            .arg(format!("--filename={}", self.file.display()))
            .arg(format!("--size={}", self.bytes))
            .arg(format!("--bs={}k", self.block_kib))
            .arg(format!("--iodepth={}", self.depth))
            .output()
            .context("cannot run fio, which is the floor of this measurement; it is in the package of that name")?;
        ensure!(
            output.status.success(),
            "fio failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: Report = serde_json::from_slice(&output.stdout).context("fio says what is no report")?;
        let job = report.jobs.first().context("fio did nothing")?;
        let side = match way {
            Way::Write => &job.write,
            Way::Read => &job.read,
        };
        ensure!(side.io_bytes >= self.bytes, "fio did less than it was told");
        Ok(side.io_bytes as f64 * 1e3 / side.runtime.max(1) as f64)
    }
}

impl Drop for Fio {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.file);
    }
}
