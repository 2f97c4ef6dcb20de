//! What the tests of this crate share: stores in worlds of their own, and a keeper that is only a map.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use payload_core::limits::INLINE_SIZE_MAX;
use payload_core::port::{FdStore, Ids};
use payload_core::{Error, Reason, Result, SegmentId};
use payload_testkit::clock::{ManualClock, TestEntropy};
use payload_testkit::tier::World;
use payload_tier::{DiskOptions, DiskStore, RamOptions, RamStore};

/// New ids, other than any before in this process or another one.
pub fn ids() -> Ids {
    static STARTS: AtomicU64 = AtomicU64::new(0);
    let seed = u64::from(std::process::id()) << 32 | STARTS.fetch_add(1, Ordering::Relaxed);
    Ids::new(Arc::new(ManualClock::default()), Arc::new(TestEntropy::new(seed)))
}

/// Keeps descriptors in this process, so that a store can be dropped and opened again.
#[derive(Default)]
pub struct MapKeeper {
    kept: Mutex<HashMap<SegmentId, OwnedFd>>,
    pub broken: AtomicBool,
}

impl MapKeeper {
    pub fn len(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    fn up(&self) -> Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Error::new(Reason::KeeperUnavailable, "the keeper is broken"));
        }
        Ok(())
    }
}

impl FdStore for MapKeeper {
    fn store(&self, segment: SegmentId, fd: BorrowedFd<'_>) -> Result<()> {
        self.up()?;
        let fd = fd.try_clone_to_owned().unwrap();
        self.kept.lock().unwrap().insert(segment, fd);
        Ok(())
    }

    fn remove(&self, segment: SegmentId) -> Result<()> {
        self.up()?;
        self.kept.lock().unwrap().remove(&segment);
        Ok(())
    }

    fn list(&self) -> Result<Vec<(SegmentId, OwnedFd)>> {
        self.up()?;
        let kept = self.kept.lock().unwrap();
        Ok(kept.iter().map(|(id, fd)| (*id, fd.try_clone().unwrap())).collect())
    }
}

/// What is packed is as small as on disk, so that the suite has both on few bytes.
pub fn ram_options(capacity: u64) -> RamOptions {
    RamOptions {
        capacity,
        memory_reserve: 0,
        packed_max: INLINE_SIZE_MAX,
        ..RamOptions::default()
    }
}

pub fn ram(options: RamOptions, keeper: &Arc<MapKeeper>) -> RamStore {
    RamStore::open(options, ids(), Arc::clone(keeper) as Arc<dyn FdStore>).unwrap()
}

/// Packs are small, so that every test of many payloads sees them change.
pub fn disk_options(capacity: u64) -> DiskOptions {
    DiskOptions {
        capacity,
        free_min: 0,
        pack_size: 1 << 20,
        ..DiskOptions::default()
    }
}

pub fn disk(dir: &Path, options: &DiskOptions) -> DiskStore {
    DiskStore::open(dir, options, ids()).unwrap()
}

pub fn disk_world(options: &DiskOptions) -> World {
    let dir = tempfile::tempdir().unwrap();
    World {
        store: Arc::new(disk(&dir.path().join("disk"), options)),
        keep: Box::new(dir),
    }
}
