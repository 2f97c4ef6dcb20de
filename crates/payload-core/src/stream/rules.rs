//! What happens to streams inside a transaction: one set of rules for every repository, over the rows of any of them.
//!
//! A repository calls [`apply`] after it has made a set's payload changes, inside the same transaction, and undoes all
//! of it on a refusal. Nothing here knows how rows are kept; a row that was put is what is read from then on.

use super::{
    Append, Appended, Entry, Group, GroupJoin, GroupName, Hold, Offset, OffsetCommit, OffsetReset, PastBatch, Producer,
    ProducerBatch, ProducerName, Stream, StreamChange, StreamName, StreamRef, StreamRefusal, Trim,
};
use crate::id::{PayloadId, StreamId};
use crate::lifecycle::State;
use crate::limits;
use crate::name::Namespace;
use crate::payload::Version;
use crate::time::Timestamp;

/// The rows that streams consist of, inside one transaction.
pub trait StreamRows {
    /// What goes wrong with them.
    type Fault;

    /// Whether there is such a namespace.
    fn has_namespace(&mut self, name: &Namespace) -> Result<bool, Self::Fault>;
    /// The stream that has the name now.
    fn stream_named(&mut self, namespace: &Namespace, name: &StreamName) -> Result<Option<Stream>, Self::Fault>;
    /// A stream, deleted or not.
    fn stream(&mut self, id: StreamId) -> Result<Option<Stream>, Self::Fault>;
    /// Writes a stream that is new or was read before.
    fn put_stream(&mut self, stream: &Stream) -> Result<(), Self::Fault>;
    /// Removes a stream with its groups and producers. Its entries are gone already.
    fn remove_stream(&mut self, id: StreamId) -> Result<(), Self::Fault>;
    /// Adds to the number of a namespace's streams, and returns it.
    fn add_streams(&mut self, namespace: &Namespace, change: i64) -> Result<u64, Self::Fault>;

    /// What an entry needs to know of its payload.
    fn payload(&mut self, id: PayloadId) -> Result<Option<PayloadSeen>, Self::Fault>;
    /// Adds to the number of entries that hold a payload.
    fn add_holds(&mut self, id: PayloadId, change: i64) -> Result<(), Self::Fault>;

    /// Writes an entry at a place where there is none.
    fn put_entry(&mut self, stream: StreamId, entry: &Entry) -> Result<(), Self::Fault>;
    /// The entries from `from` on and before `until`.
    fn entries(&mut self, stream: StreamId, from: Offset, until: Offset) -> Result<Vec<Entry>, Self::Fault>;
    /// Removes the entries before `until`.
    fn remove_entries(&mut self, stream: StreamId, until: Offset) -> Result<(), Self::Fault>;

    /// One group.
    fn group(&mut self, stream: StreamId, name: &GroupName) -> Result<Option<Group>, Self::Fault>;
    /// Writes a group, new or not.
    fn put_group(&mut self, stream: StreamId, group: &Group) -> Result<(), Self::Fault>;

    /// One producer.
    fn producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>, Self::Fault>;
    /// Writes a producer, new or not.
    fn put_producer(&mut self, stream: StreamId, producer: &Producer) -> Result<(), Self::Fault>;
    /// All producers of a stream; there are [`limits::STREAM_PRODUCERS_MAX`] at most.
    fn producers(&mut self, stream: StreamId) -> Result<Vec<Producer>, Self::Fault>;
    /// Forgets a producer.
    fn remove_producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<(), Self::Fault>;
}

/// What an entry needs to know of its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadSeen {
    /// Whose it is.
    pub namespace: Namespace,
    /// Where it is in its life.
    pub state: State,
    /// Bytes.
    pub size: u64,
    /// How many entries hold it.
    pub holds: u64,
}

/// Why [`apply`] did not get to its end.
#[derive(Debug)]
pub enum Stop<F> {
    /// The rules do not allow it.
    Refused(StreamRefusal),
    /// The rows could not be read or written.
    Fault(F),
}

impl<F> From<F> for Stop<F> {
    fn from(fault: F) -> Self {
        Self::Fault(fault)
    }
}

type Outcome<T, R> = Result<T, Stop<<R as StreamRows>::Fault>>;

