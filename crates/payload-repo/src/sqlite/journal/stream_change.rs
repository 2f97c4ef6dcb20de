//! Changes of streams as bytes of an entry of the journal. Recovery decides them again, by the rows that they were decided
//! by, and so comes to the same offsets: an append says which, and is refused by other rows.

use payload_core::stream::{
    Append, Appended, EntryDraft, GroupJoin, GroupName, Offset, OffsetCommit, OffsetReset, ProducerBatch, ProducerName,
    StreamChange, StreamName, StreamRef, Tag,
};
use payload_core::{PayloadId, StreamId};

use crate::body::{Reader, put_maybe, put_number, put_text, put_time};

const APPEND: u8 = 1;
const COMMIT_OFFSET: u8 = 2;
const RESET_OFFSET: u8 = 3;
const JOIN: u8 = 4;

/// Whether a change is one for the journal: those that come with every batch are.
pub(super) fn fits(change: &StreamChange) -> bool {
    match change {
        StreamChange::Append(_)
        | StreamChange::CommitOffset(_)
        | StreamChange::ResetOffset(_)
        | StreamChange::Join(_)
        | StreamChange::Unheld(_) => true,
        StreamChange::Create { .. }
        | StreamChange::Update { .. }
        | StreamChange::Delete(_)
        | StreamChange::Trim(_)
        | StreamChange::Drop(_) => false,
    }
}

/// Whether it changes something about a stream, instead of asking.
pub(super) fn writes(change: &StreamChange) -> bool {
    !matches!(change, StreamChange::Unheld(_))
}

/// Those that change something. What only asked was answered when the entry was written.
pub(super) fn put_all(out: &mut Vec<u8>, changes: &[StreamChange], appended: Option<Appended>) {
    let written = || changes.iter().filter(|change| writes(change));
    put_number(out, written().count() as u64);
    written().for_each(|change| put(out, change, appended));
}

fn put(out: &mut Vec<u8>, change: &StreamChange, appended: Option<Appended>) {
    match change {
        StreamChange::Append(append) => {
            out.push(APPEND);
            put_append(out, append, appended);
        }
        StreamChange::CommitOffset(commit) => {
            out.push(COMMIT_OFFSET);
            put_stream(out, &commit.stream);
            put_text(out, commit.group.as_str());
            put_number(out, commit.offset.as_u64());
            put_maybe(out, commit.expected.as_ref(), put_offset);
            put_maybe(out, commit.generation.as_ref(), |out, number| put_number(out, *number));
            put_time(out, commit.at);
        }
        StreamChange::ResetOffset(reset) => {
            out.push(RESET_OFFSET);
            put_stream(out, &reset.stream);
            put_text(out, reset.group.as_str());
            put_number(out, reset.offset.as_u64());
            put_time(out, reset.at);
        }
        StreamChange::Join(join) => {
            out.push(JOIN);
            put_stream(out, &join.stream);
            put_text(out, join.group.as_str());
            put_number(out, join.start.as_u64());
            put_number(out, join.generation);
            put_time(out, join.at);
        }
        other => unreachable!("{other:?} goes to the tables"),
    }
}

fn put_append(out: &mut Vec<u8>, append: &Append, appended: Option<Appended>) {
    let decided = StreamRef {
        incarnation: appended.map(|place| place.stream).or(append.stream.incarnation),
        ..append.stream.clone()
    };
    let expected = appended.map(|place| place.first).or(append.expected);
    put_stream(out, &decided);
    put_number(out, append.entries.len() as u64);
    for draft in &append.entries {
        out.extend_from_slice(draft.payload.as_bytes());
        put_number(out, draft.tags.len() as u64);
        draft.tags.iter().for_each(|tag| put_text(out, tag.as_str()));
    }
    put_maybe(out, expected.as_ref(), put_offset);
    put_maybe(out, append.producer.as_ref(), |out, batch| {
        put_text(out, batch.name.as_str());
        put_number(out, batch.epoch);
        put_number(out, batch.sequence);
    });
    put_time(out, append.at);
}

fn put_stream(out: &mut Vec<u8>, stream: &StreamRef) {
    put_text(out, stream.namespace.as_str());
    put_text(out, stream.name.as_str());
    put_maybe(out, stream.incarnation.as_ref(), |out, id| {
        out.extend_from_slice(id.as_bytes());
    });
}

fn put_offset(out: &mut Vec<u8>, offset: &Offset) {
    put_number(out, offset.as_u64());
}

/// What [`put_all`] wrote.
pub(super) fn read_all(reader: &mut Reader<'_>) -> Option<Vec<StreamChange>> {
    let count = reader.number()?;
    (0..count).map(|_| read(reader)).collect()
}

