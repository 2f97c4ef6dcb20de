//! I9: the same random history gives the same answers from two repositories.

mod lineage;
mod listing;

use std::fmt::Debug;

use payload_core::listing::ListQuery;
use payload_core::port::Repository;
use payload_core::stream::Offset;
use payload_core::{
    Actor, Change, ChangeSet, Digest, Durability, EventKind, Location, LogFilter, LogPosition, LoggedEvent, NameChange,
    NameGuard, Namespace, NamespaceRecord, Naming, Payload, PayloadId, Priority, Quota, Reason, Replica, ReplicaState,
    RequestRecord, SpillTarget, State, Timestamp, Version, delta,
};

use super::listing::read_all;
use super::names::label;
use super::namespaces::namespace;
use super::queries::summed;
use super::sample::{Maker, at, created, edited, event, labels, name};
use super::stream_history::Streams;
use super::{Open, log};

/// Drives both through `steps` random operations and compares every outcome and every read. Every so often the second
/// is closed and opened again. A failure names the seed, which repeats it.
pub fn compare(seed: u64, steps: usize, model: Open<'_>, subject: Open<'_>) {
    let mut history = History::new(seed, model(), subject());
    for step in 0..steps {
        history.step = step;
        match history.maker.rng.below(100) {
            0 => history.reopen(subject),
            1..=3 => history.forget(),
            76..=80 => history.change_namespace(),
            4..=75 => history.commit(),
            _ => {}
        }
        history.read();
    }
    history.read_everything();
}

struct History {
    seed: u64,
    step: usize,
    maker: Maker,
    model: Box<dyn Repository>,
    subject: Option<Box<dyn Repository>>,
    /// Every version of every payload that was applied, newest last.
    versions: Vec<Payload>,
    requests: Vec<RequestRecord>,
    streams: Streams,
    now: i64,
}

impl History {
    fn new(seed: u64, model: Box<dyn Repository>, subject: Box<dyn Repository>) -> Self {
        let history = Self {
            seed,
            step: 0,
            maker: Maker::new(seed),
            model,
            subject: Some(subject),
            versions: Vec::new(),
            requests: Vec::new(),
            streams: Streams::default(),
            now: 0,
        };
        history.claim();
        for tenant in NAMESPACES {
            history.same("create_namespace", |repo| repo.create_namespace(&namespace(tenant)));
        }
        history
    }

    /// The answers of both must be the same, and none of them a refusal.
    fn same<T: PartialEq + Debug>(&self, what: &str, ask: impl Fn(&dyn Repository) -> payload_core::Result<T>) -> T {
        let found = self.alike(what, ask);
        found.unwrap_or_else(|reason| panic!("{what}: {reason:?}: seed {}, step {}", self.seed, self.step))
    }

    /// The answers of both must be the same; errors by their reasons.
    fn alike<T: PartialEq + Debug>(
        &self,
        what: &str,
        ask: impl Fn(&dyn Repository) -> payload_core::Result<T>,
    ) -> Result<T, Reason> {
        let answer = |repo: &dyn Repository| -> Result<T, Reason> { ask(repo).map_err(|error| error.reason()) };
        let subject = self.subject.as_deref().expect("is open between steps");
        let (expected, found) = (answer(&*self.model), answer(subject));
        assert_eq!(expected, found, "{what}: seed {}, step {}", self.seed, self.step);
        found
    }

    fn claim(&self) {
        self.same("claim", |repo| repo.claim(self.maker.node, at(self.now)));
    }

    fn reopen(&mut self, open: Open<'_>) {
        self.subject = None;
        self.subject = Some(open());
        self.claim();
    }

    fn forget(&mut self) {
        let before = self.moment();
        let limit = self.limit();
        self.same("forget_requests", |repo| repo.forget_requests(before, limit));
    }

