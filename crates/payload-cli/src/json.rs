//! The JSON form of what the server says: the messages of the protos in snake_case, numbers as numbers, enums by name.
//!
//! These types are the contract of `-o json`. Fields are added, never renamed; docs/reference/cli.md has an example of
//! each document, and a test compares the two.

mod lineage;
mod metadata;
mod names;
mod namespaces;
mod placement;
pub(crate) mod streams;

use std::collections::BTreeMap;

use payload_client::v1;
use serde::Serialize;

pub(crate) use self::lineage::{AddedLineage, Impact, Lineage, LineageNode};
pub(crate) use self::metadata::{Appended, Document, Metadata, MetadataHistory, NewRevision, Revision};
pub(crate) use self::names::{Name, NameHistory, NameMove, Named, Names, OneName, RemovedName};
pub(crate) use self::namespaces::{Namespace, NamespaceQuota, Namespaces, OneNamespace, RemovedNamespace};
pub(crate) use self::placement::{
    Cancelled, Candidate, Explained, HolderSum, Holders, Plan, Pressure, Standing, TierView, Tiers, Transfer,
    Transfers, VerifiedBytes,
};
use crate::failure::Failure;

/// `put`.
#[derive(Debug, Serialize)]
pub(crate) struct Payloads {
    pub(crate) payloads: Vec<Payload>,
}

/// `ls`.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) payloads: Vec<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<Count>,
}

/// How many there are altogether, or at least.
#[derive(Debug, Serialize)]
pub(crate) struct Count {
    pub(crate) payloads: u64,
    pub(crate) exact: bool,
}

/// `label` and `expire`.
#[derive(Debug, Serialize)]
pub(crate) struct OnePayload {
    pub(crate) payload: Payload,
}

/// `show`.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    pub(crate) payload: Payload,
    /// That point at it now.
    pub(crate) names: Vec<String>,
    /// The latest revision, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) events: Option<Vec<Event>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Payload {
    pub(crate) payload_id: String,
    pub(crate) namespace: String,
    pub(crate) state: &'static str,
    pub(crate) version: u64,
    pub(crate) size: u64,
    pub(crate) digest: String,
    pub(crate) tier: &'static str,
    pub(crate) durability: &'static str,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) owner: String,
    pub(crate) created_at_us: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) committed_at_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deadline_at_us: Option<i64>,
    pub(crate) replicas: Vec<Replica>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) policy: Policy,
    pub(crate) metadata_revision: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Policy {
    pub(crate) priority: &'static str,
    pub(crate) spill_to: &'static str,
    pub(crate) rederivable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_residency_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) write_behind: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Replica {
    pub(crate) replica_id: String,
    pub(crate) tier: &'static str,
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<Location>,
    pub(crate) charged: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<Pin>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Pin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until_us: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Location {
    pub(crate) container_id: String,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) shared: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Event {
    pub(crate) version: u64,
    pub(crate) kind: String,
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) at_us: i64,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) payload_id: String,
    pub(crate) edits: Vec<EventEdit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<EventNote>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EventNote {
    pub(crate) event_type: String,
    pub(crate) document: Document,
}

#[derive(Debug, Serialize)]
pub(crate) struct EventEdit {
    pub(crate) field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
}

/// `events`.
#[derive(Debug, Serialize)]
pub(crate) struct Events {
    pub(crate) events: Vec<Event>,
    /// Goes on from here.
    pub(crate) cursor: String,
}

/// `verify`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct VerifiedEvents {
    pub(crate) payloads: u64,
    pub(crate) trimmed: u64,
    pub(crate) faults: Vec<EventFault>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EventFault {
    pub(crate) payload_id: String,
    pub(crate) message: String,
}

/// `get`.
#[derive(Debug, Serialize)]
pub(crate) struct Got {
    pub(crate) payload_id: String,
    pub(crate) file: String,
    pub(crate) size: u64,
    pub(crate) digest: String,
    /// Whether the bytes were compared with the digest; false if there is none yet.
    pub(crate) verified: bool,
}

/// `rm`.
#[derive(Debug, Serialize)]
pub(crate) struct Removed {
    pub(crate) payloads: Vec<RemovedPayload>,
}

