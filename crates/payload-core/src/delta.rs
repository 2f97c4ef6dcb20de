//! What an event changed about a payload, and the way back: folding a payload's events gives its row (I6).

use std::fmt;
use std::sync::Arc;

use crate::digest::Digest;
use crate::id::{PayloadId, ReplicaId};
use crate::lifecycle::State;
use crate::metadata::Revision;
use crate::name::{Label, Namespace, Principal};
use crate::payload::{Payload, Replica, Version};
use crate::policy::Policy;
use crate::tier::{Durability, Tier};
use crate::time::{Span, Timestamp};

/// The difference between two versions of a payload; empty if only the version differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta(pub Vec<Edit>);

/// One thing that an event changed, as it is afterwards. What it was before, the events before say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The payload came into being.
    Created(Origin),
    /// See [`Payload::state`].
    State(State),
    /// See [`Payload::size`].
    Size(u64),
    /// See [`Payload::digest`].
    Digest(Option<Digest>),
    /// See [`Payload::tier`].
    Tier(Tier),
    /// See [`Payload::durability`].
    Durability(Durability),
    /// See [`Payload::policy`].
    Policy(Policy),
    /// See [`Payload::committed_at`].
    CommittedAt(Option<Timestamp>),
    /// See [`Payload::ttl`].
    Ttl(Option<Span>),
    /// See [`Payload::metadata`].
    Metadata(Option<Revision>),
    /// A label was added or has another value.
    Label(Label),
    /// The label with this key was removed.
    Unlabelled(Arc<str>),
    /// A replica was added or is different.
    Replica(Replica),
    /// The replica was removed.
    ReplicaGone(ReplicaId),
}

/// What every payload has from its first version on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// See [`Payload::namespace`].
    pub namespace: Namespace,
    /// See [`Payload::owner`].
    pub owner: Principal,
    /// See [`Payload::created_at`].
    pub created_at: Timestamp,
    /// See [`Payload::state`].
    pub state: State,
    /// See [`Payload::size`].
    pub size: u64,
    /// See [`Payload::tier`].
    pub tier: Tier,
    /// See [`Payload::durability`].
    pub durability: Durability,
}

/// What an event has to say about the step from `before` to `after`.
pub fn delta(before: Option<&Payload>, after: &Payload) -> Delta {
    let mut edits = Vec::new();
    match before {
        Some(before) => difference(before, after, &mut edits),
        None => {
            let origin = Origin {
                namespace: after.namespace.clone(),
                owner: after.owner.clone(),
                created_at: after.created_at,
                state: after.state,
                size: after.size,
                tier: after.tier,
                durability: after.durability,
            };
            let first = origin.first(after.id);
            edits.push(Edit::Created(origin));
            difference(&first, after, &mut edits);
        }
    }
    Delta(edits)
}

/// The row that a payload's events add up to, from the first event on; `None` for no events.
pub fn fold<'a>(
    id: PayloadId,
    events: impl IntoIterator<Item = (Version, &'a Delta)>,
) -> Result<Option<Payload>, FoldError> {
    let mut row = None;
    for (version, delta) in events {
        apply(&mut row, id, version, delta)?;
    }
    Ok(row)
}

/// Brings a row from one version to the next; an absent one into being.
pub fn apply(row: &mut Option<Payload>, id: PayloadId, version: Version, delta: &Delta) -> Result<(), FoldError> {
    let expected = row.as_ref().map_or(Version::FIRST, |row| row.version.next());
    if version != expected {
        return Err(FoldError { expected, version });
    }
    let mut edits = &delta.0[..];
    if let [Edit::Created(origin), rest @ ..] = edits
        && row.is_none()
    {
        *row = Some(origin.first(id));
        edits = rest;
    }
    let row = row.as_mut().ok_or(FoldError { expected, version })?;
    row.version = version;
    edits.iter().for_each(|edit| edit.apply(row));
    row.labels.sort_unstable();
    row.replicas.sort_unstable_by_key(|replica| replica.id);
    Ok(())
}

/// Events that do not add up to a row: one is missing, or the first does not bring the payload into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldError {
    /// The version that should come next.
    pub expected: Version,
    /// The version that comes.
    pub version: Version,
}

impl fmt::Display for FoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the event of version {} comes where that of version {} should",
            self.version, self.expected
        )
    }
}

