//! What a random history asks.

use std::collections::BTreeMap;

use payload_core::listing::ListQuery;
use payload_core::stream::Offset;
use payload_core::{
    EventKind, Location, LogFilter, LogPosition, LoggedEvent, Namespace, Payload, PayloadId, Revision, Timestamp, delta,
};

use super::{History, NAMESPACES};
use crate::repository::listing::read_all;
use crate::repository::log;
use crate::repository::queries::summed;
use crate::repository::sample::{Maker, at, name};

impl History<'_> {
    /// One read of each kind, with random arguments.
    pub(super) fn read(&mut self) {
        let (now, limit, after) = (self.moment(), self.limit(), self.position());
        let node = if self.maker.rng.one_in(4) {
            Maker::new(0).node
        } else {
            self.maker.node
        };
        match self.maker.rng.below(12) {
            0 => self.read_list(limit),
            1 => drop(self.same("resident", |repo| repo.resident(node, after, limit))),
            2 => drop(self.same("due", |repo| repo.due(node, now, limit))),
            3 => drop(self.same("next_deadline", |repo| repo.next_deadline(node))),
            4 => drop(self.same("usage", |repo| repo.usage(node))),
            5 => self.read_containers(),
            6 | 7 => self.read_lineage(limit),
            8 => self.read_log(),
            9 => self.read_streams(),
            10 => self.read_metadata(limit),
            _ => self.read_request(),
        }
    }

    /// A revision and a page of them, of a payload that has some or none.
    fn read_metadata(&mut self, limit: u32) {
        let Some(id) = self.position() else { return };
        let revision = Revision::from_u64(self.maker.rng.below(4));
        self.same("metadata", |repo| repo.metadata(id, revision));
        self.same("metadata_history", |repo| repo.metadata_history(id, revision, limit));
    }

    fn read_containers(&mut self) {
        let replicas = self.versions.iter().rev().take(200).flat_map(|row| &row.replicas);
        let mut containers: Vec<_> = replicas.map(|replica| replica.location.container()).collect();
        for _ in 0..containers.len().saturating_sub(20) {
            let any = self.maker.rng.below(containers.len() as u64);
            containers.swap_remove(usize::try_from(any).expect("an index fits"));
        }
        containers.push(Location::Segment(self.maker.segment()).container());
        self.same("containers_in_use", |repo| repo.containers_in_use(&containers));
        let any = containers[0];
        self.same("payloads_in", |repo| repo.payloads_in(any, None, 50));
    }

    fn read_streams(&mut self) {
        let asked = self.streams.question(&mut self.maker);
        self.same("stream", |repo| asked.stream(repo));
        self.same("streams", |repo| repo.streams(&asked.query));
        self.same("incarnation", |repo| repo.incarnation(asked.id));
        self.same("streams_to_trim", |repo| repo.streams_to_trim(asked.after, asked.limit));
        self.same("entries", |repo| repo.entries(asked.id, asked.from, asked.limit));
        self.same("groups", |repo| repo.groups(asked.id));
        self.same("group", |repo| repo.group(asked.id, &asked.group));
        self.same("producer", |repo| repo.producer(asked.id, &asked.producer));
    }

    fn read_request(&mut self) {
        if !self.requests.is_empty() {
            let record = self.maker.rng.pick(&self.requests).clone();
            self.same("find_request", |repo| {
                repo.find_request(&record.principal, &record.request_id)
            });
        }
    }

    pub(super) fn read_everything(&self) {
        let mut rows = Vec::new();
        for namespace in NAMESPACES.map(name) {
            let query = ListQuery::all(namespace, 1_000);
            rows.extend(self.same("list", |repo| read_all(repo, &query)));
        }
        self.read_log_through(&rows);
        for node in [self.maker.node, Maker::new(0).node] {
            let usage = self.same("usage", |repo| repo.usage(node));
            assert_eq!(usage, summed(&rows, node), "I5: seed {}", self.seed);
            self.same("resident", |repo| repo.resident(node, None, u32::MAX));
            self.same("deletions", |repo| repo.deletions(node, None, u32::MAX));
            self.same("due", |repo| repo.due(node, Timestamp::from_micros(i64::MAX), u32::MAX));
        }
        for row in rows.iter().take(500) {
            self.same("holds", |repo| repo.holds(row.id));
        }
        for id in self.streams.incarnations() {
            self.same("entries", |repo| repo.entries(id, Offset::ZERO, u32::MAX));
            self.same("groups", |repo| repo.groups(id));
        }
    }

    /// Everything in a namespace's log, and I6: what happened to each payload adds up to its row.
    fn read_log_through(&self, rows: &[Payload]) {
        let mut folded: BTreeMap<PayloadId, Option<Payload>> = BTreeMap::new();
        for namespace in NAMESPACES.map(name) {
            let filter = log::everything(&namespace);
            for event in self.same("log", |repo| Ok(placeless(log::read(repo, &filter, 1_000)))) {
                let row = folded.entry(event.payload).or_default();
                delta::apply(row, event.payload, event.version, &event.delta).unwrap();
            }
        }
        let folded: Vec<Payload> = folded.into_values().flatten().collect();
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| row.id);
        assert!(folded == rows, "I6: seed {}", self.seed);
    }

    /// What happened to a payload; or what is new since the log was read last.
    fn read_log(&mut self) {
        let filter = LogFilter {
            namespace: self.namespace(),
            payload: self.position(),
            kinds: EventKind::ALL
                .into_iter()
                .filter(|_| self.maker.rng.one_in(4))
                .collect(),
        };
        let limit = *self.maker.rng.pick(&[1, 3, 10, 1_000]);
        if filter.payload.is_some() {
            self.same("log", |repo| Ok(placeless(log::read(repo, &filter, limit))));
        } else {
            self.follow_log(&filter, limit);
        }
    }

    fn follow_log(&mut self, filter: &LogFilter, limit: u32) {
        let mut read = Vec::new();
        for lane in &mut self.lanes {
            let after = lane.read_through.get(&filter.namespace).copied();
            let (events, through) = log::read_from(lane.repo(), filter, after, limit);
            lane.read_through.insert(filter.namespace.clone(), through);
            read.push((lane.name, placeless(events)));
        }
        self.agree("follow the log", read);
    }

    /// Hardly ever the last one, which is so often without payloads.
    pub(super) fn namespace(&mut self) -> Namespace {
        let usual = &NAMESPACES[..NAMESPACES.len() - usize::from(!self.maker.rng.one_in(20))];
        name(self.maker.rng.pick::<&str>(usual))
    }

    pub(super) fn moment(&mut self) -> Timestamp {
        at(self.now + 100 - i64::try_from(self.maker.rng.below(200)).expect("is small"))
    }

    pub(super) fn limit(&mut self) -> u32 {
        *self.maker.rng.pick(&[0, 1, 3, 10, 1_000])
    }

    pub(super) fn position(&mut self) -> Option<PayloadId> {
        if self.versions.is_empty() || self.maker.rng.one_in(2) {
            return None;
        }
        Some(self.maker.rng.pick(&self.versions).id)
    }
}

/// Engines number their events as they like; the order is the same in all.
pub(super) fn placeless(mut events: Vec<LoggedEvent>) -> Vec<LoggedEvent> {
    for event in &mut events {
        event.position = LogPosition::START;
    }
    events
}
