//! The payload as the whole system knows it: one row, its replicas, its labels.

use std::fmt;

use crate::digest::Digest;
use crate::id::{NodeId, PayloadId, ReplicaId};
use crate::lifecycle::{State, StateKind};
use crate::metadata::Revision;
use crate::name::{Label, Namespace, Principal};
use crate::policy::Policy;
use crate::tier::{Durability, Location, Tier};
use crate::time::{Span, Timestamp};

/// Counts the changes of one payload, from 1; every change is guarded by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version that an allocation creates.
    pub const FIRST: Self = Self(1);

    /// From a row.
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }

    /// For a row.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The version after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Immutable bytes with a name, and everything the catalog knows about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its name for ever.
    pub id: PayloadId,
    /// The tenant that it belongs to.
    pub namespace: Namespace,
    /// Where it is in its life.
    pub state: State,
    /// How often it has changed.
    pub version: Version,
    /// Bytes: what was asked for until the commit, what was committed from then on.
    pub size: u64,
    /// Of the content; absent while nobody has computed it.
    pub digest: Option<Digest>,
    /// The tier that it was made in.
    pub tier: Tier,
    /// What it is promised to survive: by its commit, or since it was written behind.
    pub durability: Durability,
    /// How it is kept when room is short.
    pub policy: Policy,
    /// In order of their keys.
    pub labels: Vec<Label>,
    /// Who allocated it.
    pub owner: Principal,
    /// Allocated when.
    pub created_at: Timestamp,
    /// Committed when.
    pub committed_at: Option<Timestamp>,
    /// How long it lives, counted from the commit.
    pub ttl: Option<Span>,
    /// The latest revision of its metadata; absent while none was set.
    pub metadata: Option<Revision>,
    /// Where its bytes are, in order of the replicas' ids.
    pub replicas: Vec<Replica>,
}

impl Payload {
    /// The replica to read from: the ready one in the fastest tier.
    pub fn best_replica(&self) -> Option<&Replica> {
        self.replicas
            .iter()
            .filter(|replica| replica.state == ReplicaState::Ready)
            .min_by_key(|replica| replica.tier())
    }

    /// The replicas that a node has.
    pub fn replicas_of(&self, node: NodeId) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(move |replica| replica.node == node)
    }

    /// The replicas that a node can reach: its own, and those that belong to none.
    pub fn replicas_for(&self, node: NodeId) -> impl Iterator<Item = &Replica> {
        self.replicas
            .iter()
            .filter(move |replica| replica.is_reachable_from(node))
    }

    /// Whether a node has any of its replicas.
    pub fn is_on(&self, node: NodeId) -> bool {
        self.replicas_of(node).next().is_some()
    }

    /// What it is to survive soon, and does not yet.
    pub fn owes(&self) -> Option<Durability> {
        let is_active = self.state.kind() == StateKind::Active;
        self.policy
            .write_behind
            .filter(|soon| is_active && *soon != self.durability)
    }

    /// One of its replicas.
    pub fn replica(&self, id: ReplicaId) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.id == id)
    }
}

/// One complete copy of a payload in one tier of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its name.
    pub id: ReplicaId,
    /// The node whose tier it is in, and that alone may move it; [`NodeId::NONE`] for what is in the bucket.
    pub node: NodeId,
    /// Whether it can be read.
    pub state: ReplicaState,
    /// Where its bytes are.
    pub location: Location,
    /// The bytes of capacity that it takes up, rounding included.
    pub charged: u64,
    /// Keeps it where it is, however short the room is.
    pub pin: Option<Pin>,
}

/// How long a pinned replica stays in its tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pin {
    /// Until this moment, by the wall clock, or until somebody unpins it.
    Until(Timestamp),
    /// Until somebody unpins it.
    Unlimited,
}

impl Pin {
    /// When it ends by itself.
    pub const fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Until(at) => Some(at),
            Self::Unlimited => None,
        }
    }

    /// As one number for a row: its deadline, or the last moment there is.
    pub const fn as_micros(self) -> i64 {
        match self {
            Self::Until(at) => at.as_micros(),
            Self::Unlimited => i64::MAX,
        }
    }

    /// From a row.
    pub const fn from_micros(micros: i64) -> Self {
        match micros {
            i64::MAX => Self::Unlimited,
            micros => Self::Until(Timestamp::from_micros(micros)),
        }
    }
}

impl Replica {
    /// The tier that it is in.
    pub const fn tier(&self) -> Tier {
        self.location.tier()
    }

    /// Whether a node can read and free it.
    pub fn is_reachable_from(&self, node: NodeId) -> bool {
        self.node == node || self.node == NodeId::NONE
    }
}

/// Whether a replica can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaState {
    /// Bytes are still being written.
    Copying,
    /// All bytes are there, to the standard of the tier.
    Ready,
    /// On its way out: leases that exist hold it, new ones do not get it.
    Draining,
}

impl ReplicaState {
    /// Every state there is.
    pub const ALL: [Self; 3] = [Self::Copying, Self::Ready, Self::Draining];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Copying => "copying",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}
