//! Opens the tiers that the configuration names, within what this process and its file system can give.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use payload_core::port::{Ids, TierStore, Usage};
use payload_core::{Tier, limits};
use payload_tier::{DiskOptions, DiskStore, RamOptions, RamStore};

use crate::config::Tiers;
use crate::keeping::Keeping;

/// Segments may take one in so many descriptors; the rest is for connections, files and the unforeseen.
const SEGMENT_SHARE: u64 = 2;

/// Opens both tiers. `usage` is what the catalog says is in them, so that nobody has to look at every file.
pub(crate) fn open(
    config: &Tiers,
    descriptors: u64,
    ids: &Ids,
    keeping: &Keeping,
    usage: &[Usage],
) -> anyhow::Result<Vec<Arc<dyn TierStore>>> {
    let ram = RamOptions {
        capacity: config.ram_capacity,
        segments_max: (descriptors / SEGMENT_SHARE).min(limits::KEEPER_SEGMENTS_MAX as u64),
        ..RamOptions::default()
    };
    let on_disk = usage.iter().filter(|usage| usage.tier == Tier::Disk);
    let held = on_disk.map(|usage| usage.charged).sum();
    let free = free(&config.disk_path)
        .with_context(|| format!("cannot find out how much is free for {}", config.disk_path.display()))?;
    let disk = DiskOptions {
        capacity: config.disk_capacity.of(free.saturating_add(held)),
        charged: held,
        ..DiskOptions::default()
    };
    let ram = Arc::new(RamStore::open(ram, ids.clone(), keeping.store())?);
    let segments = Arc::downgrade(&ram);
    keeping.set_source(move |segment| segments.upgrade()?.duplicate(segment));
    let disk = DiskStore::open(&config.disk_path, &disk, ids.clone())?;
    Ok(vec![ram, Arc::new(disk)])
}

/// Bytes that this user may still write on the file system of a directory, which need not exist yet.
fn free(path: &Path) -> std::io::Result<u64> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists());
    let fs = rustix::fs::statvfs(existing.unwrap_or(Path::new("/")))?;
    Ok(fs.f_bavail.saturating_mul(fs.f_frsize))
}
