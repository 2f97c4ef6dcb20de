//! The stream part of random histories: changes that are mostly good, and questions about what came of them.

use payload_core::port::Repository;
use payload_core::stream::{
    Append, EntryDraft, GroupJoin, GroupName, Hold, Offset, OffsetCommit, OffsetReset, ProducerBatch, ProducerName,
    Retention, Stream, StreamChange, StreamName, StreamQuery, StreamRef, StreamSettings, Trim, tags,
};
use payload_core::{Change, ChangeSet, CommitOutcome, Namespace, PayloadId, Span, StreamId, Timestamp, Version};

use super::sample::{Maker, at, name};

/// What a history knows of its streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    made: Vec<(StreamRef, StreamId)>,
    payloads: Vec<PayloadId>,
    heads: u64,
    generations: u64,
}

/// Arguments for one read of each kind.
pub(super) struct Question {
    pub(super) id: StreamId,
    pub(super) query: StreamQuery,
    pub(super) after: Option<StreamId>,
    pub(super) from: Offset,
    pub(super) limit: u32,
    pub(super) group: GroupName,
    pub(super) producer: ProducerName,
    named: StreamRef,
}

impl Question {
    pub(super) fn stream(&self, repo: &dyn Repository) -> payload_core::Result<Option<Stream>> {
        repo.stream(&self.named.namespace, &self.named.name)
    }
}

impl Streams {
    /// None, or a few.
    pub(super) fn changes(&mut self, maker: &mut Maker, changes: &[Change], now: i64) -> Vec<StreamChange> {
        let count = maker.rng.below(3);
        let mut all: Vec<StreamChange> = Vec::new();
        for _ in 0..count {
            let change = self.change(maker, changes, at(now));
            let is_append = |change: &StreamChange| matches!(change, StreamChange::Append(_));
            if !is_append(&change) || !all.iter().any(is_append) {
                all.push(change);
            }
        }
        all
    }

    /// Learns from what was applied.
    pub(super) fn applied(&mut self, set: &ChangeSet, outcome: &CommitOutcome) {
        self.payloads.extend(set.changes.iter().map(|change| change.after.id));
        for change in &set.streams {
            match change {
                StreamChange::Create {
                    id, namespace, name, ..
                } => {
                    let stream = StreamRef {
                        namespace: namespace.clone(),
                        name: name.clone(),
                        incarnation: None,
                    };
                    self.made.push((stream, *id));
                }
                StreamChange::Join(join) => self.generations = self.generations.max(join.generation),
                StreamChange::ResetOffset(_) => self.generations += 1,
                _ => {}
            }
        }
        if let CommitOutcome::Appended(place) = outcome {
            self.heads = self.heads.max(place.first.as_u64());
        }
    }

    pub(super) fn incarnations(&self) -> Vec<StreamId> {
        self.made.iter().map(|(_, id)| *id).collect()
    }

    pub(super) fn question(&self, maker: &mut Maker) -> Question {
        let limit = *maker.rng.pick(&[0, 1, 3, 1_000]);
        let named = self.named(maker);
        let after = maker.rng.one_in(2).then(|| stream_name(maker));
        Question {
            id: self.id(maker),
            query: StreamQuery {
                namespace: namespace(maker),
                after,
                limit,
            },
            after: maker.rng.one_in(2).then(|| self.id(maker)),
            from: self.offset(maker),
            limit,
            group: group_name(maker),
            producer: producer_name(maker),
            named,
        }
    }

