//! Moving bytes between files and payloads, with a bar for those who watch.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use payload_client::Lease;

use crate::failure::Failure;

/// How much moves at a time.
pub(crate) const PIECE: usize = 1 << 20;
/// Below this a transfer is over before a bar could be read.
const BAR_SIZE_MIN: u64 = 64 << 20;

/// A bar on standard error if that is a terminal and the transfer is a long one.
pub(crate) fn bar(size: u64) -> ProgressBar {
    if size < BAR_SIZE_MIN {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
    // A template that does not parse leaves the default style.
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// Something to put, of known size: a file as it is, or a stream that was read to its end.
pub(crate) struct Input {
    pub(crate) file: File,
    pub(crate) size: u64,
}

impl Input {
    /// Opens a file, or standard input for `-`. Pipes have no size, so their bytes go into a nameless file first.
    pub(crate) async fn open(path: &Path) -> Result<Self, Failure> {
        let what = format!("read {}", path.display());
        let path = path.to_owned();
        // A pipe may have nothing to say for a long time.
        let opened = tokio::task::spawn_blocking(move || open(&path))
            .await
            .map_err(io::Error::other);
        opened.flatten().map_err(|error| Failure::io(what, &error))
    }

    /// The next piece; empty at the end.
    pub(crate) fn read(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        piece.clear();
        (&mut self.file).take(PIECE as u64).read_to_end(piece).map(drop)
    }
}

fn open(path: &Path) -> io::Result<Input> {
    if path.as_os_str() == "-" {
        return spool(io::stdin().lock());
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        return Ok(Input {
            file,
            size: metadata.len(),
        });
    }
    spool(file)
}

fn spool(mut stream: impl Read) -> io::Result<Input> {
    let mut file = tempfile::tempfile()?;
    let size = io::copy(&mut stream, &mut file)?;
    file.rewind()?;
    Ok(Input { file, size })
}

/// Writes a lease's bytes to wherever, in a thread that may be kept waiting.
pub(crate) async fn write_all<W: Write + Send + 'static>(lease: &Arc<Lease>, mut to: W) -> io::Result<W> {
    let lease = Arc::clone(lease);
    let write = move || {
        let bar = bar(lease.len() as u64);
        for piece in lease.chunks(PIECE) {
            to.write_all(piece)?;
            bar.inc(piece.len() as u64);
        }
        to.flush()?;
        bar.finish_and_clear();
        Ok(to)
    };
    tokio::task::spawn_blocking(write)
        .await
        .map_err(io::Error::other)
        .flatten()
}
