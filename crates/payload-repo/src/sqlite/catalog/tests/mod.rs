//! Between a write to the journal and its sync: step by step, without the threads that would go on by themselves.

mod carrying;

use payload_core::stream::rules::StreamRows;
use payload_core::stream::{
    Append, Appended, EntryDraft, Offset, StreamChange, StreamRef, StreamRefusal, StreamSettings,
};
use payload_core::{Namespace, Payload, PayloadId, Reason, State, StreamId};
use payload_testkit::clock::ManualClock;
use payload_testkit::repository::sample::{Maker, at, created, set};

use super::*;
use crate::sqlite::streams;

/// A catalog with two payloads that are active, a stream, and nothing pending.
struct World {
    directory: tempfile::TempDir,
    catalog: Catalog,
    claim: Claim,
    payloads: [PayloadId; 2],
    stream: StreamId,
}

fn the_stream() -> StreamRef {
    StreamRef {
        namespace: Namespace::default(),
        name: "frames".parse().unwrap(),
        incarnation: None,
    }
}

fn open(directory: &tempfile::TempDir) -> Result<Catalog> {
    let path = directory.path().join("catalog.db");
    let clock = Arc::new(ManualClock::default());
    Catalog::open(&path, &SqliteOptions::default(), clock, Arc::new(()), &|_| Ok(()))
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let catalog = open(&directory).unwrap();
        let mut maker = Maker::new(91);
        let claim = (maker.node, catalog.claim(maker.node, at(0)).unwrap());
        let stream = maker.stream();
        let payloads = [maker.allocated(), maker.allocated()].map(|allocated| Payload {
            state: State::Active { expires_at: None },
            ..allocated
        });
        let named = the_stream();
        let create = StreamChange::Create {
            id: stream,
            namespace: named.namespace,
            name: named.name,
            settings: StreamSettings::default(),
            at: at(0),
        };
        let world = Self {
            payloads: payloads.each_ref().map(|payload| payload.id),
            directory,
            catalog,
            claim,
            stream,
        };
        let first = host(ChangeSet {
            streams: vec![create],
            ..set(payloads.each_ref().map(created))
        });
        assert_eq!(world.directly(first), Ok(CommitOutcome::Applied));
        world
    }

    fn append(&self, payload: PayloadId, expected: Option<u64>) -> ChangeSet {
        let draft = EntryDraft {
            payload,
            tags: Vec::new(),
        };
        let append = Append {
            stream: the_stream(),
            entries: vec![draft],
            expected: expected.map(Offset::from_u64),
            producer: None,
            at: at(1),
        };
        host(ChangeSet {
            streams: vec![StreamChange::Append(append)],
            ..set([])
        })
    }

    fn at(&self, offset: u64) -> CommitOutcome {
        CommitOutcome::Appended(Appended {
            stream: self.stream,
            first: Offset::from_u64(offset),
        })
    }

    /// Writes an append to the journal, and does not sync it.
    fn write(&self) -> Arc<Pending> {
        self.write_of(self.payloads[0])
    }

    fn write_of(&self, payload: PayloadId) -> Arc<Pending> {
        match self.catalog.offer(self.claim, self.append(payload, None)) {
            Ok(Offer::Written(written)) => written.entry,
            _ => panic!("an append is for the journal"),
        }
    }

    fn directly(&self, set: ChangeSet) -> Result<CommitOutcome, Reason> {
        let outcome = self.catalog.commit_directly(self.claim, set, &Listener::default());
        outcome.map_err(|fault| self.catalog.error(fault).reason())
    }

    /// Where readers see the stream end, as the journal alone has it.
    fn pending_head(&self) -> Option<u64> {
        let stream = self.catalog.journal.stream(self.stream)?;
        Some(stream.head.as_u64())
    }

    fn visible(&self) -> usize {
        self.catalog.journal.tail(self.stream, Offset::ZERO, 100).entries.len()
    }
}

fn host(set: ChangeSet) -> ChangeSet {
    ChangeSet {
        durability: Durability::Host,
        ..set
    }
}

fn head_in_tables(catalog: &Catalog) -> u64 {
    let named = the_stream();
    let row = catalog.read(|conn| streams::Rows(conn).stream_named(&named.namespace, &named.name));
    row.unwrap().unwrap().head.as_u64()
}

#[test]
fn an_entry_is_seen_when_it_is_on_the_disk_and_not_before() {
    let world = World::new();
    let entry = world.write();
    assert_eq!((world.pending_head(), world.visible()), (None, 0));
    let at_hand = world.catalog.journal.at_hand(world.stream, Offset::ZERO, 9);
    assert!(at_hand.is_none());

    // What follows from it is answered after it.
    let refused = CommitOutcome::StreamRefused(StreamRefusal::OffsetUnexpected(Offset::from_u64(1)));
    match world
        .catalog
        .offer(world.claim, world.append(world.payloads[0], Some(0)))
    {
        Ok(Offer::Decided(outcome, Some(from))) => {
            assert_eq!(outcome, refused);
            assert!(Arc::ptr_eq(&from, &entry));
        }
        _ => panic!("the answer waits for the entry that it follows from"),
    }

    world.catalog.make_durable(&entry).unwrap();
    assert_eq!((world.pending_head(), world.visible()), (Some(1), 1));
}

#[test]
fn what_is_on_the_disk_already_waits_for_nobody_elses_sync() {
    let mut world = World::new();
    let first = world.write();
    world.catalog.make_durable(&first).unwrap();
    world.write();
    world.catalog.journal.break_syncs();
    world.catalog.wait_for(&first).unwrap();
}

#[test]
fn fault_12_after_a_failed_sync_nothing_goes_past_what_was_acknowledged() {
    let mut world = World::new();
    let acknowledged = world.write();
    world.catalog.make_durable(&acknowledged).unwrap();
    assert_eq!(acknowledged.outcome(), world.at(0));
    let lost = world.write_of(world.payloads[1]);
    world.catalog.journal.break_syncs();
    // The moment between the failure and the end of all writing.
    assert!(world.catalog.journal.sync(&lost, |_| ()).is_err());

    assert_eq!(world.pending_head(), Some(1), "of what failed nothing is left");
    let holds = world.payloads.map(|payload| world.catalog.journal.holds(payload));
    assert_eq!(holds, [Some(1), None]);
    assert!(world.catalog.settle().is_err());
    assert_eq!(
        world.directly(world.append(world.payloads[0], None)),
        Err(Reason::RepositoryUnavailable)
    );
    assert_eq!(head_in_tables(&world.catalog), 0, "the tables have neither");

    let World { directory, catalog, .. } = world;
    drop(catalog);
    assert!((1..=2).contains(&head_in_tables(&open(&directory).unwrap())));
}

#[test]
fn an_entry_that_would_come_elsewhere_than_was_said_is_not_recovered() {
    let world = World::new();
    let entry = world.write();
    world.catalog.make_durable(&entry).unwrap();
    let World { directory, catalog, .. } = world;
    drop(catalog);
    let tables = Connection::open(directory.path().join("catalog.db")).unwrap();
    tables.execute("UPDATE streams SET head = 1", []).unwrap();
    drop(tables);
    assert_eq!(
        open(&directory).map(drop).unwrap_err().reason(),
        Reason::RepositoryCorrupt
    );
}
