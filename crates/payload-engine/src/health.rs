//! Health: whether the engine can work at all, asked by whoever would restart it.

use payload_core::{Reason, Result};

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
}