impl std::error::Error for FoldError {}

impl Origin {
    /// A payload that has nothing but its origin.
    fn first(&self, id: PayloadId) -> Payload {
        Payload {
            id,
            namespace: self.namespace.clone(),
            state: self.state,
            version: Version::FIRST,
            size: self.size,
            digest: None,
            tier: self.tier,
            durability: self.durability,
            policy: Policy::default(),
            labels: Vec::new(),
            owner: self.owner.clone(),
            created_at: self.created_at,
            committed_at: None,
            ttl: None,
            metadata: None,
            replicas: Vec::new(),
        }
    }
}

/// Takes `after` apart by name, so that no field can be added and forgotten here.
fn difference(before: &Payload, after: &Payload, edits: &mut Vec<Edit>) {
    let Payload {
        id: _,
        namespace: _,
        state,
        version: _,
        size,
        digest,
        tier,
        durability,
        policy,
        labels,
        owner: _,
        created_at: _,
        committed_at,
        ttl,
        metadata,
        replicas,
    } = after;
    let mut note = |changed: bool, edit: Edit| {
        if changed {
            edits.push(edit);
        }
    };
    note(*state != before.state, Edit::State(*state));
    note(*size != before.size, Edit::Size(*size));
    note(*digest != before.digest, Edit::Digest(*digest));
    note(*tier != before.tier, Edit::Tier(*tier));
    note(*durability != before.durability, Edit::Durability(*durability));
    note(*policy != before.policy, Edit::Policy(*policy));
    note(*committed_at != before.committed_at, Edit::CommittedAt(*committed_at));
    note(*ttl != before.ttl, Edit::Ttl(*ttl));
    note(*metadata != before.metadata, Edit::Metadata(*metadata));
    for label in before
        .labels
        .iter()
        .filter(|old| labels.iter().all(|new| new.key != old.key))
    {
        edits.push(Edit::Unlabelled(Arc::clone(&label.key)));
    }
    for label in labels.iter().filter(|label| !before.labels.contains(label)) {
        edits.push(Edit::Label(label.clone()));
    }
    for replica in before.replicas.iter().filter(|old| after.replica(old.id).is_none()) {
        edits.push(Edit::ReplicaGone(replica.id));
    }
    for replica in replicas.iter().filter(|replica| !before.replicas.contains(replica)) {
        edits.push(Edit::Replica(replica.clone()));
    }
}

impl Edit {
    /// What it changes, by its name in the API.
    pub fn field(&self) -> String {
        match self {
            Self::Created(_) => "created".to_owned(),
            Self::State(_) => "state".to_owned(),
            Self::Size(_) => "size".to_owned(),
            Self::Digest(_) => "digest".to_owned(),
            Self::Tier(_) => "tier".to_owned(),
            Self::Durability(_) => "durability".to_owned(),
            Self::Policy(_) => "policy".to_owned(),
            Self::CommittedAt(_) => "committed_at_us".to_owned(),
            Self::Ttl(_) => "ttl_ms".to_owned(),
            Self::Metadata(_) => "metadata_revision".to_owned(),
            Self::Label(Label { key, .. }) | Self::Unlabelled(key) => format!("labels/{key}"),
            Self::Replica(Replica { id, .. }) | Self::ReplicaGone(id) => format!("replicas/{id}"),
        }
    }

