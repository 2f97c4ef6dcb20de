//! Publish: what a commit, a put or an append makes true together with itself.

use std::sync::Arc;

use payload_core::stream::{
    Append, Appended, EntryDraft, Offset, ProducerBatch, StreamChange, StreamName, StreamRef, Tag,
};
use payload_core::{Durability, Namespace, Payload, PayloadId, StreamId};

use super::OffsetRequest;
use crate::engine::Engine;

/// Where a payload is to be appended in the moment of its commit.
#[derive(Clone, Debug)]
pub struct Publish {
    /// A stream of the payload's namespace.
    pub stream: StreamName,
    /// Only this incarnation of it.
    pub incarnation: Option<StreamId>,
    /// For readers who want a part of the stream.
    pub tags: Vec<Tag>,
    /// The offset that the entry must get.
    pub expected: Option<Offset>,
    /// Which of its producer's entries it is.
    pub producer: Option<ProducerBatch>,
    /// How far a group has come by making the payload: consuming and producing in one.
    pub progress: Option<OffsetRequest>,
}

/// A committed payload, and where it was appended.
#[derive(Clone, Debug)]
pub struct Published {
    /// The payload.
    pub row: Arc<Payload>,
    /// Its entry, if it was published.
    pub appended: Option<Appended>,
}

impl Publish {
    /// As changes of streams, at this moment.
    pub(crate) fn changes(&self, engine: &Engine, namespace: &Namespace, payload: PayloadId) -> Vec<StreamChange> {
        let append = Append {
            stream: StreamRef {
                namespace: namespace.clone(),
                name: self.stream.clone(),
                incarnation: self.incarnation,
            },
            entries: vec![EntryDraft {
                payload,
                tags: self.tags.clone(),
            }],
            expected: self.expected,
            producer: self.producer.clone(),
            at: engine.wall(),
        };
        let progress = self.progress.as_ref();
        let progress = progress.map(|progress| StreamChange::CommitOffset(progress.change(engine)));
        std::iter::once(StreamChange::Append(append)).chain(progress).collect()
    }
}

impl Engine {
    /// What a commit says to streams, and how durable it has to be for that: as its payload, and as what is appended.
    pub(crate) fn publication(&self, publish: Option<&Publish>, row: &Payload) -> (Vec<StreamChange>, Durability) {
        match publish {
            Some(publish) => (
                publish.changes(self, &row.namespace, row.id),
                row.durability.max(self.stream_durability()),
            ),
            None => (Vec::new(), row.durability),
        }
    }
}

/// What makes two publications the same request.
pub(crate) fn fingerprint(publish: Option<&Publish>) -> String {
    publish.map(|publish| format!("{publish:?}")).unwrap_or_default()
}