    fn commit(&mut self) {
        self.now += 1;
        let count = 1 + self.maker.rng.below(3) * self.maker.rng.below(2);
        let mut changes = Vec::new();
        for _ in 0..count {
            let change = self.change(&changes);
            changes.push(change);
        }
        let request = self.request(&changes);
        let name = self.naming(&changes);
        let set = ChangeSet {
            edges: self.edges(&changes),
            without_dependents: self.maker.rng.one_in(8).then(|| changes[0].after.id),
            name,
            streams: self.streams.changes(&mut self.maker, &changes, self.now),
            request,
            ..ChangeSet::new(changes, Durability::Volatile)
        };
        let synced = self.maker.rng.one_in(16);
        let outcome = self.alike("commit", |repo| {
            let durability = if synced { repo.strongest() } else { Durability::Volatile };
            repo.commit(ChangeSet {
                durability,
                ..set.clone()
            })
        });
        if let Some(name) = &set.name {
            self.read_name(name);
        }
        for change in &set.changes {
            self.same("get", |repo| repo.get(change.after.id));
            let filter = LogFilter::payload(change.after.namespace.clone(), change.after.id);
            self.same("log", |repo| Ok(placeless(log::read(repo, &filter, 1_000))));
        }
        if let Ok(outcome) = outcome
            && outcome.is_applied()
        {
            self.streams.applied(&set, &outcome);
            self.versions
                .extend(set.changes.iter().map(|change| Payload::clone(&change.after)));
            self.requests.extend(set.request);
        }
    }

    /// Made, changed or removed, mostly from the version that it has.
    fn change_namespace(&mut self) {
        let name = self.namespace();
        let known = self.same("namespace", |repo| Ok(repo.namespace(&name)?.map(|row| row.version)));
        let version = match self.maker.rng.below(4) {
            0 => Version::from_u64(1 + self.maker.rng.below(4)),
            _ => known.unwrap_or(Version::FIRST),
        };
        let made = namespace(name.as_str());
        let changed = NamespaceRecord {
            version: version.next(),
            quota: Quota {
                bytes: self.maker.rng.one_in(2).then(|| self.maker.rng.bits() >> 1),
                payloads: None,
            },
            ..made.clone()
        };
        let what = self.maker.rng.below(3);
        let _refused_or_not = self.alike("change a namespace", |repo| match what {
            0 => repo.create_namespace(&made),
            1 => repo.update_namespace(&changed),
            _ => repo.remove_namespace(&name, version),
        });
        self.same("namespaces", |repo| {
            let rows = repo.namespaces(None, u32::MAX)?;
            // The one that is always there is as old as its catalog.
            Ok(rows
                .into_iter()
                .filter(|row| row.name != Namespace::default())
                .collect::<Vec<_>>())
        });
    }

    /// Mostly good; else made from an old version, or of a payload that is there already.
    fn change(&mut self, earlier: &[Change]) -> Change {
        let known = !self.versions.is_empty();
        match self.maker.rng.below(10) {
            0 if known => {
                let again = self.maker.rng.pick(&self.versions).id;
                let fresh = self.fresh();
                created(&Payload { id: again, ..fresh })
            }
            1 if known => {
                let old = self.maker.rng.pick(&self.versions).clone();
                self.next(&old)
            }
            2..=6 if known => {
                let id = self.maker.rng.pick(&self.versions).id;
                let pending = earlier.iter().map(|change| &*change.after);
                let newest = self.versions.iter().chain(pending).rfind(|row| row.id == id);
                let newest = newest.expect("was picked from them").clone();
                self.next(&newest)
            }
            _ => created(&self.fresh()),
        }
    }

    fn fresh(&mut self) -> Payload {
        let base = if self.maker.rng.one_in(3) {
            self.maker.full()
        } else {
            self.maker.allocated()
        };
        let namespace = self.namespace();
        self.random(Payload { namespace, ..base })
    }

    fn next(&mut self, before: &Payload) -> Change {
        let random = self.random(before.clone());
        let after = edited(before, |after| {
            *after = Payload {
                version: after.version,
                ..random
            }
        });
        let kind = *self.maker.rng.pick(&EventKind::ALL);
        let event = event(Some(before), &after, kind);
        Change {
            before: Some(before.clone().into()),
            after: after.into(),
            event,
        }
    }

