//! Between the wire and the core. What comes in is checked here, before any I/O; what goes out cannot fail.

pub mod event;
pub mod metadata;
pub mod streams;

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use payload_core::lineage::{Derivation, Parent, Scope};
use payload_core::{
    Container, Digest, Durability, Error, Label, Location, NameGuard, NameMove, NameRecord, Namespace, NamespaceRecord,
    Naming, Payload, PayloadId, Quota, Reason, Replica, ReplicaState, RequestId, Result, Revision, Span, State,
    StateKind, Tier, Timestamp, limits, name,
};

use crate::v1;

/// A namespace; the default one if the field is empty.
pub fn namespace(text: &str) -> Result<Namespace> {
    if text.is_empty() {
        Ok(Namespace::default())
    } else {
        text.parse()
    }
}

/// An id or token that must be there.
pub fn id<T: FromStr<Err = Error>>(text: &str) -> Result<T> {
    text.parse()
}

/// An id, token or digest that may be absent, which is the empty text.
pub fn optional<T: FromStr<Err = Error>>(text: &str) -> Result<Option<T>> {
    if text.is_empty() {
        Ok(None)
    } else {
        text.parse().map(Some)
    }
}

/// A request id, which may be absent.
pub fn request_id(text: &str) -> Result<Option<RequestId>> {
    optional(text)
}

/// A name that is to be given, with the guard that the caller wants.
pub fn naming(naming: &v1::Naming) -> Result<Naming> {
    let guard = match (optional(&naming.if_payload_id)?, naming.replace) {
        (None, false) => NameGuard::Free,
        (None, true) => NameGuard::Any,
        (Some(payload), false) => NameGuard::PointsAt(payload),
        (Some(_), true) => {
            let message = "if_payload_id and replace contradict each other";
            return Err(Error::invalid(Reason::BadRequest, message).field("replace"));
        }
    };
    Ok(Naming {
        name: id(&naming.name)?,
        guard,
    })
}

/// The same, where there may be none.
pub fn naming_maybe(naming: Option<&v1::Naming>) -> Result<Option<Naming>> {
    naming.map(self::naming).transpose()
}

/// A number of milliseconds, which may be absent.
pub fn span(millis: Option<u64>) -> Option<Span> {
    millis.map(Duration::from_millis)
}

