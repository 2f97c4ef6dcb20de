//! Why the server is not ready, if it is not: set by whoever knows, asked by `/readyz`.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// A thing that can be in the way of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Recovery is not over.
    Starting,
    /// The repository does not answer, or takes no writes.
    Repository,
    /// The fd keeper does not answer.
    Keeper,
    /// A tier cannot be used.
    Tiers,
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
            Self::Tiers => "tiers",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// What is in the way at the moment.
#[derive(Debug)]
pub struct Readiness(Mutex<BTreeMap<Condition, String>>);

impl Readiness {
    /// A server that is starting.
    pub fn starting() -> Self {
        Self(Mutex::new(BTreeMap::from([(
            Condition::Starting,
            "the server has just started".to_owned(),
        )])))
    }

    /// Something is in the way; says what, for people.
    pub fn set(&self, condition: Condition, message: impl Into<String>) {
        self.0.lock().insert(condition, message.into());
    }

    /// It no longer is.
    pub fn clear(&self, condition: Condition) {
        self.0.lock().remove(&condition);
    }

    /// All that is in the way; empty when the server is ready.
    pub fn reasons(&self) -> Vec<(Condition, String)> {
        self.0
            .lock()
            .iter()
            .map(|(condition, message)| (*condition, message.clone()))
            .collect()
    }
}