    fn apply(&self, row: &mut Payload) {
        match self {
            // Only the first edit of the first event brings a payload into being, and that one was taken off.
            Self::Created(_) => {}
            Self::State(state) => row.state = *state,
            Self::Size(size) => row.size = *size,
            Self::Digest(digest) => row.digest = *digest,
            Self::Tier(tier) => row.tier = *tier,
            Self::Durability(durability) => row.durability = *durability,
            Self::Policy(policy) => row.policy = *policy,
            Self::CommittedAt(at) => row.committed_at = *at,
            Self::Ttl(ttl) => row.ttl = *ttl,
            Self::Metadata(revision) => row.metadata = *revision,
            Self::Label(label) => {
                row.labels.retain(|old| old.key != label.key);
                row.labels.push(label.clone());
            }
            Self::Unlabelled(key) => row.labels.retain(|label| label.key != *key),
            Self::Replica(replica) => {
                row.replicas.retain(|old| old.id != replica.id);
                row.replicas.push(replica.clone());
            }
            Self::ReplicaGone(id) => row.replicas.retain(|replica| replica.id != *id),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::id::{NodeId, SegmentId};
    use crate::payload::{Pin, ReplicaState};
    use crate::policy::Priority;
    use crate::tier::Location;

    fn id() -> PayloadId {
        PayloadId::from_parts(1, [1; 10])
    }

    fn states() -> impl Strategy<Value = State> {
        let at = (0..3i64).prop_map(Timestamp::from_micros);
        prop_oneof![
            at.clone().prop_map(|until| State::Allocated { until }),
            option::of(at).prop_map(|expires_at| State::Active { expires_at }),
            Just(State::Deleting),
            Just(State::Lost),
        ]
    }

    fn replica((number, state, charged, pin): (u8, usize, u64, Option<i64>)) -> Replica {
        Replica {
            id: ReplicaId::from_parts(1, [number; 10]),
            node: NodeId::from_parts(1, [1; 10]),
            state: ReplicaState::ALL[state],
            location: Location::Segment(SegmentId::from_parts(1, [number; 10])),
            charged,
            pin: pin.map(Pin::from_micros),
        }
    }

    prop_compose! {
        fn rows()(
            state in states(),
            (size, ttl, committed) in (0..3u64, option::of(1..3u64), option::of(0..3i64)),
            digest in option::of(0..3u8),
            (tier, durability, metadata) in (0..2usize, 0..2usize, 0..3u64),
            (priority, rederivable) in (prop_oneof![Just(Priority::Normal), Just(Priority::High)], any::<bool>()),
            labels in proptest::collection::btree_map("[a-c]", "[x-z]", 0..3),
            replicas in proptest::collection::btree_map(0..3u8, (0..3usize, 0..3u64, option::of(0..2i64)), 0..3),
        ) -> Payload {
            let origin = Origin {
                namespace: Namespace::default(),
                owner: Principal::uid(7),
                created_at: Timestamp::from_micros(5),
                state,
                size,
                tier: Tier::ALL[tier],
                durability: Durability::ALL[durability],
            };
            let label = |(key, value): (String, String)| Label { key: key.into(), value: value.into() };
            Payload {
                digest: digest.map(|byte| Digest::of(&[byte])),
                policy: Policy { priority, rederivable, ..Policy::default() },
                committed_at: committed.map(Timestamp::from_micros),
                ttl: ttl.map(Span::from_secs),
                metadata: Revision::from_u64(metadata),
                labels: labels.into_iter().map(label).collect(),
                replicas: replicas.into_iter().map(|(number, (state, charged, pin))| replica((number, state, charged, pin))).collect(),
                ..origin.first(id())
            }
        }
    }

    proptest! {
        #[test]
        fn the_fold_of_all_deltas_is_the_row(mut rows in vec(rows(), 1..8)) {
            let mut version = Version::FIRST;
            for row in &mut rows {
                row.version = version;
                version = version.next();
            }
            let befores = std::iter::once(None).chain(rows.iter().map(Some));
            let deltas: Vec<Delta> = befores.zip(&rows).map(|(before, after)| delta(before, after)).collect();
            let events = rows.iter().map(|row| row.version).zip(&deltas);
            let folded = fold(id(), events).unwrap();
            prop_assert_eq!(folded.as_ref(), rows.last());
        }
    }

    #[test]
    fn only_what_differs_is_in_a_delta() {
        let row = Origin {
            namespace: Namespace::default(),
            owner: Principal::uid(7),
            created_at: Timestamp::from_micros(5),
            state: State::Deleting,
            size: 3,
            tier: Tier::Ram,
            durability: Durability::Host,
        }
        .first(id());
        assert_eq!(delta(Some(&row), &row), Delta::default());
        let after = Payload { size: 4, ..row.clone() };
        assert_eq!(delta(Some(&row), &after), Delta(vec![Edit::Size(4)]));
        assert_eq!(delta(None, &row).0.len(), 1);
    }

    #[test]
    fn events_that_do_not_follow_each_other_are_no_row() {
        let nothing = Delta::default();
        let third = Version::from_u64(3);
        assert_eq!(fold(id(), []), Ok(None));
        for version in [Version::FIRST, third] {
            let error = fold(id(), [(version, &nothing)]).unwrap_err();
            assert_eq!((error.expected, error.version), (Version::FIRST, version));
        }
    }
}