/// Makes changes true, in order; gives where the appended entries are, if there are some.
pub fn apply<R: StreamRows>(rows: &mut R, changes: &[StreamChange]) -> Outcome<Option<Appended>, R> {
    let (mut appended, mut repeat) = (None, Repeat::Harmless);
    for change in changes {
        match change {
            StreamChange::Create {
                id,
                namespace,
                name,
                settings,
                at,
            } => {
                if !rows.has_namespace(namespace)? {
                    return refuse(StreamRefusal::NoNamespace(namespace.clone()));
                }
                if rows.stream_named(namespace, name)?.is_some() {
                    return refuse(StreamRefusal::Exists);
                }
                if rows.add_streams(namespace, 1)? > limits::STREAMS_MAX {
                    return refuse(StreamRefusal::TooManyStreams);
                }
                rows.put_stream(&Stream {
                    settings: *settings,
                    ..empty(*id, namespace, name, *at)
                })?;
            }
            StreamChange::Update {
                stream,
                version,
                settings,
            } => {
                let mut row = find(rows, stream)?;
                if row.version != *version {
                    return refuse(StreamRefusal::Changed);
                }
                row.version = version.next();
                row.settings = *settings;
                rows.put_stream(&row)?;
            }
            StreamChange::Delete(stream) => {
                let mut row = find(rows, stream)?;
                row.ended = true;
                rows.add_streams(&row.namespace, -1)?;
                rows.put_stream(&row)?;
            }
            StreamChange::Append(append) => {
                let place = append_entries(rows, append)?;
                appended = Some(place.0);
                repeat = place.1;
            }
            StreamChange::CommitOffset(commit) => commit_offset(rows, commit, repeat)?,
            StreamChange::ResetOffset(reset) => reset_offset(rows, reset)?,
            StreamChange::Join(join) => take_over(rows, join)?,
            StreamChange::Trim(cut) => trim(rows, *cut)?,
            StreamChange::Drop(id) => {
                if let Some(row) = rows.stream(*id)?
                    && row.ended
                    && row.earliest == row.head
                {
                    rows.remove_stream(*id)?;
                }
            }
            StreamChange::Unheld(id) => {
                if rows.payload(*id)?.is_some_and(|payload| payload.holds > 0) {
                    return refuse(StreamRefusal::PayloadHeld(*id));
                }
            }
        }
    }
    Ok(appended)
}

fn refuse<T, F>(refusal: StreamRefusal) -> Result<T, Stop<F>> {
    Err(Stop::Refused(refusal))
}

fn empty(id: StreamId, namespace: &Namespace, name: &StreamName, at: Timestamp) -> Stream {
    Stream {
        id,
        namespace: namespace.clone(),
        name: name.clone(),
        settings: super::StreamSettings::default(),
        version: Version::FIRST,
        created_at: at,
        ended: false,
        earliest: Offset::ZERO,
        head: Offset::ZERO,
        last_at: at,
        bytes: 0,
        bytes_trimmed: 0,
        groups: 0,
        producers: 0,
    }
}

fn find<R: StreamRows>(rows: &mut R, stream: &StreamRef) -> Outcome<Stream, R> {
    let Some(row) = rows.stream_named(&stream.namespace, &stream.name)? else {
        return refuse(StreamRefusal::NotFound);
    };
    if stream.incarnation.is_some_and(|incarnation| incarnation != row.id) {
        return refuse(StreamRefusal::Replaced);
    }
    Ok(row)
}

/// Whether a group may be moved to where it is already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It makes no difference.
    Harmless,
    /// Entries are appended with it, which were appended before with whatever moved the group there.
    Doubles,
}

