//! What every adapter asks of a change set before it looks at a row.

use payload_core::payload::Version;
use payload_core::quota::QuotaExceeded;
use payload_core::stream::StreamChange;
use payload_core::{
    Change, ChangeSet, Durability, Error, NameRefusal, Namespace, Payload, PayloadName, Reason, Result, Revision,
};

/// Refuses a set that asks for more than the repository can promise, or that no decision can have made.
pub(crate) fn change_set(set: &ChangeSet, strongest: Durability, carried_max: usize) -> Result<()> {
    if set.durability.min(Durability::Host) > strongest {
        return Err(Error::invalid(
            Reason::PolicyContradiction,
            format!(
                "this repository keeps nothing {}; it promises at most {strongest}",
                set.durability
            ),
        )
        .field("durability"));
    }
    let carried: usize = set.contents.iter().map(|carried| carried.content.len()).sum();
    if carried > carried_max || (carried > 0 && set.durability < Durability::Host) {
        return Err(Error::new(
            Reason::Internal,
            format!(
                "a {} change set carries {carried} bytes; {carried_max} are the most",
                set.durability
            ),
        ));
    }
    set.changes.iter().try_for_each(change)?;
    streams(&set.streams)
}

/// An outcome says where one batch is, and an empty one would be nowhere.
fn streams(changes: &[StreamChange]) -> Result<()> {
    let appends = changes.iter().filter_map(|change| match change {
        StreamChange::Append(append) => Some(append.entries.len()),
        _ => None,
    });
    let sizes: Vec<usize> = appends.collect();
    if sizes.len() > 1 || sizes.contains(&0) {
        return Err(Error::new(
            Reason::Internal,
            "a change set has one append at most, and an append has entries",
        ));
    }
    Ok(())
}

fn change(change: &Change) -> Result<()> {
    let after = &change.after;
    let version = change
        .before
        .as_ref()
        .map_or(Version::FIRST, |before| before.version.next());
    if after.version != version
        || change
            .before
            .as_ref()
            .is_some_and(|before| !same_payload(before, after))
    {
        return Err(Error::new(
            Reason::Internal,
            format!("a change must lead payload {} from one version to its next", after.id),
        ));
    }
    metadata(change)
}

/// A new revision comes with what it says, and follows the last; what it says comes with no other change.
fn metadata(change: &Change) -> Result<()> {
    let before = change.before.as_ref().and_then(|before| before.metadata);
    let wanted = match &change.metadata {
        Some(_) => Some(Revision::after(before)),
        None => before,
    };
    if change.after.metadata != wanted {
        return Err(Error::new(
            Reason::Internal,
            format!(
                "a change must lead the metadata of payload {} from one revision to its next",
                change.after.id
            ),
        ));
    }
    Ok(())
}

/// What a payload is for ever; rows are updated without it.
fn same_payload(before: &Payload, after: &Payload) -> bool {
    before.id == after.id
        && before.namespace == after.namespace
        && before.owner == after.owner
        && before.created_at == after.created_at
}

/// The answer to a write before any [`claim`](payload_core::port::Repository::claim).
pub(crate) fn unclaimed() -> Error {
    Error::new(Reason::Internal, "a node must be claimed before anything is written")
}

/// The answer to a write of a node that somebody else has claimed since.
pub(crate) fn fenced() -> Error {
    Error::new(
        Reason::Fenced,
        "another server has taken over this node; this one must stop",
    )
}

/// What the rows of a whole and healthy catalog do not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoNamespace(Namespace),
    NamespaceExists(Namespace),
    NamespaceInUse(Namespace),
    NamespaceChanged(Namespace),
    Quota(QuotaExceeded),
    Name(NameRefusal),
}

impl Refusal {
    /// The answer to the caller.
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::NoNamespace(name) => no_namespace(name),
            Self::NamespaceExists(name) => namespace_exists(name),
            Self::NamespaceInUse(name) => namespace_in_use(name),
            Self::NamespaceChanged(name) => namespace_changed(name),
            Self::Quota(exceeded) => exceeded.clone().into(),
            Self::Name(refusal) => refusal.clone().into(),
        }
    }
}

/// Comes after every character of a name.
pub(crate) const AFTER_NAMES: char = '~';

/// Where names with a prefix begin that come after one of them: no character of a name comes before a space.
pub(crate) fn names_start(prefix: &str, after: Option<&PayloadName>) -> String {
    let next = after.map_or_else(String::new, |after| format!("{after} "));
    next.max(prefix.to_owned())
}

/// The answer to whatever needs a namespace that is not there.
pub(crate) fn no_namespace(name: &Namespace) -> Error {
    Error::new(Reason::NamespaceNotFound, format!("there is no namespace {name}")).field("namespace")
}

/// The answer to a second creation.
pub(crate) fn namespace_exists(name: &Namespace) -> Error {
    Error::new(Reason::NamespaceExists, format!("there is a namespace {name} already")).field("namespace")
}

/// The answer to the removal of a namespace in which payloads live.
pub(crate) fn namespace_in_use(name: &Namespace) -> Error {
    Error::new(
        Reason::NamespaceInUse,
        format!("payloads in namespace {name} have not ended, or it has streams; delete or abort them first"),
    )
    .field("namespace")
}

/// Refuses the removal of the namespace that callers mean who name none.
pub(crate) fn removable(name: &Namespace) -> Result<()> {
    if *name == Namespace::default() {
        return Err(Error::new(Reason::NamespaceInUse, format!("namespace {name} is always there")).field("namespace"));
    }
    Ok(())
}

/// The answer to a change of a namespace that starts from another version than the current one.
pub(crate) fn namespace_changed(name: &Namespace) -> Error {
    Error::new(
        Reason::Conflict,
        format!("namespace {name} is not at the version that the change starts from"),
    )
    .field("namespace")
}