fn read(reader: &mut Reader<'_>) -> Option<StreamChange> {
    Some(match reader.byte()? {
        APPEND => StreamChange::Append(append(reader)?),
        COMMIT_OFFSET => StreamChange::CommitOffset(OffsetCommit {
            stream: stream(reader)?,
            group: group(reader)?,
            offset: offset(reader)?,
            expected: reader.maybe(offset)?,
            generation: reader.maybe(Reader::number)?,
            at: reader.time()?,
        }),
        RESET_OFFSET => StreamChange::ResetOffset(OffsetReset {
            stream: stream(reader)?,
            group: group(reader)?,
            offset: offset(reader)?,
            at: reader.time()?,
        }),
        JOIN => StreamChange::Join(GroupJoin {
            stream: stream(reader)?,
            group: group(reader)?,
            start: offset(reader)?,
            generation: reader.number()?,
            at: reader.time()?,
        }),
        _ => return None,
    })
}

fn append(reader: &mut Reader<'_>) -> Option<Append> {
    let stream = stream(reader)?;
    let count = reader.number()?;
    Some(Append {
        stream,
        entries: (0..count).map(|_| draft(reader)).collect::<Option<_>>()?,
        expected: reader.maybe(offset)?,
        producer: reader.maybe(|reader| {
            Some(ProducerBatch {
                name: ProducerName::from_stored(reader.text()?),
                epoch: reader.number()?,
                sequence: reader.number()?,
            })
        })?,
        at: reader.time()?,
    })
}

fn draft(reader: &mut Reader<'_>) -> Option<EntryDraft> {
    let payload = PayloadId::from_bytes(reader.array()?)?;
    let count = reader.number()?;
    let tags = (0..count).map(|_| reader.text().map(Tag::from_stored));
    Some(EntryDraft {
        payload,
        tags: tags.collect::<Option<_>>()?,
    })
}

fn stream(reader: &mut Reader<'_>) -> Option<StreamRef> {
    Some(StreamRef {
        namespace: reader.text()?.parse().ok()?,
        name: StreamName::from_stored(reader.text()?),
        incarnation: match reader.maybe(|reader| reader.array())? {
            Some(id) => Some(StreamId::from_bytes(id)?),
            None => None,
        },
    })
}

fn group(reader: &mut Reader<'_>) -> Option<GroupName> {
    reader.text().map(GroupName::from_stored)
}

fn offset(reader: &mut Reader<'_>) -> Option<Offset> {
    reader.number().map(Offset::from_u64)
}

#[cfg(test)]
mod tests {
    use payload_core::stream::tags;
    use payload_core::{Namespace, Timestamp};
    use payload_testkit::repository::sample::Maker;

    use super::*;

    fn all(maker: &mut Maker) -> Vec<StreamChange> {
        let stream = |incarnation| StreamRef {
            namespace: Namespace::default(),
            name: "frames".parse().unwrap(),
            incarnation,
        };
        let group: GroupName = "readers".parse().unwrap();
        let (id, payload) = (maker.stream(), maker.allocated().id);
        let at = Timestamp::from_micros(-7);
        let draft = |words: &[&str]| EntryDraft {
            payload,
            tags: tags(words.iter().copied()).unwrap(),
        };
        vec![
            StreamChange::Append(Append {
                stream: stream(Some(id)),
                entries: vec![draft(&[]), draft(&["a", "b"])],
                expected: Some(Offset::from_u64(u64::MAX)),
                producer: Some(ProducerBatch {
                    name: "camera".parse().unwrap(),
                    epoch: u64::MAX,
                    sequence: 3,
                }),
                at,
            }),
            StreamChange::Append(Append {
                stream: stream(None),
                entries: vec![draft(&["a"])],
                expected: None,
                producer: None,
                at,
            }),
            StreamChange::CommitOffset(OffsetCommit {
                stream: stream(None),
                group: group.clone(),
                offset: Offset::from_u64(9),
                expected: Some(Offset::ZERO),
                generation: Some(4),
                at,
            }),
            StreamChange::ResetOffset(OffsetReset {
                stream: stream(Some(id)),
                group: group.clone(),
                offset: Offset::from_u64(300),
                at,
            }),
            StreamChange::Join(GroupJoin {
                stream: stream(None),
                group,
                start: Offset::from_u64(1),
                generation: 2,
                at,
            }),
        ]
    }

    #[test]
    fn changes_come_back_and_torn_ones_do_not() {
        let mut maker = Maker::new(73);
        let changes = all(&mut maker);
        let mut bytes = Vec::new();
        put_all(&mut bytes, &changes, None);
        assert_eq!(read_all(&mut Reader::new(&bytes)), Some(changes));
        for end in 0..bytes.len() {
            assert_eq!(read_all(&mut Reader::new(&bytes[..end])), None);
        }
    }

    #[test]
    fn a_question_is_not_written() {
        let mut maker = Maker::new(74);
        let asks = StreamChange::Unheld(maker.allocated().id);
        assert!(fits(&asks) && !writes(&asks));
        let mut bytes = Vec::new();
        put_all(&mut bytes, &[asks], None);
        assert_eq!(read_all(&mut Reader::new(&bytes)), Some(Vec::new()));
    }
}
