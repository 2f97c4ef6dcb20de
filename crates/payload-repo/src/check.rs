//! What every adapter asks of a change set before it looks at a row.

use payload_core::payload::Version;
use payload_core::{Change, ChangeSet, Durability, Error, Payload, Reason, Result};

/// Refuses a set that asks for more than the repository can promise, or that no decision can have made.
pub(crate) fn change_set(set: &ChangeSet, strongest: Durability) -> Result<()> {
    if set.durability > strongest {
        return Err(Error::invalid(
            Reason::PolicyContradiction,
            format!(
                "this repository keeps nothing {}; it promises at most {strongest}",
                set.durability
            ),
        )
        .field("durability"));
    }
    set.changes.iter().try_for_each(change)
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