fn append_entries<R: StreamRows>(rows: &mut R, append: &Append) -> Outcome<(Appended, Repeat), R> {
    let mut row = find(rows, &append.stream)?;
    let count = append.entries.len() as u64;
    if count > u64::from(row.settings.batch_max) {
        return refuse(StreamRefusal::BatchTooLarge(row.settings.batch_max));
    }
    let first = row.head;
    if let Some(batch) = &append.producer {
        match check_sequence(rows.producer(row.id, &batch.name)?, batch, append)? {
            Sequence::Again(first) => return Ok((Appended { stream: row.id, first }, Repeat::Harmless)),
            Sequence::Next(known) => note_batch(rows, &mut row, known, batch, append)?,
        }
    }
    if append.expected.is_some_and(|expected| expected != first) {
        return refuse(StreamRefusal::OffsetUnexpected(first));
    }

    row.last_at = row.last_at.max(append.at);
    let held = row.settings.hold == Hold::Payload;
    for draft in &append.entries {
        let size = appendable(rows, &row, draft.payload, append.at)?;
        row.bytes = row.bytes.saturating_add(size);
        rows.put_entry(
            row.id,
            &Entry {
                offset: row.head,
                payload: draft.payload,
                size,
                bytes_through: row.bytes,
                at: row.last_at,
                tags: draft.tags.clone(),
                held,
            },
        )?;
        if held {
            rows.add_holds(draft.payload, 1)?;
        }
        row.head = row.head.plus(1);
    }
    rows.put_stream(&row)?;
    Ok((Appended { stream: row.id, first }, Repeat::Doubles))
}

/// The size of a payload that an entry may refer to. One that is past its time may be held, and then it lives.
fn appendable<R: StreamRows>(rows: &mut R, stream: &Stream, id: PayloadId, at: Timestamp) -> Outcome<u64, R> {
    let payload = rows
        .payload(id)?
        .filter(|payload| payload.namespace == stream.namespace);
    let Some(payload) = payload else {
        return refuse(StreamRefusal::PayloadNotFound(id));
    };
    match payload.state {
        State::Allocated { .. } => refuse(StreamRefusal::PayloadNotCommitted(id)),
        State::Active { expires_at: Some(end) } if end <= at && payload.holds == 0 => {
            refuse(StreamRefusal::PayloadEnded(id))
        }
        State::Active { .. } => Ok(payload.size),
        _ => refuse(StreamRefusal::PayloadEnded(id)),
    }
}

/// What a producer's numbers say about a batch.
enum Sequence {
    /// It was appended before, there.
    Again(Offset),
    /// It is the next one, or the first of a producer or of a new life.
    Next(Option<Producer>),
}

fn check_sequence<F>(known: Option<Producer>, batch: &ProducerBatch, append: &Append) -> Result<Sequence, Stop<F>> {
    let Some(producer) = known else {
        return Ok(Sequence::Next(None));
    };
    if batch.epoch < producer.epoch {
        return refuse(StreamRefusal::ProducerFenced(producer.epoch));
    }
    if batch.epoch > producer.epoch || batch.sequence == producer.next_sequence {
        return Ok(Sequence::Next(Some(producer)));
    }
    if batch.sequence > producer.next_sequence {
        return refuse(StreamRefusal::SequenceGap(producer.next_sequence));
    }
    let fingerprint = append.fingerprint();
    let past = producer.batches.iter().find(|past| {
        past.sequence == batch.sequence
            && u64::from(past.count) == append.entries.len() as u64
            && past.fingerprint == fingerprint
    });
    match past {
        Some(past) => Ok(Sequence::Again(past.first)),
        None => refuse(StreamRefusal::SequenceReused),
    }
}

/// Remembers the batch; a stream that has its fill of producers forgets the one that was idle for longest.
fn note_batch<R: StreamRows>(
    rows: &mut R,
    stream: &mut Stream,
    known: Option<Producer>,
    batch: &ProducerBatch,
    append: &Append,
) -> Outcome<(), R> {
    if known.is_none() {
        if stream.producers >= limits::STREAM_PRODUCERS_MAX {
            let mut producers = rows.producers(stream.id)?;
            producers.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
            if let Some(idle) = producers.first() {
                rows.remove_producer(stream.id, &idle.name)?;
            }
        } else {
            stream.producers += 1;
        }
    }
    let mut batches = known
        .filter(|producer| producer.epoch == batch.epoch)
        .map_or_else(Vec::new, |producer| producer.batches);
    batches.push(PastBatch {
        sequence: batch.sequence,
        count: append.entries.len() as u32,
        first: stream.head,
        fingerprint: append.fingerprint(),
    });
    let excess = batches.len().saturating_sub(limits::PRODUCER_BATCHES_MAX);
    batches.drain(..excess);
    rows.put_producer(
        stream.id,
        &Producer {
            name: batch.name.clone(),
            epoch: batch.epoch,
            next_sequence: batch.sequence.saturating_add(append.entries.len() as u64),
            batches,
            at: append.at,
        },
    )?;
    Ok(())
}

