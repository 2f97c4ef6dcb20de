//! The namespace as a row: who made it, when, and how much it shall hold.

use crate::name::{Actor, Namespace};
use crate::payload::Version;
use crate::time::Timestamp;

/// A tenant. Payloads are made in those that exist, and only there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRecord {
    /// Its name, which is all that payloads say of it.
    pub name: Namespace,
    /// Counts its changes, from 1; every change is guarded by it.
    pub version: Version,
    /// How much it shall hold.
    pub quota: Quota,
    /// Made when.
    pub created_at: Timestamp,
    /// Made by whom.
    pub created_by: Actor,
}

/// Upper bounds of what a namespace may hold; absent ones do not bound it. [`quota`](crate::quota) says what counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of capacity charged for its replicas.
    pub bytes: Option<u64>,
    /// Payloads that have not ended.
    pub payloads: Option<u64>,
}
