//! What a batch has to know of streams, found out together with everything else that it begins with: so an append costs no
//! round trips of its own, and all batches lock in the same order.

use std::collections::{BTreeSet, HashMap};

use payload_core::stream::rules::PayloadSeen;
use payload_core::stream::{Group, GroupName, Producer, ProducerName, Stream, StreamChange, StreamName};
use payload_core::{ChangeSet, Namespace, PayloadId, StreamId};
use uuid::Uuid;

use super::super::connect::{Params, Session};
use super::super::fault::Fault;
use super::super::row::uuid;
use super::{row, sql};

/// A stream by its name.
pub(super) type Named = (Namespace, StreamName);

/// What the database had when the batch first asked; its rows are locked from then on.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Had {
    pub(super) streams: HashMap<StreamId, Option<Stream>>,
    pub(super) names: HashMap<Named, Option<StreamId>>,
    pub(super) groups: HashMap<(StreamId, GroupName), Option<Group>>,
    pub(super) producers: HashMap<(StreamId, ProducerName), Option<Producer>>,
    pub(super) payloads: HashMap<PayloadId, Option<PayloadSeen>>,
    pub(super) counts: HashMap<Namespace, u64>,
}

/// The rows that a batch is sure to need. The few others are asked for when they are needed.
#[derive(Default)]
struct Asked {
    streams: BTreeSet<Named>,
    producers: BTreeSet<(Named, ProducerName)>,
    groups: BTreeSet<(Named, GroupName)>,
}

/// The payloads that the batch's entries refer to, or that must not be held. They must not change meanwhile.
pub(in crate::postgres) fn payloads(sets: &[ChangeSet]) -> impl Iterator<Item = PayloadId> {
    let of = |change: &StreamChange| match change {
        StreamChange::Append(append) => append.entries.iter().map(|draft| draft.payload).collect(),
        StreamChange::Unheld(id) => vec![*id],
        _ => Vec::new(),
    };
    sets.iter().flat_map(|set| &set.streams).flat_map(of)
}

/// Locks the streams in the order of their names, and reads what hangs on them. The payloads are locked already.
pub(in crate::postgres) async fn find(session: &Session, sets: &[ChangeSet]) -> Result<Had, Fault> {
    let asked = Asked::of(sets);
    let ids: BTreeSet<PayloadId> = payloads(sets).collect();
    let mut had = Had::default();
    if asked.streams.is_empty() && ids.is_empty() {
        return Ok(had);
    }
    had.read(session, &asked, &ids).await?;
    had.note_absent(asked, ids);
    Ok(had)
}

impl Asked {
    fn of(sets: &[ChangeSet]) -> Self {
        let mut asked = Self::default();
        for change in sets.iter().flat_map(|set| &set.streams) {
            asked.add(change);
        }
        asked
    }

    fn add(&mut self, change: &StreamChange) {
        let named = match change {
            StreamChange::Create { namespace, name, .. } => (namespace.clone(), name.clone()),
            StreamChange::Update { stream, .. } | StreamChange::Delete(stream) => stream.named(),
            StreamChange::Append(append) => {
                let named = append.stream.named();
                let producer = append.producer.iter().map(|batch| (named.clone(), batch.name.clone()));
                self.producers.extend(producer);
                named
            }
            StreamChange::CommitOffset(commit) => self.group(commit.stream.named(), &commit.group),
            StreamChange::ResetOffset(reset) => self.group(reset.stream.named(), &reset.group),
            StreamChange::Join(join) => self.group(join.stream.named(), &join.group),
            StreamChange::Trim(_) | StreamChange::Drop(_) | StreamChange::Unheld(_) => return,
        };
        self.streams.insert(named);
    }

    fn group(&mut self, named: Named, group: &GroupName) -> Named {
        self.groups.insert((named.clone(), group.clone()));
        named
    }
}

impl Had {
    async fn read(&mut self, session: &Session, asked: &Asked, ids: &BTreeSet<PayloadId>) -> Result<(), Fault> {
        let ids: Vec<Uuid> = ids.iter().map(|id| uuid(id.as_bytes())).collect();
        let (namespaces, names) = columns(asked.streams.iter());
        let (p_namespaces, p_names) = columns(asked.producers.iter().map(|(named, _)| named));
        let (g_namespaces, g_names) = columns(asked.groups.iter().map(|(named, _)| named));
        let producers: Vec<&str> = asked.producers.iter().map(|(_, name)| name.as_str()).collect();
        let groups: Vec<&str> = asked.groups.iter().map(|(_, name)| name.as_str()).collect();
        let by_name: Params<'_> = &[&namespaces, &names];
        let by_producer: Params<'_> = &[&p_namespaces, &p_names, &producers];
        let by_id: Params<'_> = &[&ids];
        let by_group: Params<'_> = &[&g_namespaces, &g_names, &groups];
        let (streams, producers, groups, payloads) = futures_util::future::try_join4(
            session.all(sql::LOCK_STREAMS_NAMED, by_name, row::stream),
            session.all(sql::PRODUCERS_NAMED, by_producer, row::producer_of),
            session.all(sql::GROUPS_NAMED, by_group, row::group_of),
            session.all(sql::PAYLOADS_SEEN, by_id, row::payload_with_id),
        )
        .await?;
        self.payloads
            .extend(payloads.into_iter().map(|(id, seen)| (id, Some(seen))));
        self.groups.extend(
            groups
                .into_iter()
                .map(|(id, group)| ((id, group.name.clone()), Some(group))),
        );
        let keyed = |(id, producer): (StreamId, Producer)| ((id, producer.name.clone()), Some(producer));
        self.producers.extend(producers.into_iter().map(keyed));
        for stream in streams {
            self.names
                .insert((stream.namespace.clone(), stream.name.clone()), Some(stream.id));
            self.streams.insert(stream.id, Some(stream));
        }
        Ok(())
    }

    /// What was asked for and not found is not there, and need not be asked for again.
    fn note_absent(&mut self, asked: Asked, ids: BTreeSet<PayloadId>) {
        for id in ids {
            self.payloads.entry(id).or_default();
        }
        for named in asked.streams {
            self.names.entry(named).or_default();
        }
        for (named, producer) in asked.producers {
            if let Some(Some(id)) = self.names.get(&named) {
                self.producers.entry((*id, producer)).or_default();
            }
        }
        for (named, group) in asked.groups {
            if let Some(Some(id)) = self.names.get(&named) {
                self.groups.entry((*id, group)).or_default();
            }
        }
    }
}

fn columns<'a>(named: impl Iterator<Item = &'a Named>) -> (Vec<&'a str>, Vec<&'a str>) {
    named
        .map(|(namespace, name)| (namespace.as_str(), name.as_str()))
        .unzip()
}
