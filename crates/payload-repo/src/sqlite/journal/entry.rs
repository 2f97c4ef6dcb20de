//! A change set as an entry of the journal: what it changes, by the deltas that its events keep.
//!
//! The first byte is the version of this form. Words are kept as text, as in the tables; the rest is as in an event's
//! body. Contents come first, because they can be put back without knowing the rows.

use std::sync::Arc;

use bytes::Bytes;
use payload_core::stream::Appended;
use payload_core::{
    Actor, Carried, Change, ChangeSet, Digest, Durability, EventKind, EventRecord, Operation, Payload, PayloadId,
    Principal, RequestRecord, StateKind, Version, delta,
};

use super::super::fault::Fault;
use super::stream_change;
use crate::body::{self, Body, Reader, put_bytes, put_location, put_maybe, put_number, put_text, put_time};

/// The version of the form that is written.
const FORM: u8 = 3;

/// Whether a set only leads payloads from version to version and appends to streams, and what comes with that. Whatever
/// depends on other rows besides (a name, an edge, the absence of dependents) is decided by the tables, and what metadata says
/// is kept there alone. What happens to streams waits for the disk: readers see a stream as far as it is there.
pub(super) fn fits(set: &ChangeSet) -> bool {
    let ChangeSet {
        changes,
        edges,
        without_dependents,
        name,
        streams,
        request: _,
        over_quota: _,
        contents: _,
        durability,
    } = set;
    (!changes.is_empty() || !streams.is_empty())
        && changes.iter().all(|change| change.metadata.is_none())
        && edges.is_empty()
        && without_dependents.is_none()
        && name.is_none()
        && streams.iter().all(stream_change::fits)
        && (*durability >= Durability::Host || !streams.iter().any(stream_change::writes))
}

/// The bytes of a set that fits, with where its entries of a stream are.
pub(super) fn encode(set: &ChangeSet, appended: Option<Appended>) -> Vec<u8> {
    let carried: usize = set.contents.iter().map(|carried| carried.content.len()).sum();
    let mut out = Vec::with_capacity(512 + carried);
    out.push(FORM);
    out.push(u8::from(set.durability >= Durability::Host));
    put_number(&mut out, set.contents.len() as u64);
    for carried in &set.contents {
        out.extend_from_slice(carried.payload.as_bytes());
        put_location(&mut out, &carried.location);
        put_bytes(&mut out, &carried.content);
    }
    put_maybe(&mut out, set.request.as_ref(), put_request);
    put_number(&mut out, set.changes.len() as u64);
    for change in &set.changes {
        put_change(&mut out, change);
    }
    stream_change::put_all(&mut out, &set.streams, appended);
    out
}

/// Whether the set in the bytes promises to outlive the host.
pub(in crate::sqlite) fn promises_host(bytes: &[u8]) -> bool {
    bytes.get(1) == Some(&1)
}

/// What the set in the bytes carries.
pub(in crate::sqlite) fn contents(bytes: &[u8]) -> Result<Vec<Carried>, Fault> {
    let mut reader = Reader::new(bytes);
    begin(&mut reader).ok_or_else(unreadable)
}

/// The set in the bytes, without what it carries; `None` if it does not continue the rows. `current` gives the row that a change starts from.
pub(in crate::sqlite) fn decode(
    bytes: &[u8],
    current: impl Fn(PayloadId) -> Result<Option<Payload>, Fault>,
) -> Result<Option<ChangeSet>, Fault> {
    let mut reader = Reader::new(bytes);
    let head = head(&mut reader).ok_or_else(unreadable)?;
    let (request, count) = head;
    let mut changes: Vec<Change> = Vec::new();
    for _ in 0..count {
        let step = step(&mut reader).ok_or_else(unreadable)?;
        let earlier = changes.iter().rev().find(|change| change.after.id == step.id);
        let before = match earlier {
            Some(change) => Some(Arc::clone(&change.after)),
            None => current(step.id)?.map(Arc::new),
        };
        let mut row = before.as_deref().cloned();
        if delta::apply(&mut row, step.id, step.version, &step.delta).is_err() {
            return Ok(None);
        }
        changes.push(Change {
            before,
            after: Arc::new(row.ok_or_else(unreadable)?),
            event: step.event,
            metadata: None,
        });
    }
    let streams = stream_change::read_all(&mut reader).ok_or_else(unreadable)?;
    Ok(Some(ChangeSet {
        streams,
        request,
        ..ChangeSet::new(changes, Durability::Host)
    }))
}

struct Step {
    id: PayloadId,
    version: Version,
    event: EventRecord,
    delta: delta::Delta,
}

fn unreadable() -> Fault {
    Fault::bad_row("an entry of the journal")
}

fn put_request(out: &mut Vec<u8>, request: &RequestRecord) {
    put_text(out, request.principal.as_str());
    put_text(out, request.request_id.as_str());
    out.extend_from_slice(request.fingerprint.as_bytes());
    put_text(out, request.operation.as_str());
    out.extend_from_slice(request.payload.as_bytes());
    put_number(out, request.version.as_u64());
    put_time(out, request.at);
}

