//! A stream with payloads to append, and the words to say what happens to it.

use payload_core::port::Repository;
use payload_core::stream::{
    Append, Appended, EntryDraft, Group, GroupName, Offset, OffsetCommit, ProducerBatch, Stream, StreamChange,
    StreamName, StreamRef, StreamRefusal, StreamSettings,
};
use payload_core::{ChangeSet, CommitOutcome, Namespace, Payload, PayloadId, State, StreamId};

use super::Open;
use super::rows::{apply, claimed};
use super::sample::{Maker, at, created, set};

/// A handle that may write, with what makes things for it.
pub(super) struct Bed {
    pub(super) repo: Box<dyn Repository>,
    pub(super) maker: Maker,
}

/// A stream's name.
pub(super) fn stream_name(text: &str) -> StreamName {
    text.parse().expect("the test names a good stream")
}

/// A group's name.
pub(super) fn group_name(text: &str) -> GroupName {
    text.parse().expect("the test names a good group")
}

/// The stream that most tests need, in whichever incarnation.
pub(super) fn the_stream() -> StreamRef {
    StreamRef {
        namespace: Namespace::default(),
        name: stream_name("frames"),
        incarnation: None,
    }
}

/// An entry without tags.
pub(super) fn draft(payload: PayloadId) -> EntryDraft {
    EntryDraft {
        payload,
        tags: Vec::new(),
    }
}

/// Entries for the stream, without any condition.
pub(super) fn append(payloads: &[PayloadId]) -> Append {
    Append {
        stream: the_stream(),
        entries: payloads.iter().copied().map(draft).collect(),
        expected: None,
        producer: None,
        at: at(10),
    }
}

/// The same, as a batch of a producer.
pub(super) fn batch(payloads: &[PayloadId], epoch: u64, sequence: u64) -> Append {
    Append {
        producer: Some(ProducerBatch {
            name: "camera".parse().expect("is a good name"),
            epoch,
            sequence,
        }),
        ..append(payloads)
    }
}

/// A group's progress, without any condition.
pub(super) fn progress(group: &str, offset: u64) -> OffsetCommit {
    OffsetCommit {
        stream: the_stream(),
        group: group_name(group),
        offset: Offset::from_u64(offset),
        expected: None,
        generation: None,
        at: at(20),
    }
}

/// A set of nothing but stream changes.
pub(super) fn streams(changes: impl IntoIterator<Item = StreamChange>) -> ChangeSet {
    ChangeSet {
        streams: changes.into_iter().collect(),
        ..set([])
    }
}

impl Bed {
    /// With the stream.
    pub(super) fn new(open: Open<'_>, seed: u64) -> Self {
        Self::with(open, seed, StreamSettings::default()).0
    }

    /// With the stream, and what it is like.
    pub(super) fn with(open: Open<'_>, seed: u64, settings: StreamSettings) -> (Self, StreamId) {
        let maker = Maker::new(seed);
        let mut bed = Self {
            repo: claimed(open, &maker),
            maker,
        };
        let id = bed.create("frames", settings);
        (bed, id)
    }

    pub(super) fn create(&mut self, name: &str, settings: StreamSettings) -> StreamId {
        let id = self.maker.stream();
        let create = StreamChange::Create {
            id,
            namespace: Namespace::default(),
            name: stream_name(name),
            settings,
            at: at(1),
        };
        self.change(create);
        id
    }

    /// A committed payload.
    pub(super) fn payload(&mut self) -> Payload {
        let payload = active(self.maker.allocated());
        apply(&*self.repo, set([created(&payload)]));
        payload
    }

    /// Many of them.
    pub(super) fn payloads(&mut self, count: usize) -> Vec<PayloadId> {
        (0..count).map(|_| self.payload().id).collect()
    }

    pub(super) fn row(&self) -> Stream {
        let stream = the_stream();
        self.repo.stream(&stream.namespace, &stream.name).unwrap().unwrap()
    }

    pub(super) fn group(&self, name: &str) -> Group {
        self.repo.group(self.row().id, &group_name(name)).unwrap().unwrap()
    }

    /// As durably as can be, which is how streams are written.
    pub(super) fn commit(&self, set: ChangeSet) -> CommitOutcome {
        let durability = self.repo.strongest();
        self.repo.commit(ChangeSet { durability, ..set }).unwrap()
    }

    /// Appends, and says where.
    pub(super) fn append(&self, append: Append) -> u64 {
        match self.commit(streams([StreamChange::Append(append)])) {
            CommitOutcome::Appended(Appended { first, .. }) => first.as_u64(),
            other => panic!("{other:?}"),
        }
    }

    /// Makes a change that nothing stands against.
    pub(super) fn change(&self, change: StreamChange) {
        assert_eq!(self.commit(streams([change])), CommitOutcome::Applied);
    }

    pub(super) fn refused(&self, change: StreamChange) -> StreamRefusal {
        self.refused_set(streams([change]))
    }

    pub(super) fn refused_set(&self, set: ChangeSet) -> StreamRefusal {
        match self.commit(set) {
            CommitOutcome::StreamRefused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    /// What the stream's entries refer to, from the first that is there.
    pub(super) fn referred(&self) -> Vec<PayloadId> {
        let row = self.row();
        let entries = self.repo.entries(row.id, row.earliest, u32::MAX).unwrap();
        for (expected, read) in (row.earliest.as_u64()..).zip(&entries) {
            assert_eq!(read.entry.offset.as_u64(), expected, "I7: offsets are dense");
        }
        assert_eq!(row.earliest.plus(entries.len() as u64), row.head, "I7: up to the head");
        entries.iter().map(|read| read.entry.payload).collect()
    }
}

/// The payload as it is after its commit.
pub(super) fn active(payload: Payload) -> Payload {
    Payload {
        state: State::Active { expires_at: None },
        ..payload
    }
}
