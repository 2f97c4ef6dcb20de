//! Why the server is not ready, if it is not, and what does not work although it is: set by whoever knows, asked by
//! `/readyz`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use parking_lot::Mutex;
use payload_core::Tier;

/// A thing that can be in the way of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Recovery is not over.
    Starting,
    /// The repository does not answer, or takes no writes.
    Repository,
    /// The fd keeper does not answer.
    Keeper,
    /// The server is about to stop.
    ShuttingDown,
}

impl Condition {
    /// The name in the answer.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Repository => "repository",
            Self::Keeper => "keeper",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Says of which tiers less can be had than was promised, and why.
type AskTiers = dyn Fn() -> Vec<(Tier, String)> + Send + Sync;

/// What is in the way at the moment.
pub struct Readiness {
    reasons: Mutex<BTreeMap<Condition, String>>,
    /// Finds out whether the repository works.
    ask_repository: OnceLock<Box<dyn Fn() -> payload_core::Result<()> + Send + Sync>>,
    /// Finds out which tiers do without their store.
    ask_tiers: OnceLock<Box<AskTiers>>,
}

impl Readiness {
    /// A server that is starting.
    pub fn starting() -> Self {
        let reason = "the server has just started".to_owned();
        Self {
            reasons: Mutex::new(BTreeMap::from([(Condition::Starting, reason)])),
            ask_repository: OnceLock::new(),
            ask_tiers: OnceLock::new(),
        }
    }

    /// Says how to find out whether the repository works. The first one counts.
    pub fn ask_repository_by(&self, ask: impl Fn() -> payload_core::Result<()> + Send + Sync + 'static) {
        // A second one would be the same.
        let _ = self.ask_repository.set(Box::new(ask));
    }

    /// Says how to find out of which tiers less can be had than was promised, and why. The first one counts.
    pub fn ask_tiers_by(&self, ask: impl Fn() -> Vec<(Tier, String)> + Send + Sync + 'static) {
        // A second one would be the same.
        let _ = self.ask_tiers.set(Box::new(ask));
    }

    /// The tiers of which less can be had than was promised, and why. All else goes on: the server is ready all the same.
    pub fn degraded(&self) -> Vec<(Tier, String)> {
        self.ask_tiers.get().map_or_else(Vec::new, |ask| ask())
    }

    /// Looks whether the repository is still in the way, if it was. Callers see to that otherwise, but nobody may call a
    /// server that is not ready. May block.
    pub fn look_again(&self) {
        if !self.reasons.lock().contains_key(&Condition::Repository) {
            return;
        }
        match self.ask_repository.get().map(|ask| ask()) {
            Some(Ok(())) => self.clear(Condition::Repository),
            Some(Err(error)) => self.set(Condition::Repository, error.message().to_owned()),
            None => {}
        }
    }

    /// Something is in the way; says what, for people.
    pub fn set(&self, condition: Condition, message: impl Into<String>) {
        self.reasons.lock().insert(condition, message.into());
    }

    /// It no longer is.
    pub fn clear(&self, condition: Condition) {
        self.reasons.lock().remove(&condition);
    }

    /// All that is in the way; empty when the server is ready.
    pub fn reasons(&self) -> Vec<(Condition, String)> {
        self.reasons
            .lock()
            .iter()
            .map(|(condition, message)| (*condition, message.clone()))
            .collect()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&self.reasons.lock()).finish()
    }
}