/// The group, or what it is like before anybody has used it.
fn group_of<R: StreamRows>(rows: &mut R, stream: &mut Stream, name: &GroupName, at: Timestamp) -> Outcome<Group, R> {
    if let Some(group) = rows.group(stream.id, name)? {
        return Ok(group);
    }
    if stream.groups >= limits::STREAM_GROUPS_MAX {
        return refuse(StreamRefusal::TooManyGroups);
    }
    stream.groups += 1;
    rows.put_stream(stream)?;
    Ok(Group {
        name: name.clone(),
        offset: Offset::ZERO,
        generation: 0,
        at,
    })
}

/// I8: forward, up to the head, by whoever is in the generation. To be where it is told to go already is fine, unless that
/// means that what comes with it is done twice.
fn commit_offset<R: StreamRows>(rows: &mut R, commit: &OffsetCommit, repeat: Repeat) -> Outcome<(), R> {
    let mut stream = find(rows, &commit.stream)?;
    if commit.offset > stream.head {
        return refuse(StreamRefusal::OffsetBeyondHead(stream.head));
    }
    let mut group = group_of(rows, &mut stream, &commit.group, commit.at)?;
    if commit
        .generation
        .is_some_and(|generation| generation != group.generation)
    {
        return refuse(StreamRefusal::GroupFenced(group.generation));
    }
    let moved = commit.expected.is_some_and(|expected| expected != group.offset);
    let is_there = commit.offset == group.offset;
    if moved && (!is_there || repeat == Repeat::Doubles) {
        return refuse(StreamRefusal::GroupMoved(group.offset));
    }
    if commit.offset < group.offset || (is_there && repeat == Repeat::Doubles) {
        return refuse(StreamRefusal::OffsetBackwards(group.offset));
    }
    group.offset = commit.offset;
    group.at = commit.at;
    rows.put_group(stream.id, &group)?;
    Ok(())
}

/// Anywhere up to the head; whoever follows the group meanwhile must not undo it with its next commit.
fn reset_offset<R: StreamRows>(rows: &mut R, reset: &OffsetReset) -> Outcome<(), R> {
    let mut stream = find(rows, &reset.stream)?;
    if reset.offset > stream.head {
        return refuse(StreamRefusal::OffsetBeyondHead(stream.head));
    }
    let mut group = group_of(rows, &mut stream, &reset.group, reset.at)?;
    group.offset = reset.offset;
    group.generation += 1;
    group.at = reset.at;
    rows.put_group(stream.id, &group)?;
    Ok(())
}

fn take_over<R: StreamRows>(rows: &mut R, join: &GroupJoin) -> Outcome<(), R> {
    let mut stream = find(rows, &join.stream)?;
    if join.start > stream.head {
        return refuse(StreamRefusal::OffsetBeyondHead(stream.head));
    }
    let is_new = rows.group(stream.id, &join.group)?.is_none();
    let mut group = group_of(rows, &mut stream, &join.group, join.at)?;
    if join.generation != group.generation.saturating_add(1) {
        return refuse(StreamRefusal::GroupFenced(group.generation));
    }
    if is_new {
        group.offset = join.start;
    }
    group.generation = join.generation;
    group.at = join.at;
    rows.put_group(stream.id, &group)?;
    Ok(())
}

fn trim<R: StreamRows>(rows: &mut R, cut: Trim) -> Outcome<(), R> {
    let Some(mut stream) = rows.stream(cut.stream)? else {
        return Ok(());
    };
    let until = cut.until.min(stream.head);
    let leaving = rows.entries(stream.id, stream.earliest, until)?;
    let Some(last) = leaving.last() else {
        return Ok(());
    };
    stream.bytes_trimmed = last.bytes_through;
    stream.earliest = until;
    for entry in leaving.iter().filter(|entry| entry.held) {
        rows.add_holds(entry.payload, -1)?;
    }
    rows.remove_entries(stream.id, until)?;
    rows.put_stream(&stream)?;
    Ok(())
}
