//! What must be true of a node at rest, whatever happened before.

use std::collections::BTreeSet;

use payload_core::listing::ListQuery;
use payload_core::{
    Container, EventKind, Location, LogFilter, Namespace, NamespaceUse, ObjectId, Payload, ReplicaState, StateKind,
    Tier, Version, delta, quota,
};

use super::Rig;

impl Rig {
    /// Asserts all of it, with no lease and no allocation left. Call [`quiesce`](Rig::quiesce) first.
    #[track_caller]
    pub(crate) fn check_at_rest(&self) {
        let stats = self.stats().unwrap();
        assert_eq!((stats.leases, stats.allocations), (0, 0), "leases and allocations left");
        assert!(self.list_leases(None, 0, 10).is_empty());
        for row in self.rows() {
            assert!(
                !matches!(row.state.kind(), StateKind::Allocated | StateKind::Deleting),
                "nobody holds {row:?}, and still it has not ended"
            );
        }
        self.check_invariants();
    }

    /// Asserts what is true at any quiet moment after a sweep, held payloads or not.
    #[track_caller]
    pub(crate) fn check_invariants(&self) {
        self.sweep().unwrap();
        let rows = self.rows();
        for row in &rows {
            check_replicas(row);
            self.check_history(row);
            assert_eq!(
                *self.get(&row.namespace, row.id).unwrap(),
                *row,
                "the engine shows another row"
            );
        }
        for tier in self.tiers_there() {
            self.check_tier(tier, &rows);
        }
        self.check_use(&rows);
    }

    /// I5: what the namespace is said to take up is what its rows say.
    #[track_caller]
    fn check_use(&self, rows: &[Payload]) {
        let sum = |of: fn(NamespaceUse) -> u64| rows.iter().map(|row| of(quota::share(row))).sum();
        let expected = NamespaceUse {
            payloads: sum(|share| share.payloads),
            bytes: sum(|share| share.bytes),
        };
        assert_eq!(self.namespace_use(&Namespace::default()).unwrap(), expected);
    }

    /// Every payload there is or was.
    pub(crate) fn rows(&self) -> Vec<Payload> {
        let (mut all, mut query) = (Vec::new(), ListQuery::all(Namespace::default(), 1_000));
        loop {
            let page = self.repository().list(&query).unwrap();
            all.extend(page.rows);
            if page.next.is_none() {
                return all;
            }
            query.after = page.next;
        }
    }

    /// I6: the events lead, version by version, to the row, from what those that were removed add up to.
    #[track_caller]
    fn check_history(&self, row: &Payload) {
        let filter = LogFilter::payload(row.namespace.clone(), row.id);
        let events = payload_testkit::repository::log::read(self.repository(), &filter, 1_000);
        let mut folded = self.repository().event_base(row.id).unwrap();
        let mut state = folded.as_ref().map(|base| base.state.kind());
        let mut version = folded.as_ref().map_or(0, |base| base.version.as_u64());
        for logged in &events {
            let event = &logged.record;
            version += 1;
            assert_eq!(
                logged.version,
                Version::from_u64(version),
                "a version without an event: {events:?}"
            );
            assert_eq!(event.from, state, "an event from a state that was not: {events:?}");
            state = Some(event.to);
            delta::apply(&mut folded, row.id, logged.version, &logged.delta).unwrap();
        }
        assert_eq!(row.version, Version::from_u64(version));
        assert_eq!(state, Some(row.state.kind()));
        assert_eq!(folded.as_ref(), Some(row));
        let commits = events
            .iter()
            .filter(|event| event.record.kind == EventKind::Committed)
            .count();
        assert!(commits <= 1, "committed twice: {events:?}");
    }