#[derive(Debug, Serialize)]
pub(crate) struct RemovedPayload {
    pub(crate) payload_id: String,
    pub(crate) state: &'static str,
    pub(crate) leases: u64,
    pub(crate) dependents_deleted: u64,
    /// Nothing was deleted; the rest says what would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dry_run: Option<DryRun>,
}

/// What a cascade would delete first.
#[derive(Debug, Serialize)]
pub(crate) struct DryRun {
    pub(crate) dependents_left: u64,
    pub(crate) dependents: Vec<LineageNode>,
}

/// `leases`.
#[derive(Debug, Serialize)]
pub(crate) struct Leases {
    pub(crate) leases: Vec<Lease>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Lease {
    pub(crate) lease_serial: u64,
    pub(crate) namespace: String,
    pub(crate) payload_id: String,
    pub(crate) replica_id: String,
    pub(crate) holder: Holder,
    pub(crate) age_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Holder {
    pub(crate) principal: String,
    pub(crate) kind: String,
    pub(crate) pid: u32,
    pub(crate) command: String,
}

/// `revoke`.
#[derive(Debug, Serialize)]
pub(crate) struct Revoked {
    pub(crate) lease_serial: u64,
}

/// `stats`.
#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    pub(crate) node_id: String,
    pub(crate) epoch: u64,
    pub(crate) version: String,
    pub(crate) uptime_ms: u64,
    pub(crate) tiers: Vec<TierStats>,
    pub(crate) sessions: u64,
    pub(crate) leases: u64,
    pub(crate) allocations: u64,
    pub(crate) payloads_known: u64,
    pub(crate) keeper: KeeperStats,
}

#[derive(Debug, Serialize)]
pub(crate) struct TierStats {
    pub(crate) tier: &'static str,
    pub(crate) capacity_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) staging_bytes: u64,
    pub(crate) pool_bytes: u64,
    pub(crate) zombie_bytes: u64,
    pub(crate) slack_bytes: u64,
    pub(crate) containers: u64,
    pub(crate) replicas: u64,
    pub(crate) charged_bytes: u64,
    pub(crate) huge_pages: bool,
    pub(crate) unavailable: bool,
    pub(crate) failing: bool,
    pub(crate) ceiling_bytes: u64,
    pub(crate) pinned_bytes: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct KeeperStats {
    pub(crate) kind: String,
    pub(crate) connected: bool,
}

/// Any command that fails, on standard error.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    error: FailedError,
}

#[derive(Debug, Serialize)]
struct FailedError {
    reason: &'static str,
    message: String,
    exit_code: u8,
    outcome_unknown: bool,
}

impl From<v1::Payload> for Payload {
    fn from(payload: v1::Payload) -> Self {
        Self {
            state: payload.state().as_str_name(),
            tier: payload.tier().as_str_name(),
            durability: payload.durability().as_str_name(),
            policy: payload.policy.unwrap_or_default().into(),
            payload_id: payload.payload_id,
            namespace: payload.namespace,
            version: payload.version,
            size: payload.size,
            digest: payload.digest,
            labels: payload.labels.into_iter().collect(),
            owner: payload.owner,
            created_at_us: payload.created_at_us,
            committed_at_us: payload.committed_at_us,
            deadline_at_us: payload.deadline_at_us,
            replicas: payload.replicas.into_iter().map(Replica::from).collect(),
            ttl_ms: payload.ttl_ms,
            metadata_revision: payload.metadata_revision,
        }
    }
}

impl From<v1::Policy> for Policy {
    fn from(policy: v1::Policy) -> Self {
        Self {
            priority: policy.priority().as_str_name(),
            spill_to: policy.spill_to().as_str_name(),
            rederivable: policy.rederivable,
            min_tier: Some(policy.min_tier())
                .filter(|tier| *tier != v1::Tier::Unspecified)
                .map(|tier| tier.as_str_name()),
            min_residency_ms: policy.min_residency_ms,
            write_behind: Some(policy.write_behind())
                .filter(|soon| *soon != v1::Durability::Unspecified)
                .map(|soon| soon.as_str_name()),
        }
    }
}

