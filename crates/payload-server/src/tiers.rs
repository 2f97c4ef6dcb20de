//! Opens the tiers that the configuration names, within what this process and its file system can give.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use payload_core::port::{Clock, Ids, ObjectStore, TierStore, Usage};
use payload_core::{Reason, Span, Tier};
use payload_object::{BucketOptions, Place, Step};
use payload_tier::{DiskOptions, DiskStore, ObjectOptions, ObjectTier, RamOptions, RamStore};

use crate::config::Config;
use crate::keeping::Keeping;

/// Segments may take one in so many descriptors; the rest is for connections, files and the unforeseen.
const SEGMENT_SHARE: u64 = 4;
/// Payloads up to this size are packed even where descriptors abound. One more copy of so few bytes costs less than a
/// memfd and its mappings.
const PACKED_MIN: u64 = 2 << 20;
/// And larger ones never, however few descriptors there are: the copy would cost more than it saves.
const PACKED_MAX: u64 = 16 << 20;

/// So many times as long as a request may take, an upload that was not answered may still become an object.
const LATE: u32 = 2;

/// What a bucket may hold: as much as it takes.
const OBJECT_CAPACITY: u64 = 1 << 62;

/// How long a request to the bucket may take before the server has started.
const PROBE_BUDGET: Span = Span::from_secs(5);

/// Opens all tiers. `usage` is what the catalog says is in them, so that nobody has to look at every file.
pub(crate) fn open(
    config: &Config,
    descriptors: u64,
    clock: &Arc<dyn Clock>,
    ids: &Ids,
    keeping: &Keeping,
    usage: &[Usage],
) -> anyhow::Result<Vec<Arc<dyn TierStore>>> {
    let data_dir = &config.data_dir;
    let config = &config.tiers;
    let ram = RamOptions {
        pool_max: config.ram_pool,
        ..ram_options(config.ram_capacity, descriptors, keeping.segments_max())
    };
    let held_in = |tier: Tier| -> u64 {
        let usage = usage.iter().filter(|usage| usage.tier == tier);
        usage.map(|usage| usage.charged).sum()
    };
    let held = held_in(Tier::Disk);
    let free = free(&config.disk_path)
        .with_context(|| format!("cannot find out how much is free for {}", config.disk_path.display()))?;
    let disk = DiskOptions {
        capacity: config.disk_capacity.of(free.saturating_add(held)),
        charged: held,
        ..DiskOptions::default()
    };
    let ram = Arc::new(RamStore::open(ram, ids.clone(), keeping.store())?);
    let huge_pages = ram.usage().huge_pages;
    tracing::info!(
        capacity = config.ram_capacity,
        pool = config.ram_pool,
        huge_pages,
        "opened the RAM tier"
    );
    let segments = Arc::downgrade(&ram);
    keeping.set_source(move |segment| segments.upgrade()?.duplicate(segment));
    let disk = DiskStore::open(&config.disk_path, &disk, ids.clone())?;
    let mut tiers: Vec<Arc<dyn TierStore>> = vec![ram, Arc::new(disk)];
    if let Some(object) = &config.object {
        let options = ObjectOptions {
            capacity: OBJECT_CAPACITY,
            charged: held_in(Tier::Object),
            late: object.bucket.budget * LATE,
            url_term: match object.bucket.place {
                // It gives out none, so nothing has to outlive them.
                Place::Directory(_) => Span::ZERO,
                Place::S3 { .. } | Place::Gcs { .. } | Place::Azure { .. } => object.url_term,
            },
        };
        let dir = data_dir.join("object");
        let bucket = open_bucket(&object.bucket, clock, ids)?;
        let tier = ObjectTier::open(&dir, options, bucket, Arc::clone(clock), ids.clone())?;
        tiers.push(Arc::new(tier));
    }
    Ok(tiers)
}

/// A bucket that lets objects be replaced is refused. What else is wrong with one is only said: it may be mended while the
/// server runs, and nothing in RAM or on disk needs to wait for that.
fn open_bucket(bucket: &BucketOptions, clock: &Arc<dyn Clock>, ids: &Ids) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let hasty = BucketOptions {
        budget: bucket.budget.min(PROBE_BUDGET),
        ..bucket.clone()
    };
    for finding in payload_object::probe(hasty, Arc::clone(clock), ids.object().as_bytes())? {
        let Err(error) = finding.result else { continue };
        let replaces = matches!(finding.step, Step::ConditionalPut | Step::ConditionalMultipart);
        if replaces && error.reason() == Reason::ObjectStoreUnfit {
            return Err(error).context("the object tier cannot rest on its bucket");
        }
        tracing::warn!(step = finding.step.as_str(), %error, "the bucket of the object tier is not as it should be");
    }
    Ok(payload_object::open(bucket.clone(), Arc::clone(clock))?)
}

/// Cuts memory up so that it can be filled with payloads of any size before the segments run out.
fn ram_options(capacity: u64, descriptors: u64, kept_max: u64) -> RamOptions {
    // The keeper refuses what it cannot hold by itself, and says what to do; what is only ready is not with it.
    let segments_max = (descriptors / SEGMENT_SHARE).max(1);
    let capable = segments_max.min(kept_max);
    let packed_max = (capacity / capable).next_power_of_two().clamp(PACKED_MIN, PACKED_MAX);
    // Half of the segments are enough for nothing but slabs. Four payloads to a slab waste a quarter of it at most.
    let filling = (capacity / (capable / 2).max(1)).next_power_of_two();
    RamOptions {
        capacity,
        segments_max,
        packed_max,
        slab_size_max: filling.max(packed_max * 4),
        ..RamOptions::default()
    }
}

/// Bytes that this user may still write on the file system of a directory, which need not exist yet.
fn free(path: &Path) -> std::io::Result<u64> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists());
    let fs = rustix::fs::statvfs(existing.unwrap_or(Path::new("/")))?;
    Ok(fs.f_bavail.saturating_mul(fs.f_frsize))
}

#[cfg(test)]
mod tests {
    use payload_core::limits;

    use super::*;

    #[test]
    fn memory_can_be_filled_before_the_segments_run_out() {
        for descriptors in [1_024, 20_000, 1 << 20] {
            for capacity in [64 << 20, 6 << 30, 64 << 30_u64] {
                let kept = limits::SYSTEMD_SEGMENTS_MAX as u64;
                let options = ram_options(capacity, descriptors, kept);
                assert!(options.segments_max <= descriptors / 4);
                let capable = options.segments_max.min(kept);
                assert!(options.slab_size_max * capable >= capacity);
                let whole = options.packed_max * capable;
                assert!(whole >= capacity || options.packed_max == PACKED_MAX);
                assert!(options.packed_max * 4 <= options.slab_size_max);
            }
        }
        assert_eq!(ram_options(6 << 30, 20_000, 1 << 16).packed_max, 2 << 20);
        assert_eq!(ram_options(64 << 30, 20_000, 1 << 16).packed_max, 16 << 20);
    }
}