/// A span in whole milliseconds, rounded down: nobody is promised more than there is.
pub fn millis(span: Span) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Labels in order, each checked.
pub fn labels(map: &HashMap<String, String>) -> Result<Vec<Label>> {
    name::labels(map.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// A batch that is neither empty nor too long.
pub fn batch<T>(items: &[T], field: &'static str) -> Result<()> {
    match items.len() {
        0 => Err(Error::invalid(Reason::BadRequest, format!("{field} must name at least one item")).field(field)),
        1..=limits::BATCH_ITEMS_MAX => Ok(()),
        _ => Err(Error::invalid(
            Reason::BadRequest,
            format!("{field} has at most {} items", limits::BATCH_ITEMS_MAX),
        )
        .field(field)),
    }
}

/// A tier, if one is named.
pub fn tier(value: i32) -> Result<Option<Tier>> {
    match v1::Tier::try_from(value) {
        Ok(v1::Tier::Unspecified) => Ok(None),
        Ok(v1::Tier::Ram) => Ok(Some(Tier::Ram)),
        Ok(v1::Tier::Disk) => Ok(Some(Tier::Disk)),
        Ok(v1::Tier::Object) => Ok(Some(Tier::Object)),
        Err(_) => {
            Err(Error::invalid(Reason::TierNotConfigured, format!("there is no tier number {value}")).field("tier"))
        }
    }
}

/// A durability class, if one is named.
pub fn durability(value: i32) -> Result<Option<Durability>> {
    match v1::Durability::try_from(value) {
        Ok(v1::Durability::Unspecified) => Ok(None),
        Ok(v1::Durability::Volatile) => Ok(Some(Durability::Volatile)),
        Ok(v1::Durability::Host) => Ok(Some(Durability::Host)),
        Ok(v1::Durability::ObjectStorage) => Ok(Some(Durability::Object)),
        Err(_) => Err(
            Error::invalid(Reason::BadRequest, format!("there is no durability number {value}")).field("durability"),
        ),
    }
}

/// A state, if one is named.
pub fn state(value: i32) -> Result<Option<StateKind>> {
    match v1::State::try_from(value) {
        Ok(v1::State::Unspecified) => Ok(None),
        Ok(v1::State::Allocated) => Ok(Some(StateKind::Allocated)),
        Ok(v1::State::Active) => Ok(Some(StateKind::Active)),
        Ok(v1::State::Deleting) => Ok(Some(StateKind::Deleting)),
        Ok(v1::State::Deleted) => Ok(Some(StateKind::Deleted)),
        Ok(v1::State::Aborted) => Ok(Some(StateKind::Aborted)),
        Ok(v1::State::Lost) => Ok(Some(StateKind::Lost)),
        Err(_) => Err(Error::invalid(Reason::BadRequest, format!("there is no state number {value}")).field("state")),
    }
}

/// How a payload came about, if that is said.
pub fn lineage(derivation: Option<&v1::Derivation>) -> Result<Option<Derivation>> {
    let Some(derivation) = derivation else { return Ok(None) };
    let parent = |parent: &v1::Parent| -> Result<Parent> {
        Ok(Parent {
            payload: id(&parent.payload_id)?,
            role: parent.role.parse()?,
        })
    };
    // Counted before they are read: a list without end costs nothing.
    let parents = derivation.parents.iter().take(limits::LINEAGE_PARENTS_MAX + 1);
    let parents: Result<_> = parents.map(parent).collect();
    Derivation::new(derivation.operation.parse()?, &derivation.parameters, parents?).map(Some)
}

/// Which way to look from a payload; both, if none is named.
pub fn scope(value: i32) -> Result<Scope> {
    match v1::LineageScope::try_from(value) {
        Ok(v1::LineageScope::Unspecified | v1::LineageScope::Both) => Ok(Scope::Both),
        Ok(v1::LineageScope::Up) => Ok(Scope::Up),
        Ok(v1::LineageScope::Down) => Ok(Scope::Down),
        Err(_) => {
            Err(Error::invalid(Reason::BadRequest, format!("there is no lineage scope number {value}")).field("scope"))
        }
    }
}

/// A container that a client says it knows.
pub fn container(text: &str) -> Result<[Container; 2]> {
    let bad = |_: Error| {
        Error::invalid(Reason::BadId, "container id must be a UUIDv7 in its hyphenated form").field("container_ids")
    };
    // Memfds and files draw their ids from one space; which of the two it is, the client does not say.
    Ok([
        Container::Segment(text.parse().map_err(bad)?),
        Container::File(text.parse().map_err(bad)?),
    ])
}

/// The text of a container's id.
pub fn container_id(container: &Container) -> String {
    match container {
        Container::Segment(segment) => segment.to_string(),
        Container::File(file) => file.to_string(),
        Container::Object(object) => object.to_string(),
    }
}

/// A quota; one that is not there bounds nothing. What no catalog can count up to is no bound.
pub fn quota(quota: Option<&v1::Quota>) -> Result<Quota> {
    let bound = |value: Option<u64>, field| match value {
        Some(value) if value > limits::QUOTA_MAX => {
            Err(Error::invalid(Reason::BadSize, format!("a quota is at most {}", limits::QUOTA_MAX)).field(field))
        }
        value => Ok(value),
    };
    let quota = quota.copied().unwrap_or_default();
    Ok(Quota {
        bytes: bound(quota.bytes, "quota.bytes")?,
        payloads: bound(quota.payloads, "quota.payloads")?,
    })
}

impl From<&NamespaceRecord> for v1::Namespace {
    fn from(record: &NamespaceRecord) -> Self {
        Self {
            name: record.name.to_string(),
            version: record.version.as_u64(),
            quota: Some(v1::Quota {
                bytes: record.quota.bytes,
                payloads: record.quota.payloads,
            }),
            created_at_us: record.created_at.as_micros(),
            created_by: record.created_by.to_string(),
        }
    }
}

impl From<&NameRecord> for v1::Name {
    fn from(record: &NameRecord) -> Self {
        Self {
            name: record.name.to_string(),
            payload_id: record.payload.to_string(),
            version: record.version.as_u64(),
            actor: record.actor.to_string(),
            at_us: record.at.as_micros(),
        }
    }
}

impl From<&NameMove> for v1::NameMove {
    fn from(moved: &NameMove) -> Self {
        let end = |payload: Option<PayloadId>| payload.map(|id| id.to_string()).unwrap_or_default();
        Self {
            version: moved.version.as_u64(),
            from_payload_id: end(moved.from),
            to_payload_id: end(moved.to),
            actor: moved.actor.to_string(),
            reason: moved.reason.as_deref().unwrap_or_default().to_owned(),
            at_us: moved.at.as_micros(),
        }
    }
}

impl From<Tier> for v1::Tier {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Ram => Self::Ram,
            Tier::Disk => Self::Disk,
            Tier::Object => Self::Object,
        }
    }
}

