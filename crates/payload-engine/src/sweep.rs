//! Sweep: containers that no row names are freed. The only way by which shared containers and leftovers go.

use payload_core::{Container, Result};

use crate::engine::Engine;

/// How many containers one question to the repository names.
const BATCH: usize = 500;

impl Engine {
    /// Looks at every container that may be empty, and frees those that are. Returns how many.
    pub fn sweep(&self) -> Result<usize> {
        let mut freed = 0;
        for store in &self.ports.tiers {
            let candidates = store.sweepable()?;
            for batch in candidates.chunks(BATCH) {
                let used = self.repository().containers_in_use(batch)?;
                let unused = batch
                    .iter()
                    .zip(used)
                    .filter(|(_, used)| !used)
                    .map(|(container, _)| *container);
                for container in unused.collect::<Vec<Container>>() {
                    store.drop_container(container)?;
                    self.tell_gone(&[container], |_| true);
                    freed += 1;
                }
            }
        }
        Ok(freed)
    }
}
