//! Health: whether the engine can work at all, asked by whoever would restart it.

use std::fmt;

use payload_core::port::{TierStore, TierUsage};
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

    /// The tiers of which less can be had than was promised. All others go on, and so does the server.
    pub fn degraded(&self) -> Vec<(Tier, Impairment)> {
        let stores = self.ports.tiers.iter();
        let impaired = stores.filter_map(|store| Some((store.tier(), self.impairment(&**store)?)));
        impaired.collect()
    }

    fn impairment(&self, store: &dyn TierStore) -> Option<Impairment> {
        let usage = store.usage();
        let ceiling = self.ceiling(store, &usage);
        match usage {
            TierUsage { unavailable: true, .. } => Some(Impairment::Silent),
            TierUsage { failing: true, .. } => Some(Impairment::Failing),
            TierUsage { capacity, .. } if ceiling < capacity => Some(Impairment::Short { ceiling, capacity }),
            _ => None,
        }
    }
}

/// What is wrong with a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impairment {
    /// Its store does not answer.
    Silent,
    /// What was to be added last could not be written.
    Failing,
    /// The machine has less to give than the tier was promised.
    Short {
        /// What it can hold now.
        ceiling: u64,
        /// What it was to hold.
        capacity: u64,
    },
}

impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("its store does not answer"),
            Self::Failing => f.write_str("what was to be added last could not be written"),
            Self::Short { ceiling, capacity } => {
                write!(f, "the machine lets it have {ceiling} of its {capacity} bytes")
            }
        }
    }
}
