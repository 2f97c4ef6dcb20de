//! Counts the bytes of the disk tier without ever having to look at every file before it can start.
//!
//! At the start the rows say what is charged, and the few packs are looked at; what that leaves out is room in packs
//! that nobody is charged for, and files without rows. The first sweep walks over all files anyway, and what it finds
//! replaces the guess. Files that come and go during the walk are noted, so that they are counted once.

use std::collections::HashMap;

use parking_lot::{Mutex, RwLock};
use payload_core::{FileId, Result};

use crate::budget::Budget;
use crate::{index, pages};

/// The budget, and what of it is in whole files under their names.
#[derive(Debug)]
pub(super) struct Ledger {
    budget: Budget,
    whole: Mutex<Whole>,
    /// Shared by whoever changes both the directory and the count; a walk begins and ends when nobody is in between.
    changing: RwLock<()>,
}

#[derive(Debug)]
struct Whole {
    bytes: u64,
    files: u64,
    /// Files that came (with their size) or went while a walk is under way.
    walk: Option<HashMap<FileId, Option<u64>>>,
}

impl Ledger {
    pub(super) fn new(capacity: u64, charged: u64, packs: u64) -> Self {
        let used = charged.max(packs);
        Self {
            budget: Budget::new(capacity, used),
            whole: Mutex::new(Whole {
                bytes: used - packs,
                files: 0,
                walk: None,
            }),
            changing: RwLock::new(()),
        }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// How many whole files are known: those of this process, until a walk has counted all.
    pub(super) fn files(&self) -> usize {
        index(self.whole.lock().files)
    }

    /// A file of `bytes` gets its name, by `publish`. Its room was taken before.
    pub(super) fn add_file(&self, id: FileId, bytes: u64, publish: impl FnOnce() -> Result<()>) -> Result<()> {
        let _change = self.changing.read();
        publish()?;
        let mut whole = self.whole.lock();
        whole.bytes += bytes;
        whole.files += 1;
        if let Some(walk) = &mut whole.walk {
            walk.insert(id, Some(bytes));
        }
        Ok(())
    }

    /// A file of `bytes` goes, if `unlink` says that it was there.
    pub(super) fn remove_file(&self, id: FileId, bytes: u64, unlink: impl FnOnce() -> Result<bool>) -> Result<()> {
        let _change = self.changing.read();
        if !unlink()? {
            return Ok(());
        }
        let mut whole = self.whole.lock();
        // Before the first walk this file may be one that the guess at the start left out.
        let counted = bytes.min(whole.bytes);
        whole.bytes -= counted;
        whole.files = whole.files.saturating_sub(1);
        if let Some(walk) = &mut whole.walk {
            walk.insert(id, None);
        }
        drop(whole);
        self.budget.give(counted);
        Ok(())
    }

    /// Counts all files that `walk` finds, and returns them.
    pub(super) fn recount(&self, walk: impl FnOnce() -> Result<Vec<(FileId, u64)>>) -> Result<Vec<FileId>> {
        {
            let _nobody = self.changing.write();
            self.whole.lock().walk = Some(HashMap::new());
        }
        let found = walk();
        let _nobody = self.changing.write();
        let mut whole = self.whole.lock();
        let meanwhile = whole.walk.take().unwrap_or_default();
        let found = found?;
        let still = found
            .iter()
            .filter(|(id, _)| !meanwhile.contains_key(id))
            .map(|(_, size)| pages(*size));
        let come = meanwhile.values().filter_map(|bytes| *bytes);
        let (mut bytes, mut files) = (0, 0);
        still.chain(come).for_each(|size| {
            bytes += size;
            files += 1;
        });
        if bytes >= whole.bytes {
            self.budget.add(bytes - whole.bytes);
        } else {
            self.budget.give(whole.bytes - bytes);
        }
        (whole.bytes, whole.files) = (bytes, files);
        Ok(found.into_iter().map(|(id, _)| id).collect())
    }
}
