//! Policies as bytes: what most have in one form, where or for how long a payload stays at least in another, and what is written
//! behind in a third.

use payload_core::Policy;

use super::reader::Reader;
use super::word::Word;
use super::{put_maybe, put_span, span};

/// Whether the policy needs the longer form.
pub(super) const fn is_resident(policy: &Policy) -> bool {
    policy.min_tier.is_some() || policy.min_residency.is_some()
}

pub(super) fn put(out: &mut Vec<u8>, policy: &Policy) {
    out.extend([
        policy.priority.code(),
        policy.spill_to.code(),
        policy.rederivable.into(),
    ]);
}

pub(super) fn put_resident(out: &mut Vec<u8>, policy: &Policy) {
    put(out, policy);
    put_maybe(out, policy.min_tier.as_ref(), |out, tier| out.push(tier.code()));
    put_maybe(out, policy.min_residency.as_ref(), put_span);
}

pub(super) fn put_behind(out: &mut Vec<u8>, policy: &Policy) {
    put_resident(out, policy);
    put_maybe(out, policy.write_behind.as_ref(), |out, soon| out.push(soon.code()));
}

pub(super) fn read(reader: &mut Reader<'_>) -> Option<Policy> {
    Some(Policy {
        priority: Word::read(reader)?,
        spill_to: Word::read(reader)?,
        rederivable: reader.flag()?,
        min_tier: None,
        min_residency: None,
        write_behind: None,
    })
}

pub(super) fn read_resident(reader: &mut Reader<'_>) -> Option<Policy> {
    let shorter = read(reader)?;
    Some(Policy {
        min_tier: reader.maybe(Word::read)?,
        min_residency: reader.maybe(span)?,
        ..shorter
    })
}

pub(super) fn read_behind(reader: &mut Reader<'_>) -> Option<Policy> {
    let shorter = read_resident(reader)?;
    Some(Policy {
        write_behind: reader.maybe(Word::read)?,
        ..shorter
    })
}