    /// I5: bytes in a tier equal the rows, and the counters equal their sum.
    #[track_caller]
    fn check_tier(&self, tier: Tier, rows: &[Payload]) {
        let replicas: Vec<_> = rows
            .iter()
            .flat_map(|row| &row.replicas)
            .filter(|r| r.tier() == tier)
            .collect();
        let charged: u64 = replicas.iter().map(|replica| replica.charged).sum();
        let stats = self.stats().unwrap();
        let stats = stats.tiers.iter().find(|stats| stats.tier == tier).unwrap();
        assert_eq!(stats.replicas, replicas.len() as u64, "{tier}: counted replicas");
        assert_eq!(stats.charged, charged, "{tier}: counted bytes");
        assert!(
            stats.usage.used >= charged,
            "{tier}: charged for what is not there {stats:?}"
        );

        let containers: BTreeSet<Container> = replicas.iter().map(|replica| replica.location.container()).collect();
        let found = self.containers(tier);
        // Only who lists a bucket knows how many objects are in it.
        if tier.is_local() {
            assert_eq!(stats.usage.containers, found.len() as u64, "{tier}: counted containers");
        }
        assert!(
            found.is_superset(&containers),
            "{tier}: {found:?} and rows {containers:?}"
        );
        // Beside them, an open session may have a stage in which it is putting nothing together.
        let idle = found.len() - containers.len();
        let stages = if stats.usage.staging > 0 {
            self.stats().unwrap().sessions
        } else {
            0
        };
        // And tests hold descriptors of what was freed, as clients do.
        if stats.usage.zombie == 0 {
            assert!(idle <= stages, "{tier}: {idle} containers have no row");
        }
        if replicas.iter().all(|r| {
            matches!(
                r.location,
                Location::Segment(_) | Location::File(_) | Location::Object(_)
            )
        }) {
            assert_eq!(stats.slack(), 0, "{tier}: slack without shared containers");
        }
        for row in rows {
            for replica in row
                .replicas
                .iter()
                .filter(|r| r.tier() == tier && r.state != ReplicaState::Copying)
            {
                self.store(tier).check(&replica.location, row.size).unwrap();
            }
        }
    }

    /// The tiers that the server has.
    fn tiers_there(&self) -> Vec<Tier> {
        let stats = self.stats().unwrap();
        stats.tiers.iter().map(|stats| stats.tier).collect()
    }

    /// What is really there.
    fn containers(&self, tier: Tier) -> BTreeSet<Container> {
        match tier {
            Tier::Object => {
                let ids = self.bucket.keys().into_iter().map(|key| key.id().unwrap());
                ids.map(|id| Container::Object(ObjectId::from_bytes(id).unwrap()))
                    .collect()
            }
            Tier::Ram => {
                let kept = payload_core::port::FdStore::list(&*self.fds).unwrap();
                kept.into_iter().map(|(id, _)| Container::Segment(id)).collect()
            }
            Tier::Disk => {
                let mut found = BTreeSet::new();
                let mut dirs = vec![self.disk_dir()];
                while let Some(dir) = dirs.pop() {
                    for entry in std::fs::read_dir(dir).unwrap() {
                        let path = entry.unwrap().path();
                        if path.is_dir() {
                            dirs.push(path);
                        } else {
                            let name = path.file_name().unwrap().to_str().unwrap();
                            found.insert(Container::File(name.parse().unwrap()));
                        }
                    }
                }
                found
            }
        }
    }
}

/// I4, and its counterpart: an ended payload has no bytes.
#[track_caller]
fn check_replicas(row: &Payload) {
    let states: Vec<ReplicaState> = row.replicas.iter().map(|replica| replica.state).collect();
    let expected = match row.state.kind() {
        StateKind::Allocated => ReplicaState::Copying,
        StateKind::Active => ReplicaState::Ready,
        StateKind::Deleting => ReplicaState::Draining,
        StateKind::Deleted | StateKind::Aborted | StateKind::Lost => {
            assert!(states.is_empty(), "an ended payload with replicas: {row:?}");
            return;
        }
    };
    assert!(!states.is_empty(), "a payload without a replica: {row:?}");
    assert!(states.iter().all(|state| *state == expected), "{row:?}");
}
