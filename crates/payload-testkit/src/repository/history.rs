//! I9: one random history gives the same answers from every engine.
//!
//! One seed decides every operation and every argument. All engines do each operation before the next one comes, and all
//! their answers are compared, those of reads and those of writes, refusals too.

mod changes;
mod lineage;
mod listing;
mod names;
mod reads;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;

use payload_core::port::Repository;
use payload_core::{ChangeSet, Durability, LogFilter, LogPosition, Namespace, Payload, Reason, RequestRecord};

use self::reads::placeless;
use super::namespaces::namespace;
use super::sample::{Maker, at};
use super::stream_history::Streams;
use super::{Open, log};

/// Drives all engines through a random history, until each has answered `operations` times. The first says what is right.
/// Every so often one of the others is closed and opened again. A failure names the seed, which repeats it.
pub fn compare(seed: u64, operations: usize, engines: &[(&'static str, Open<'_>)]) {
    let mut history = History::new(seed, engines);
    while history.operations.get() < operations {
        match history.maker.rng.below(400) {
            0 => history.reopen(),
            1..=10 => history.forget(),
            11..=30 => history.change_namespace(),
            31..=320 => history.commit(),
            _ => {}
        }
        history.read();
    }
    history.read_everything();
}

struct History<'a> {
    seed: u64,
    /// How often each engine was asked.
    operations: Cell<usize>,
    maker: Maker,
    lanes: Vec<Lane<'a>>,
    /// Every version of every payload that was applied, newest last.
    versions: Vec<Payload>,
    requests: Vec<RequestRecord>,
    streams: Streams,
    now: i64,
}

/// One of the engines.
struct Lane<'a> {
    name: &'static str,
    open: Open<'a>,
    repo: Option<Box<dyn Repository>>,
    /// How far each log was followed, in the engine's own terms.
    read_through: BTreeMap<Namespace, LogPosition>,
}

impl Lane<'_> {
    fn repo(&self) -> &dyn Repository {
        self.repo.as_deref().expect("is open between operations")
    }
}

impl<'a> History<'a> {
    fn new(seed: u64, engines: &[(&'static str, Open<'a>)]) -> Self {
        let lanes = engines.iter().map(|(name, open)| Lane {
            name,
            open: *open,
            repo: Some(open()),
            read_through: BTreeMap::new(),
        });
        let history = Self {
            seed,
            operations: Cell::new(0),
            maker: Maker::new(seed),
            lanes: lanes.collect(),
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

    /// The answers of all must be the same, and none of them a refusal.
    fn same<T: PartialEq + Debug>(&self, what: &str, ask: impl Fn(&dyn Repository) -> payload_core::Result<T>) -> T {
        let found = self.alike(what, ask);
        found.unwrap_or_else(|reason| panic!("{what}: {reason:?}: seed {}", self.seed))
    }

    /// The answers of all must be the same; errors by their reasons.
    fn alike<T: PartialEq + Debug>(
        &self,
        what: &str,
        ask: impl Fn(&dyn Repository) -> payload_core::Result<T>,
    ) -> Result<T, Reason> {
        let answer = |lane: &Lane<'_>| (lane.name, ask(lane.repo()).map_err(|error| error.reason()));
        self.agree(what, self.lanes.iter().map(answer).collect())
    }

    /// What all engines say, each by its name.
    fn agree<T: PartialEq + Debug>(&self, what: &str, mut answers: Vec<(&'static str, T)>) -> T {
        let number = self.operations.get();
        self.operations.set(number + 1);
        let (_, expected) = answers.remove(0);
        for (name, found) in answers {
            assert_eq!(
                expected, found,
                "{name}: {what}: seed {}, operation {number}",
                self.seed
            );
        }
        expected
    }

    fn claim(&self) {
        self.same("claim", |repo| repo.claim(self.maker.node, at(self.now)));
    }

    fn reopen(&mut self) {
        let others = self.lanes.len() as u64 - 1;
        let number = usize::try_from(1 + self.maker.rng.below(others)).expect("is small");
        let lane = &mut self.lanes[number];
        lane.repo = None;
        lane.repo = Some((lane.open)());
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
        let streams = self.streams.changes(&mut self.maker, &changes, self.now);
        // What happens to streams is mostly to last, and often comes by itself or with payloads alone.
        let synced = self.maker.rng.one_in(if streams.is_empty() { 64 } else { 2 });
        let set = match streams.is_empty() {
            false if self.maker.rng.one_in(2) => ChangeSet::new(Vec::new(), Durability::Volatile),
            false if self.maker.rng.one_in(2) => ChangeSet::new(changes, Durability::Volatile),
            _ => ChangeSet {
                name: self.naming(&changes),
                edges: self.edges(&changes),
                without_dependents: self.maker.rng.one_in(8).then(|| changes[0].after.id),
                ..ChangeSet::new(changes, Durability::Volatile)
            },
        };
        let set = ChangeSet {
            streams,
            request,
            ..set
        };
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
}

const NAMESPACES: [&str; 4] = ["a", "a-b", "b", "rare"];
