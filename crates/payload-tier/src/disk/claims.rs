//! Files of their own whose rows are not committed yet, so that no sweep names them.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use payload_core::FileId;
use payload_core::port::Claim;

/// Ids of files in flight. Each is claimed once, as each has one row to come.
#[derive(Debug, Default)]
pub(super) struct Claims(Arc<Mutex<HashSet<FileId>>>);

impl Claims {
    /// Claims a file before it exists.
    pub(super) fn claim(&self, id: FileId) -> Claim {
        self.0.lock().insert(id);
        Claim::new(Guard {
            table: Arc::clone(&self.0),
            id,
        })
    }

    pub(super) fn is_claimed(&self, id: FileId) -> bool {
        self.0.lock().contains(&id)
    }
}

struct Guard {
    table: Arc<Mutex<HashSet<FileId>>>,
    id: FileId,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
    }
}