impl From<Durability> for v1::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Volatile => Self::Volatile,
            Durability::Host => Self::Host,
            Durability::Object => Self::ObjectStorage,
        }
    }
}

impl From<StateKind> for v1::State {
    fn from(state: StateKind) -> Self {
        match state {
            StateKind::Allocated => Self::Allocated,
            StateKind::Active => Self::Active,
            StateKind::Deleting => Self::Deleting,
            StateKind::Deleted => Self::Deleted,
            StateKind::Aborted => Self::Aborted,
            StateKind::Lost => Self::Lost,
        }
    }
}

impl From<ReplicaState> for v1::ReplicaState {
    fn from(state: ReplicaState) -> Self {
        match state {
            ReplicaState::Copying => Self::Copying,
            ReplicaState::Ready => Self::Ready,
            ReplicaState::Draining => Self::Draining,
        }
    }
}

impl From<&Payload> for v1::Payload {
    fn from(row: &Payload) -> Self {
        Self {
            payload_id: row.id.to_string(),
            namespace: row.namespace.to_string(),
            state: v1::State::from(row.state.kind()).into(),
            version: row.version.as_u64(),
            size: row.size,
            digest: digest(row.digest),
            tier: v1::Tier::from(row.tier).into(),
            durability: v1::Durability::from(row.durability).into(),
            labels: row
                .labels
                .iter()
                .map(|label| (label.key.to_string(), label.value.to_string()))
                .collect(),
            owner: row.owner.to_string(),
            created_at_us: row.created_at.as_micros(),
            committed_at_us: row.committed_at.map(payload_core::Timestamp::as_micros),
            deadline_at_us: State::deadline(&row.state).map(payload_core::Timestamp::as_micros),
            replicas: row
                .replicas
                .iter()
                .map(|replica| wire_replica(replica, row.size))
                .collect(),
            ttl_ms: row.ttl.map(millis),
            policy: Some(row.policy.into()),
            metadata_revision: row.metadata.map_or(0, Revision::as_u64),
        }
    }
}

fn wire_replica(replica: &Replica, size: u64) -> v1::Replica {
    v1::Replica {
        replica_id: replica.id.to_string(),
        tier: v1::Tier::from(replica.tier()).into(),
        state: v1::ReplicaState::from(replica.state).into(),
        location: Some(location(&replica.location, size)),
        charged: replica.charged,
        pin: replica.pin.map(|pin| v1::Pin {
            until_us: pin.deadline().map(Timestamp::as_micros),
        }),
    }
}

/// Where `length` bytes are.
pub fn location(location: &Location, length: u64) -> v1::Location {
    v1::Location {
        container_id: container_id(&location.container()),
        offset: location.offset(),
        length,
        shared: location.is_shared(),
    }
}

/// The text of a digest; empty while there is none.
pub fn digest(digest: Option<Digest>) -> String {
    digest.map(|digest| digest.to_string()).unwrap_or_default()
}

/// Where a leased replica's bytes are.
pub fn descriptor(row: &Payload, replica: &Replica) -> v1::Descriptor {
    v1::Descriptor {
        payload_id: row.id.to_string(),
        version: row.version.as_u64(),
        size: row.size,
        digest: digest(row.digest),
        replica_id: replica.id.to_string(),
        tier: v1::Tier::from(replica.tier()).into(),
        location: Some(location(&replica.location, row.size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_name_nothing_are_refused() {
        assert_eq!(tier(0).unwrap(), None);
        assert_eq!(tier(7).unwrap_err().reason(), Reason::TierNotConfigured);
        assert_eq!(durability(-1).unwrap_err().reason(), Reason::BadRequest);
        assert_eq!(state(99).unwrap_err().reason(), Reason::BadRequest);
    }

    #[test]
    fn batches_are_bounded_on_both_sides() {
        assert_eq!(batch::<u8>(&[], "ids").unwrap_err().reason(), Reason::BadRequest);
        assert!(batch(&[0u8; limits::BATCH_ITEMS_MAX], "ids").is_ok());
        assert_eq!(
            batch(&[0u8; limits::BATCH_ITEMS_MAX + 1], "ids").unwrap_err().reason(),
            Reason::BadRequest
        );
    }

    #[test]
    fn every_word_of_the_core_has_its_number_and_back() {
        for kind in StateKind::ALL {
            assert_eq!(state(v1::State::from(kind).into()).unwrap(), Some(kind));
        }
        for one in Tier::ALL {
            assert_eq!(tier(v1::Tier::from(one).into()).unwrap(), Some(one));
        }
        for one in Durability::ALL {
            assert_eq!(durability(v1::Durability::from(one).into()).unwrap(), Some(one));
        }
    }
}
