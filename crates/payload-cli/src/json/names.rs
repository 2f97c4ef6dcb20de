//! The documents of `name`.

use payload_client::v1;
use serde::Serialize;

/// `name ls`.
#[derive(Debug, Serialize)]
pub(crate) struct Names {
    pub(crate) names: Vec<Name>,
}

/// `name show`.
#[derive(Debug, Serialize)]
pub(crate) struct OneName {
    pub(crate) name: Name,
}

#[derive(Debug, Serialize)]
pub(crate) struct Name {
    pub(crate) name: String,
    pub(crate) payload_id: String,
    pub(crate) version: u64,
    pub(crate) actor: String,
    pub(crate) at_us: i64,
}

/// `name set`.
#[derive(Debug, Serialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) payload_id: String,
}

/// `name history`.
#[derive(Debug, Serialize)]
pub(crate) struct NameHistory {
    pub(crate) moves: Vec<NameMove>,
}

#[derive(Debug, Serialize)]
pub(crate) struct NameMove {
    pub(crate) version: u64,
    pub(crate) from_payload_id: String,
    pub(crate) to_payload_id: String,
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) at_us: i64,
}

/// `name rm`.
#[derive(Debug, Serialize)]
pub(crate) struct RemovedName {
    pub(crate) name: String,
}

impl From<v1::Name> for Name {
    fn from(name: v1::Name) -> Self {
        let v1::Name {
            name,
            payload_id,
            version,
            actor,
            at_us,
        } = name;
        Self {
            name,
            payload_id,
            version,
            actor,
            at_us,
        }
    }
}

impl From<v1::NameMove> for NameMove {
    fn from(moved: v1::NameMove) -> Self {
        Self {
            version: moved.version,
            from_payload_id: moved.from_payload_id,
            to_payload_id: moved.to_payload_id,
            actor: moved.actor,
            reason: moved.reason,
            at_us: moved.at_us,
        }
    }
}
