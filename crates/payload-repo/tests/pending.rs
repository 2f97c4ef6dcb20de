//! Streams between the acknowledgement and the tables: what only the journal has is what everybody sees.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::path::Path;

use payload_core::port::{Repository, StreamReader};
use payload_core::stream::{
    Append, Appended, EntryDraft, GroupJoin, Offset, OffsetCommit, ProducerBatch, StreamChange, StreamRef,
    StreamRefusal, StreamSettings, tags,
};
use payload_core::{
    ChangeSet, CommitOutcome, Durability, Namespace, Payload, PayloadId, RequestRecord, Span, State, StateKind,
    StreamId,
};
use payload_repo::{SqliteOptions, SqliteRepository};
use payload_testkit::repository::sample::{Maker, at, changed, created, edited, set};

/// A catalog with a stream, whose tables take nothing while the intruder is there.
struct World {
    repo: SqliteRepository,
    maker: Maker,
    stream: StreamId,
    intruder: rusqlite::Connection,
}

fn the_stream() -> StreamRef {
    StreamRef {
        namespace: Namespace::default(),
        name: "frames".parse().unwrap(),
        incarnation: None,
    }
}

impl World {
    fn new(path: &Path) -> Self {
        let options = SqliteOptions {
            busy_timeout: Span::from_secs(600),
            ..SqliteOptions::default()
        };
        let repo = support::open_with(path, options).unwrap();
        let mut maker = Maker::new(1);
        repo.claim(maker.node, at(0)).unwrap();
        let stream = maker.stream();
        let named = the_stream();
        let create = StreamChange::Create {
            id: stream,
            namespace: named.namespace,
            name: named.name,
            settings: StreamSettings::default(),
            at: at(0),
        };
        assert_eq!(commit(&repo, set([]), [create]), CommitOutcome::Applied);
        Self {
            repo,
            maker,
            stream,
            intruder: rusqlite::Connection::open(path).unwrap(),
        }
    }

    /// From now on the tables stay as they are.
    fn stop_the_tables(&self) {
        self.intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
    }

    fn let_the_tables_go_on(&self) {
        self.intruder.execute_batch("ROLLBACK").unwrap();
    }

    fn active(&mut self) -> Payload {
        Payload {
            state: State::Active { expires_at: None },
            ..self.maker.allocated()
        }
    }

    fn entries(&self, from: u64, limit: u32) -> Vec<(u64, PayloadId, Option<StateKind>)> {
        let found = self.repo.entries(self.stream, Offset::from_u64(from), limit).unwrap();
        let seen = |read: payload_core::stream::EntryRead| (read.entry.offset.as_u64(), read.entry.payload, read.state);
        found.into_iter().map(seen).collect()
    }

    fn head(&self) -> u64 {
        self.repo.incarnation(self.stream).unwrap().unwrap().head.as_u64()
    }
}

fn commit(repo: &dyn Repository, set: ChangeSet, streams: impl IntoIterator<Item = StreamChange>) -> CommitOutcome {
    let set = ChangeSet {
        streams: streams.into_iter().collect(),
        durability: Durability::Host,
        ..set
    };
    repo.commit(set).unwrap()
}

fn append(payloads: &[PayloadId]) -> Append {
    let draft = |payload: &PayloadId| EntryDraft {
        payload: *payload,
        tags: tags(["left"]).unwrap(),
    };
    Append {
        stream: the_stream(),
        entries: payloads.iter().map(draft).collect(),
        expected: None,
        producer: None,
        at: at(5),
    }
}

#[test]
fn what_only_the_journal_has_is_read_together_with_what_the_tables_have() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let mut world = World::new(&path);
    let (old, new) = (world.active(), world.active());
    commit(
        &world.repo,
        set([created(&old)]),
        [StreamChange::Append(append(&[old.id; 3]))],
    );
    // What reads the tables brings them up to date.
    assert_eq!(world.repo.groups(world.stream).unwrap(), []);
    world.stop_the_tables();

    let publish = [StreamChange::Append(append(&[new.id, old.id]))];
    let place = Appended {
        stream: world.stream,
        first: Offset::from_u64(3),
    };
    let outcome = commit(&world.repo, set([created(&new)]), publish);
    assert_eq!(outcome, CommitOutcome::Appended(place));
    let named = the_stream();
    let by_name = world.repo.stream(&named.namespace, &named.name).unwrap().unwrap();
    assert_eq!((world.head(), by_name.head.as_u64()), (5, 5));
    assert_eq!(world.repo.holds(old.id).unwrap(), 4);
    assert_eq!(world.repo.holds(new.id).unwrap(), 1);
    // The state of a payload is the newest, whichever of the two has its entry.
    let ended = edited(&old, |after| after.state = State::Deleting);
    commit(&world.repo, set([changed(&old, &ended)]), []);
    let (active, deleting) = (Some(StateKind::Active), Some(StateKind::Deleting));
    let all = [
        (0, old.id, deleting),
        (1, old.id, deleting),
        (2, old.id, deleting),
        (3, new.id, active),
        (4, old.id, deleting),
    ];
    for from in 0..=5 {
        for limit in 0..=6 {
            let expected: Vec<_> = all[from..].iter().copied().take(limit).collect();
            assert_eq!(
                world.entries(from as u64, limit as u32),
                expected,
                "from {from}, at most {limit}"
            );
        }
    }

    world.let_the_tables_go_on();
    assert_eq!(world.repo.groups(world.stream).unwrap(), []);
    assert_eq!(world.entries(0, 100), all);
    drop(world.repo);
    let repo = support::open(&path);
    assert_eq!(repo.incarnation(world.stream).unwrap().unwrap().head.as_u64(), 5);
    assert_eq!(repo.holds(old.id).unwrap(), 4);
}