impl From<v1::Replica> for Replica {
    fn from(replica: v1::Replica) -> Self {
        Self {
            tier: replica.tier().as_str_name(),
            state: replica.state().as_str_name(),
            replica_id: replica.replica_id,
            location: replica.location.map(Location::from),
            charged: replica.charged,
            pin: replica.pin.map(|pin| Pin { until_us: pin.until_us }),
        }
    }
}

impl From<v1::Location> for Location {
    fn from(location: v1::Location) -> Self {
        let v1::Location {
            container_id,
            offset,
            length,
            shared,
        } = location;
        Self {
            container_id,
            offset,
            length,
            shared,
        }
    }
}

impl From<v1::Event> for Event {
    fn from(event: v1::Event) -> Self {
        Self {
            from: event.from().as_str_name(),
            to: event.to().as_str_name(),
            version: event.version,
            kind: event.kind,
            actor: event.actor,
            reason: event.reason,
            at_us: event.at_us,
            payload_id: event.payload_id,
            edits: event.edits.into_iter().map(EventEdit::from).collect(),
            note: event.note.map(EventNote::from),
        }
    }
}

impl From<v1::EventNote> for EventNote {
    fn from(note: v1::EventNote) -> Self {
        Self {
            event_type: note.event_type,
            document: note.document.unwrap_or_default().into(),
        }
    }
}

impl From<v1::EventEdit> for EventEdit {
    fn from(edit: v1::EventEdit) -> Self {
        let v1::EventEdit { field, value } = edit;
        Self { field, value }
    }
}

impl From<v1::EventFault> for EventFault {
    fn from(fault: v1::EventFault) -> Self {
        let v1::EventFault { payload_id, message } = fault;
        Self { payload_id, message }
    }
}

impl From<v1::LeaseInfo> for Lease {
    fn from(lease: v1::LeaseInfo) -> Self {
        Self {
            lease_serial: lease.lease_serial,
            namespace: lease.namespace,
            payload_id: lease.payload_id,
            replica_id: lease.replica_id,
            holder: lease.holder.unwrap_or_default().into(),
            age_ms: lease.age_ms,
            expires_in_ms: lease.expires_in_ms,
        }
    }
}

impl From<v1::Holder> for Holder {
    fn from(holder: v1::Holder) -> Self {
        let v1::Holder {
            principal,
            kind,
            pid,
            command,
        } = holder;
        Self {
            principal,
            kind,
            pid,
            command,
        }
    }
}

impl From<v1::GetStatsResponse> for Stats {
    fn from(stats: v1::GetStatsResponse) -> Self {
        let v1::KeeperStats { kind, connected } = stats.keeper.unwrap_or_default();
        Self {
            node_id: stats.node_id,
            epoch: stats.epoch,
            version: stats.version,
            uptime_ms: stats.uptime_ms,
            tiers: stats.tiers.into_iter().map(TierStats::from).collect(),
            sessions: stats.sessions,
            leases: stats.leases,
            allocations: stats.allocations,
            payloads_known: stats.payloads_known,
            keeper: KeeperStats { kind, connected },
        }
    }
}

impl From<v1::TierStats> for TierStats {
    fn from(stats: v1::TierStats) -> Self {
        Self {
            tier: stats.tier().as_str_name(),
            capacity_bytes: stats.capacity_bytes,
            used_bytes: stats.used_bytes,
            staging_bytes: stats.staging_bytes,
            pool_bytes: stats.pool_bytes,
            zombie_bytes: stats.zombie_bytes,
            huge_pages: stats.huge_pages,
            unavailable: stats.unavailable,
            failing: stats.failing,
            ceiling_bytes: stats.ceiling_bytes,
            pinned_bytes: stats.pinned_bytes,
            slack_bytes: stats.slack_bytes,
            containers: stats.containers,
            replicas: stats.replicas,
            charged_bytes: stats.charged_bytes,
        }
    }
}

impl From<&Failure> for Failed {
    fn from(failure: &Failure) -> Self {
        let error = FailedError {
            reason: failure.reason,
            message: failure.to_string(),
            exit_code: failure.exit_code(),
            outcome_unknown: failure.outcome_unknown,
        };
        Self { error }
    }
}