    fn change(&self, maker: &mut Maker, changes: &[Change], now: Timestamp) -> StreamChange {
        let stream = self.named(maker);
        match maker.rng.below(20) {
            0..=1 => StreamChange::Create {
                id: maker.stream(),
                namespace: stream.namespace,
                name: stream.name,
                settings: settings(maker),
                at: now,
            },
            2 => StreamChange::Delete(stream),
            3 => StreamChange::Update {
                stream,
                version: Version::from_u64(1 + maker.rng.below(2)),
                settings: settings(maker),
            },
            4..=10 => StreamChange::Append(self.append(maker, stream, changes, now)),
            11..=13 => StreamChange::CommitOffset(OffsetCommit {
                stream,
                group: group_name(maker),
                offset: self.offset(maker),
                expected: maker.rng.one_in(4).then(|| self.offset(maker)),
                generation: maker.rng.one_in(3).then(|| maker.rng.below(self.generations + 2)),
                at: now,
            }),
            14 => StreamChange::ResetOffset(OffsetReset {
                stream,
                group: group_name(maker),
                offset: self.offset(maker),
                at: now,
            }),
            15 => StreamChange::Join(GroupJoin {
                stream,
                group: group_name(maker),
                start: self.offset(maker),
                generation: 1 + maker.rng.below(self.generations + 2),
                at: now,
            }),
            16..=17 => StreamChange::Trim(Trim {
                stream: self.id(maker),
                until: self.offset(maker),
            }),
            18 => StreamChange::Drop(self.id(maker)),
            _ => StreamChange::Unheld(self.payload(maker, changes)),
        }
    }

    fn append(&self, maker: &mut Maker, stream: StreamRef, changes: &[Change], now: Timestamp) -> Append {
        let count = 1 + maker.rng.below(4);
        let entries = (0..count).map(|_| EntryDraft {
            payload: self.payload(maker, changes),
            tags: tags(["a", "b", "c"].into_iter().take(maker.rng.below(4) as usize)).expect("are good tags"),
        });
        let entries = entries.collect();
        Append {
            stream,
            entries,
            expected: maker.rng.one_in(6).then(|| self.offset(maker)),
            producer: maker.rng.one_in(2).then(|| ProducerBatch {
                name: producer_name(maker),
                epoch: 1 + maker.rng.below(2),
                sequence: maker.rng.below(12),
            }),
            at: now,
        }
    }

    fn payload(&self, maker: &mut Maker, changes: &[Change]) -> PayloadId {
        match changes.first() {
            Some(change) if maker.rng.one_in(3) || self.payloads.is_empty() => change.after.id,
            _ if self.payloads.is_empty() => maker.payload_id(),
            _ => *maker.rng.pick(&self.payloads),
        }
    }

    fn named(&self, maker: &mut Maker) -> StreamRef {
        let incarnation = (maker.rng.one_in(5) && !self.made.is_empty()).then(|| maker.rng.pick(&self.made).1);
        StreamRef {
            namespace: namespace(maker),
            name: stream_name(maker),
            incarnation,
        }
    }

    fn id(&self, maker: &mut Maker) -> StreamId {
        if self.made.is_empty() {
            return maker.stream();
        }
        maker.rng.pick(&self.made).1
    }

    fn offset(&self, maker: &mut Maker) -> Offset {
        Offset::from_u64(maker.rng.below(self.heads + 3))
    }
}

fn settings(maker: &mut Maker) -> StreamSettings {
    let rng = &mut maker.rng;
    StreamSettings {
        hold: *rng.pick(&Hold::ALL),
        retention: Retention {
            entries: rng.one_in(3).then(|| 1 + rng.below(1 << 40)),
            age: rng.one_in(3).then(|| Span::from_nanos(1 + rng.below(1 << 60))),
            bytes: rng.one_in(3).then(|| 1 + rng.below(1 << 60)),
        },
        batch_max: *rng.pick(&[2, 3, 1_000]),
    }
}

fn namespace(maker: &mut Maker) -> Namespace {
    name(maker.rng.pick::<&str>(&["a", "a-b"]))
}

fn stream_name(maker: &mut Maker) -> StreamName {
    let text = maker.rng.pick::<&str>(&["s", "s.a", "s-a"]);
    text.parse().expect("is a good name")
}

fn group_name(maker: &mut Maker) -> GroupName {
    let text = maker.rng.pick::<&str>(&["g", "h"]);
    text.parse().expect("is a good name")
}

fn producer_name(maker: &mut Maker) -> ProducerName {
    let text = maker.rng.pick::<&str>(&["p", "q"]);
    text.parse().expect("is a good name")
}
