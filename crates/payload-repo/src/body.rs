//! What an event changed, as the bytes that every engine keeps: compact, versioned, never queried.
//!
//! The first byte is the version of this form. After it come edits, each a tag and its values: numbers are LEB128,
//! signed ones zigzag, texts have their length in front, ids are 16 bytes. A tag or a word never gets another meaning.

mod policy;
mod reader;
mod word;

use std::sync::Arc;

use payload_core::delta::Origin;
use payload_core::{
    ContentType, Delta, Document, Edit, EventType, Label, Location, Note, Pin, Replica, Span, State, Timestamp,
};

pub(crate) use reader::Reader;
use word::Word;

/// The version of the form that is written.
const FORM: u8 = 1;

const CREATED: u8 = 1;
const STATE: u8 = 2;
const SIZE: u8 = 3;
const DIGEST: u8 = 4;
const TIER: u8 = 5;
const DURABILITY: u8 = 6;
const COMMITTED_AT: u8 = 7;
const TTL: u8 = 8;
const LABEL: u8 = 9;
const UNLABELLED: u8 = 10;
const REPLICA: u8 = 11;
const REPLICA_GONE: u8 = 12;
const POLICY: u8 = 13;
const METADATA: u8 = 14;
/// A replica with a pin.
const PINNED: u8 = 15;
/// A policy that says where or for how long the payload stays at least.
const POLICY_RESIDENT: u8 = 16;
/// A policy that says what comes after the commit.
const POLICY_BEHIND: u8 = 17;
const NOTE: u8 = 64;

/// What an event has to say beyond its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) delta: Delta,
    pub(crate) note: Option<Arc<Note>>,
}

/// The bytes of a body.
pub(crate) fn encode(delta: &Delta, note: Option<&Note>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.push(FORM);
    for edit in &delta.0 {
        put_edit(&mut out, edit);
    }
    if let Some(note) = note {
        out.push(NOTE);
        put_text(&mut out, note.event_type.as_str());
        put_text(&mut out, note.document.content_type.as_str());
        put_bytes(&mut out, &note.document.body);
    }
    out
}

/// What the bytes say; `None` if this version of the server cannot have written them.
pub(crate) fn decode(bytes: &[u8]) -> Option<Body> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != FORM {
        return None;
    }
    let mut body = Body {
        delta: Delta::default(),
        note: None,
    };
    while let Some(tag) = reader.byte() {
        match tag {
            NOTE => body.note = Some(Arc::new(note(&mut reader)?)),
            tag => body.delta.0.push(edit(tag, &mut reader)?),
        }
    }
    Some(body)
}

fn note(reader: &mut Reader<'_>) -> Option<Note> {
    Some(Note {
        event_type: EventType::from_stored(reader.text()?),
        document: Document {
            content_type: ContentType::from_stored(reader.text()?),
            body: bytes::Bytes::copy_from_slice(reader.bytes()?),
        },
    })
}

fn put_edit(out: &mut Vec<u8>, edit: &Edit) {
    match edit {
        Edit::Created(origin) => {
            out.push(CREATED);
            put_text(out, origin.namespace.as_str());
            put_text(out, origin.owner.as_str());
            put_time(out, origin.created_at);
            put_state(out, &origin.state);
            put_number(out, origin.size);
            out.push(origin.tier.code());
            out.push(origin.durability.code());
        }
        Edit::State(state) => {
            out.push(STATE);
            put_state(out, state);
        }
        Edit::Size(size) => {
            out.push(SIZE);
            put_number(out, *size);
        }
        Edit::Digest(digest) => {
            out.push(DIGEST);
            put_maybe(out, digest.as_ref(), |out, digest| {
                out.extend_from_slice(digest.as_bytes());
            });
        }
        Edit::Tier(tier) => out.extend([TIER, tier.code()]),
        Edit::Durability(durability) => out.extend([DURABILITY, durability.code()]),
        Edit::Policy(policy) if policy.write_behind.is_some() => {
            out.push(POLICY_BEHIND);
            policy::put_behind(out, policy);
        }
        Edit::Policy(policy) if policy::is_resident(policy) => {
            out.push(POLICY_RESIDENT);
            policy::put_resident(out, policy);
        }
        Edit::Policy(policy) => {
            out.push(POLICY);
            policy::put(out, policy);
        }
        Edit::CommittedAt(at) => {
            out.push(COMMITTED_AT);
            put_maybe(out, at.as_ref(), |out, at| put_time(out, *at));
        }
        Edit::Ttl(ttl) => {
            out.push(TTL);
            put_maybe(out, ttl.as_ref(), put_span);
        }
        Edit::Metadata(revision) => {
            out.push(METADATA);
            put_number(out, revision.map_or(0, payload_core::Revision::as_u64));
        }
        Edit::Label(label) => {
            out.push(LABEL);
            put_text(out, &label.key);
            put_text(out, &label.value);
        }
        Edit::Unlabelled(key) => {
            out.push(UNLABELLED);
            put_text(out, key);
        }
        Edit::Replica(replica) => {
            out.push(if replica.pin.is_some() { PINNED } else { REPLICA });
            put_replica(out, replica);
            if let Some(pin) = replica.pin {
                put_time(out, Timestamp::from_micros(pin.as_micros()));
            }
        }
        Edit::ReplicaGone(id) => {
            out.push(REPLICA_GONE);
            out.extend_from_slice(id.as_bytes());
        }
    }
}