    /// Something else in every field that can change.
    fn random(&mut self, mut payload: Payload) -> Payload {
        let deadline = self.moment();
        let rng = &mut self.maker.rng;
        payload.state = *rng.pick(&[
            State::Allocated { until: deadline },
            State::Active {
                expires_at: Some(deadline),
            },
            State::Active { expires_at: None },
            State::Deleting,
            State::Deleted,
            State::Aborted,
            State::Lost,
        ]);
        payload.size = rng.below(1 << 40);
        payload.committed_at = rng
            .one_in(2)
            .then(|| at(i64::try_from(rng.below(5_000)).expect("is small")));
        payload.policy.priority = *rng.pick(&Priority::ALL);
        payload.policy.spill_to = *rng.pick(&SpillTarget::ALL);
        payload.policy.rederivable = rng.one_in(2);
        payload.digest = rng.one_in(2).then(|| Digest::of(&rng.bits().to_le_bytes()));
        payload.labels = labels(&[("a", "1"), ("b", "2"), ("b/c", "3"), ("d", "4")]);
        payload.labels.retain(|_| rng.one_in(2));
        if let Some(label) = payload.labels.first_mut().filter(|_| rng.one_in(2)) {
            label.value = format!("{}", rng.below(100)).into();
        }
        payload.replicas.retain(|_| !rng.one_in(3));
        for replica in &mut payload.replicas {
            replica.state = *rng.pick(&ReplicaState::ALL);
            replica.charged = rng.below(1 << 30);
        }
        if self.maker.rng.one_in(2) {
            let replica = self.replica();
            payload.replicas.push(replica);
        }
        payload
    }

    /// Often in a container that others are in, sometimes of another node.
    fn replica(&mut self) -> Replica {
        let known = self.versions.iter().rev().take(20).flat_map(|row| &row.replicas);
        let shared: Vec<Location> = known.map(|replica| replica.location).collect();
        let offset = self.maker.rng.below(1 << 30);
        let location = match self.maker.rng.below(5) {
            0 => Location::Slab {
                slab: self.maker.segment(),
                offset,
            },
            1 => Location::Stage {
                stage: self.maker.segment(),
                offset: 4_096,
            },
            2 => Location::Pack {
                pack: self.maker.file(),
                offset,
            },
            _ if !shared.is_empty() => *self.maker.rng.pick(&shared),
            _ => Location::File(self.maker.file()),
        };
        let mut replica = self.maker.replica(ReplicaState::Ready, location, offset);
        if self.maker.rng.one_in(5) {
            replica.node = Maker::new(0).node;
        }
        replica
    }

    /// Mostly none; else of few names, so that they are moved often, and to what was just made or was there before.
    fn naming(&mut self, changes: &[Change]) -> Option<NameChange> {
        if !self.maker.rng.one_in(4) {
            return None;
        }
        let namespace = self.namespace();
        let made = changes.iter().map(|change| change.after.id);
        let known = self.versions.iter().rev().take(20).map(|row| row.id);
        let ids: Vec<PayloadId> = made.chain(known).collect();
        let now = self.now;
        let rng = &mut self.maker.rng;
        Some(NameChange {
            namespace,
            naming: Naming {
                name: label(rng.pick::<&str>(&["n", "n/a", "m"])),
                guard: match rng.below(3) {
                    0 => NameGuard::Free,
                    1 => NameGuard::PointsAt(*rng.pick(&ids)),
                    _ => NameGuard::Any,
                },
            },
            to: (!rng.one_in(4)).then(|| *rng.pick(&ids)),
            actor: Actor::from_stored("uid:7"),
            reason: rng.one_in(2).then(|| "ü".into()),
            at: at(now),
        })
    }

    fn read_name(&self, change: &NameChange) {
        let (namespace, name) = (&change.namespace, &change.naming.name);
        self.same("name", |repo| repo.name(namespace, name));
        self.same("name_history", |repo| repo.name_history(namespace, name, None, 3));
        self.same("names", |repo| repo.names(namespace, "n", None, 10));
        if let Some(payload) = change.to {
            self.same("names_of", |repo| repo.names_of(payload));
        }
    }

    /// None, a new one, or one that was used before.
    fn request(&mut self, changes: &[Change]) -> Option<RequestRecord> {
        let when = self.moment();
        match self.maker.rng.below(4) {
            0 => None,
            1 if !self.requests.is_empty() => Some(self.maker.rng.pick(&self.requests).clone()),
            _ => Some(RequestRecord {
                at: when,
                ..self.maker.request(&changes[0].after)
            }),
        }
    }