fn put_change(out: &mut Vec<u8>, change: &Change) {
    let event = &change.event;
    out.extend_from_slice(change.after.id.as_bytes());
    put_number(out, change.after.version.as_u64());
    put_text(out, event.kind.as_str());
    put_text(out, event.actor.as_str());
    put_maybe(out, event.reason.as_ref(), |out, reason| put_text(out, reason));
    put_time(out, event.at);
    put_maybe(out, event.from.as_ref(), |out, state| put_text(out, state.as_str()));
    put_text(out, event.to.as_str());
    let delta = delta::delta(change.before.as_deref(), &change.after);
    put_bytes(out, &body::encode(&delta, event.note.as_deref()));
}

fn begin(reader: &mut Reader<'_>) -> Option<Vec<Carried>> {
    (reader.byte()? == FORM).then_some(())?;
    (reader.byte()? <= 1).then_some(())?;
    let count = reader.number()?;
    (0..count).map(|_| carried(reader)).collect()
}

fn carried(reader: &mut Reader<'_>) -> Option<Carried> {
    Some(Carried {
        payload: PayloadId::from_bytes(reader.array()?)?,
        location: body::location(reader)?,
        content: Bytes::copy_from_slice(reader.bytes()?),
    })
}

fn head(reader: &mut Reader<'_>) -> Option<(Option<RequestRecord>, u64)> {
    begin(reader)?;
    Some((reader.maybe(request)?, reader.number()?))
}

fn request(reader: &mut Reader<'_>) -> Option<RequestRecord> {
    Some(RequestRecord {
        principal: Principal::from_stored(reader.text()?),
        request_id: reader.text()?.parse().ok()?,
        fingerprint: Digest::from_bytes(reader.array()?),
        operation: one_of(&Operation::ALL, Operation::as_str, reader.text()?)?,
        payload: PayloadId::from_bytes(reader.array()?)?,
        version: Version::from_u64(reader.number()?),
        appended: None,
        at: reader.time()?,
    })
}

fn step(reader: &mut Reader<'_>) -> Option<Step> {
    let (id, version) = (
        PayloadId::from_bytes(reader.array()?)?,
        Version::from_u64(reader.number()?),
    );
    let event = EventRecord {
        kind: one_of(&EventKind::ALL, EventKind::as_str, reader.text()?)?,
        actor: Actor::from_stored(reader.text()?),
        reason: reader.maybe(Reader::text)?.map(Into::into),
        at: reader.time()?,
        from: reader.maybe(|reader| state(reader))?,
        to: state(reader)?,
        note: None,
    };
    let Body { delta, note } = body::decode(reader.bytes()?)?;
    Some(Step {
        id,
        version,
        event: EventRecord { note, ..event },
        delta,
    })
}

fn state(reader: &mut Reader<'_>) -> Option<StateKind> {
    one_of(&StateKind::ALL, StateKind::as_str, reader.text()?)
}

fn one_of<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, text: &str) -> Option<T> {
    all.iter().copied().find(|word| name(*word) == text)
}

#[cfg(test)]
mod tests {
    use payload_testkit::repository::sample::{Maker, changed, created, edited, in_order, set};

    use super::*;

    #[test]
    fn a_set_comes_back() {
        let mut maker = Maker::new(71);
        let first = in_order(&maker.full());
        let known = in_order(&maker.full());
        let sets = [
            set([created(&first)]),
            // One payload twice, and one that the tables know.
            set([
                created(&first),
                changed(&first, &edited(&first, |after| after.size += 1)),
                changed(&known, &edited(&known, |after| after.labels.clear())),
            ]),
            // What an application says.
            {
                let mut noted = changed(&known, &edited(&known, |_| ()));
                noted.event.note = Some(maker.note(300));
                set([noted])
            },
            ChangeSet {
                request: Some(maker.request(&first)),
                ..set([created(&first)])
            },
        ];
        for set in sets {
            assert!(fits(&set));
            let bytes = encode(&set, None);
            let back = decode(&bytes, |id| Ok((id == known.id).then(|| known.clone())))
                .unwrap()
                .unwrap();
            assert_eq!(back.request, set.request);
            assert_eq!(back.changes.len(), set.changes.len());
            for (back, change) in back.changes.iter().zip(&set.changes) {
                assert_eq!((&back.after, &back.event), (&change.after, &change.event));
                assert_eq!(back.before, change.before);
            }
            for end in 0..bytes.len() {
                let torn = decode(&bytes[..end], |id| Ok((id == known.id).then(|| known.clone())));
                assert!(torn.is_err());
            }
        }
    }

    #[test]
    fn a_change_of_another_version_is_no_continuation() {
        let mut maker = Maker::new(72);
        let first = in_order(&maker.full());
        let second = edited(&first, |after| after.size += 1);
        let bytes = encode(&set([changed(&first, &second)]), None);
        for current in [None, Some(second)] {
            assert!(decode(&bytes, |_| Ok(current.clone())).unwrap().is_none());
        }
    }
}