fn edit(tag: u8, reader: &mut Reader<'_>) -> Option<Edit> {
    Some(match tag {
        CREATED => Edit::Created(Origin {
            namespace: reader.text()?.parse().ok()?,
            owner: payload_core::Principal::from_stored(reader.text()?),
            created_at: reader.time()?,
            state: state(reader)?,
            size: reader.number()?,
            tier: Word::read(reader)?,
            durability: Word::read(reader)?,
        }),
        STATE => Edit::State(state(reader)?),
        SIZE => Edit::Size(reader.number()?),
        DIGEST => Edit::Digest(reader.maybe(|reader| reader.array().map(payload_core::Digest::from_bytes))?),
        TIER => Edit::Tier(Word::read(reader)?),
        DURABILITY => Edit::Durability(Word::read(reader)?),
        POLICY => Edit::Policy(policy::read(reader)?),
        POLICY_BEHIND => Edit::Policy(policy::read_behind(reader)?),
        POLICY_RESIDENT => Edit::Policy(policy::read_resident(reader)?),
        COMMITTED_AT => Edit::CommittedAt(reader.maybe(Reader::time)?),
        TTL => Edit::Ttl(reader.maybe(span)?),
        LABEL => Edit::Label(Label {
            key: reader.text()?.into(),
            value: reader.text()?.into(),
        }),
        UNLABELLED => Edit::Unlabelled(reader.text()?.into()),
        REPLICA => Edit::Replica(replica(reader)?),
        PINNED => {
            let mut pinned = replica(reader)?;
            pinned.pin = Some(Pin::from_micros(reader.time()?.as_micros()));
            Edit::Replica(pinned)
        }
        METADATA => Edit::Metadata(payload_core::Revision::from_u64(reader.number()?)),
        REPLICA_GONE => Edit::ReplicaGone(payload_core::ReplicaId::from_bytes(reader.array()?)?),
        _ => return None,
    })
}

