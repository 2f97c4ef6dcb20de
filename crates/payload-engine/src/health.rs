//! Health: whether the engine can work at all, asked by whoever would restart it.

use payload_core::{Reason, Result, Tier};

use crate::engine::Engine;

impl Engine {
    /// Whether the repository answers. One that takes no writes for lack of room is none the better for a restart, which
    /// would only cost its readers their sessions.
    pub fn check(&self) -> Result<()> {
        match self.repository().check() {
            Err(error) if error.reason() == Reason::RepositoryReadOnly => Ok(()),
            other => other,
        }
    }

    /// The tiers whose store does not answer. All others go on, and so does the server.
    pub fn degraded(&self) -> Vec<Tier> {
        let stores = self.ports.tiers.iter();
        let silent = stores.filter(|store| store.usage().unavailable);
        silent.map(|store| store.tier()).collect()
    }
}