    /// One read of each kind, with random arguments.
    fn read(&mut self) {
        let (now, limit, after) = (self.moment(), self.limit(), self.position());
        let node = if self.maker.rng.one_in(4) {
            Maker::new(0).node
        } else {
            self.maker.node
        };
        match self.maker.rng.below(11) {
            0 => self.read_list(limit),
            1 => drop(self.same("resident", |repo| repo.resident(node, after, limit))),
            2 => drop(self.same("due", |repo| repo.due(node, now, limit))),
            3 => drop(self.same("next_deadline", |repo| repo.next_deadline(node))),
            4 => drop(self.same("usage", |repo| repo.usage(node))),
            5 => self.read_containers(),
            6 | 7 => self.read_lineage(limit),
            8 => self.read_log(),
            9 => self.read_streams(),
            _ => self.read_request(),
        }
    }

    fn read_containers(&mut self) {
        let replicas = self.versions.iter().flat_map(|row| &row.replicas);
        let mut containers: Vec<_> = replicas.map(|replica| replica.location.container()).collect();
        for _ in 0..containers.len().saturating_sub(20) {
            let any = self.maker.rng.below(containers.len() as u64);
            containers.swap_remove(usize::try_from(any).expect("an index fits"));
        }
        containers.push(Location::Segment(self.maker.segment()).container());
        self.same("containers_in_use", |repo| repo.containers_in_use(&containers));
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

    fn read_everything(&self) {
        let mut rows = Vec::new();
        for namespace in NAMESPACES.map(name) {
            let query = ListQuery::all(namespace, 1_000);
            rows.extend(self.same("list", |repo| read_all(repo, &query)));
        }
        for row in &rows {
            self.check_fold(row);
        }
        for node in [self.maker.node, Maker::new(0).node] {
            let usage = self.same("usage", |repo| repo.usage(node));
            assert_eq!(usage, summed(&rows, node), "I5: seed {}", self.seed);
            self.same("resident", |repo| repo.resident(node, None, u32::MAX));
            self.same("deletions", |repo| repo.deletions(node, None, u32::MAX));
            self.same("due", |repo| repo.due(node, Timestamp::from_micros(i64::MAX), u32::MAX));
        }
        for row in &rows {
            self.same("holds", |repo| repo.holds(row.id));
        }
        for id in self.streams.incarnations() {
            self.same("entries", |repo| repo.entries(id, Offset::ZERO, u32::MAX));
            self.same("groups", |repo| repo.groups(id));
        }
    }

    /// I6: what happened to a payload adds up to its row.
    fn check_fold(&self, row: &Payload) {
        let filter = LogFilter::payload(row.namespace.clone(), row.id);
        let events = log::read(self.subject.as_deref().expect("is open between steps"), &filter, 1_000);
        let folded = delta::fold(row.id, events.iter().map(|event| (event.version, &event.delta)));
        assert_eq!(folded.unwrap().as_ref(), Some(row), "I6: seed {}", self.seed);
    }

    fn read_log(&mut self) {
        let filter = LogFilter {
            namespace: self.namespace(),
            payload: self.position().filter(|_| self.step.is_multiple_of(2)),
            kinds: EventKind::ALL
                .into_iter()
                .filter(|_| self.maker.rng.one_in(4))
                .collect(),
        };
        let limit = *self.maker.rng.pick(&[1, 3, 10, 1_000]);
        self.same("log", |repo| Ok(placeless(log::read(repo, &filter, limit))));
    }

    /// Hardly ever the last one, which is so often without payloads.
    fn namespace(&mut self) -> Namespace {
        let usual = &NAMESPACES[..NAMESPACES.len() - usize::from(!self.maker.rng.one_in(20))];
        name(self.maker.rng.pick::<&str>(usual))
    }

    fn moment(&mut self) -> Timestamp {
        at(self.now + 100 - i64::try_from(self.maker.rng.below(200)).expect("is small"))
    }

    fn limit(&mut self) -> u32 {
        *self.maker.rng.pick(&[0, 1, 3, 10, 1_000])
    }

    fn position(&mut self) -> Option<PayloadId> {
        if self.versions.is_empty() || self.maker.rng.one_in(2) {
            return None;
        }
        Some(self.maker.rng.pick(&self.versions).id)
    }
}

/// Engines number their events as they like; the order is the same in all.
fn placeless(mut events: Vec<LoggedEvent>) -> Vec<LoggedEvent> {
    for event in &mut events {
        event.position = LogPosition::START;
    }
    events
}

const NAMESPACES: [&str; 4] = ["a", "a-b", "b", "rare"];