pub(crate) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_time(out: &mut Vec<u8>, at: Timestamp) {
    let micros = at.as_micros();
    put_number(out, ((micros << 1) ^ (micros >> 63)) as u64);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_maybe<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_span(out: &mut Vec<u8>, span: &Span) {
    put_number(out, span.as_secs());
    put_number(out, span.subsec_nanos().into());
}

fn span(reader: &mut Reader<'_>) -> Option<Span> {
    let (secs, nanos) = (reader.number()?, u32::try_from(reader.number()?).ok()?);
    (nanos < 1_000_000_000).then(|| Span::new(secs, nanos))
}

/// A state as its kind and its deadline.
fn put_state(out: &mut Vec<u8>, state: &State) {
    out.push(state.kind().code());
    put_maybe(out, state.deadline().as_ref(), |out, at| put_time(out, *at));
}

fn state(reader: &mut Reader<'_>) -> Option<State> {
    let kind = Word::read(reader)?;
    State::from_parts(kind, reader.maybe(Reader::time)?)
}

fn put_replica(out: &mut Vec<u8>, replica: &Replica) {
    out.extend_from_slice(replica.id.as_bytes());
    out.extend_from_slice(replica.node.as_bytes());
    out.push(replica.state.code());
    put_number(out, replica.charged);
    put_location(out, &replica.location);
}

pub(crate) fn put_location(out: &mut Vec<u8>, location: &Location) {
    out.push(word::place(location));
    out.extend_from_slice(location.container().as_bytes());
    put_number(out, location.offset());
}

fn replica(reader: &mut Reader<'_>) -> Option<Replica> {
    Some(Replica {
        id: payload_core::ReplicaId::from_bytes(reader.array()?)?,
        node: payload_core::NodeId::from_bytes(reader.array()?)?,
        state: Word::read(reader)?,
        charged: reader.number()?,
        location: location(reader)?,
        pin: None,
    })
}

pub(crate) fn location(reader: &mut Reader<'_>) -> Option<Location> {
    let (place, container, offset) = (reader.byte()?, reader.array()?, reader.number()?);
    word::location(place, container, offset)
}

#[cfg(test)]
mod tests {
    use payload_core::delta::delta;
    use payload_core::{Payload, ReplicaState, Version};
    use payload_testkit::repository::sample::{Maker, at, edited, in_order};

    use super::*;

    fn both_ways(before: Option<&Payload>, after: &Payload) -> Vec<u8> {
        let delta = delta(before, after);
        let bytes = encode(&delta, None);
        assert_eq!(decode(&bytes), Some(Body { delta, note: None }));
        bytes
    }

    #[test]
    fn every_edit_comes_back() {
        let mut maker = Maker::new(61);
        let (full, plain) = (in_order(&maker.full()), maker.allocated());
        both_ways(None, &full);
        both_ways(None, &plain);
        let other = Payload {
            id: plain.id,
            version: plain.version.next(),
            ..full.clone()
        };
        both_ways(Some(&plain), &other);
        both_ways(
            Some(&other),
            &Payload {
                version: Version::from_u64(3),
                ..plain.clone()
            },
        );
        both_ways(Some(&full), &edited(&full, |_| ()));
        let stage = Location::Stage {
            stage: maker.segment(),
            offset: u64::MAX,
        };
        let staged = edited(&plain, |after| {
            after.replicas = vec![maker.replica(ReplicaState::Copying, stage, u64::MAX)];
            after.state = State::Active {
                expires_at: Some(Timestamp::from_micros(i64::MIN)),
            };
            after.committed_at = Some(at(-1));
        });
        both_ways(Some(&plain), &staged);
    }

    #[test]
    fn a_note_comes_back_whatever_its_bytes() {
        let body: Vec<u8> = (0..=u8::MAX)
            .cycle()
            .take(payload_core::limits::DOCUMENT_SIZE_MAX)
            .collect();
        let note = Arc::new(Note {
            event_type: "app/x".parse().unwrap(),
            document: Document::new(ContentType::json(), body.into()).unwrap(),
        });
        let bytes = encode(&Delta::default(), Some(&note));
        let delta = Delta::default();
        assert_eq!(
            decode(&bytes),
            Some(Body {
                delta,
                note: Some(note)
            })
        );
    }

    /// The words are part of what is kept: they may be added to, not changed.
    #[test]
    fn every_state_has_a_code_of_its_own() {
        for kind in payload_core::StateKind::ALL {
            let mut reader = Reader::new(&[0; 0]);
            assert_eq!(payload_core::StateKind::read(&mut reader), None);
            let code = [kind.code()];
            assert_eq!(Word::read(&mut Reader::new(&code)), Some(kind));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let bytes = both_ways(None, &Maker::new(62).full());
        let whole: Vec<usize> = (0..bytes.len())
            .filter(|end| decode(&bytes[..*end]).is_some())
            .collect();
        // A body may end after any edit, and nowhere else.
        assert!(whole.len() < 14, "{whole:?}");
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0xff;
            // Whatever comes out of it, reading ends.
            let _ = decode(&damaged);
        }
        for bad in [
            &[][..],
            &[2],
            &[1, 99],
            &[1, SIZE],
            &[1, SIZE, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