#[test]
fn fault_40_a_batch_is_known_again_before_the_tables_know_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(&dir.path().join("catalog.db"));
    let payload = world.active();
    commit(&world.repo, set([created(&payload)]), []);
    world.stop_the_tables();
    let batch = |epoch, sequence| {
        StreamChange::Append(Append {
            producer: Some(ProducerBatch {
                name: "camera".parse().unwrap(),
                epoch,
                sequence,
            }),
            ..append(&[payload.id; 2])
        })
    };
    let first = commit(&world.repo, set([]), [batch(1, 0)]);
    assert_eq!(commit(&world.repo, set([]), [batch(1, 0)]), first);
    assert_eq!(world.head(), 2);
    let gap = CommitOutcome::StreamRefused(StreamRefusal::SequenceGap(2));
    assert_eq!(commit(&world.repo, set([]), [batch(1, 4)]), gap);
    assert!(commit(&world.repo, set([]), [batch(2, 0)]).is_applied());
    let fenced = CommitOutcome::StreamRefused(StreamRefusal::ProducerFenced(2));
    assert_eq!(commit(&world.repo, set([]), [batch(1, 2)]), fenced);
    let producer = world.repo.producer(world.stream, &"camera".parse().unwrap()).unwrap();
    assert_eq!(
        producer.map(|producer| (producer.epoch, producer.next_sequence)),
        Some((2, 2))
    );

    let request = RequestRecord {
        appended: None,
        ..world.maker.request(&payload)
    };
    let asked = || ChangeSet {
        request: Some(request.clone()),
        ..set([])
    };
    let place = commit(&world.repo, asked(), [StreamChange::Append(append(&[payload.id]))]);
    let again = commit(&world.repo, asked(), [StreamChange::Append(append(&[payload.id]))]);
    let known = RequestRecord {
        appended: place.appended(),
        ..request.clone()
    };
    assert_eq!(again, CommitOutcome::Duplicate(known.clone()));
    let find = || {
        world
            .repo
            .find_request(&request.principal, &request.request_id)
            .unwrap()
    };
    assert_eq!(find(), Some(known.clone()));
    world.let_the_tables_go_on();
    world.repo.groups(world.stream).unwrap();
    assert_eq!(find(), Some(known));
    assert_eq!(world.head(), 5);
}

#[test]
fn fault_41_a_group_is_fenced_before_the_tables_know_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(&dir.path().join("catalog.db"));
    let payload = world.active();
    commit(&world.repo, set([created(&payload)]), []);
    world.stop_the_tables();
    commit(&world.repo, set([]), [StreamChange::Append(append(&[payload.id; 9]))]);
    let join = |generation| {
        StreamChange::Join(GroupJoin {
            stream: the_stream(),
            group: "readers".parse().unwrap(),
            start: Offset::from_u64(1),
            generation,
            at: at(6),
        })
    };
    let progress = |generation, offset| {
        StreamChange::CommitOffset(OffsetCommit {
            stream: the_stream(),
            group: "readers".parse().unwrap(),
            offset: Offset::from_u64(offset),
            expected: None,
            generation: Some(generation),
            at: at(7),
        })
    };
    assert!(commit(&world.repo, set([]), [join(1)]).is_applied());
    assert!(commit(&world.repo, set([]), [progress(1, 4)]).is_applied());
    assert!(commit(&world.repo, set([]), [join(2)]).is_applied());
    let fenced = CommitOutcome::StreamRefused(StreamRefusal::GroupFenced(2));
    assert_eq!(commit(&world.repo, set([]), [progress(1, 9)]), fenced);
    let group = || {
        world
            .repo
            .group(world.stream, &"readers".parse().unwrap())
            .unwrap()
            .unwrap()
    };
    assert_eq!((group().offset.as_u64(), group().generation), (4, 2));
    world.let_the_tables_go_on();
    assert_eq!(world.repo.groups(world.stream).unwrap(), [group()]);
}

#[test]
fn a_payload_that_a_pending_entry_holds_is_not_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(&dir.path().join("catalog.db"));
    let payload = world.active();
    commit(&world.repo, set([created(&payload)]), []);
    world.stop_the_tables();
    commit(&world.repo, set([]), [StreamChange::Append(append(&[payload.id]))]);
    let ended = edited(&payload, |after| after.state = State::Deleting);
    let give_up = || set([changed(&payload, &ended)]);
    let held = CommitOutcome::StreamRefused(StreamRefusal::PayloadHeld(payload.id));
    assert_eq!(commit(&world.repo, give_up(), [StreamChange::Unheld(payload.id)]), held);
    world.let_the_tables_go_on();
    assert_eq!(commit(&world.repo, give_up(), [StreamChange::Unheld(payload.id)]), held);
}
