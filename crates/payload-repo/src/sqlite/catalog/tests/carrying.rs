//! What commits carry: it stays in the journal until it is in its place, and comes back from there.

use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use payload_core::port::Repository;
use payload_core::{Carried, Error, Location, ReplicaState};
use payload_testkit::repository::sample::{Maker, at, changed, created, edited, set};

use super::*;

/// A catalog with a small journal, without threads: whoever drops it stops as if killed.
struct Carrier {
    directory: tempfile::TempDir,
    catalog: Catalog,
    claim: Claim,
    maker: Maker,
    clock: Arc<ManualClock>,
    settled: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

/// Opens the catalog again; what had to be put back.
fn open_again(directory: &tempfile::TempDir) -> (Catalog, Vec<Carried>) {
    let found = Mutex::new(Vec::new());
    let put_back = |contents: &[Carried]| {
        found.lock().extend_from_slice(contents);
        Ok(())
    };
    let catalog = open_small(directory, &put_back).unwrap();
    (catalog, found.into_inner())
}

fn open_small(directory: &tempfile::TempDir, put_back: PutBack<'_>) -> Result<Catalog> {
    open_with(directory, Arc::new(ManualClock::default()), put_back)
}

fn open_with(directory: &tempfile::TempDir, clock: Arc<ManualClock>, put_back: PutBack<'_>) -> Result<Catalog> {
    let options = SqliteOptions {
        journal_half: 16 << 10,
        ..SqliteOptions::default()
    };
    let path = directory.path().join("catalog.db");
    Catalog::open(&path, &options, clock, Arc::new(()), put_back)
}

impl Carrier {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::<ManualClock>::default();
        let catalog = open_with(&directory, Arc::clone(&clock), &|_| Ok(())).unwrap();
        let maker = Maker::new(92);
        let claim = (maker.node, catalog.claim(maker.node, at(0)).unwrap());
        let (settled, broken) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counts, fails) = (Arc::clone(&settled), Arc::clone(&broken));
        catalog.carry(Arc::new(move || {
            counts.fetch_add(1, Ordering::Relaxed);
            match fails.load(Ordering::Relaxed) {
                false => Ok(()),
                true => Err(Error::new(Reason::TierUnavailable, "cannot sync the pack")),
            }
        }));
        Self {
            directory,
            catalog,
            claim,
            maker,
            clock,
            settled,
            broken,
        }
    }

    /// A set of class `host` with a content that is like no other.
    fn set(&mut self) -> ChangeSet {
        let location = Location::Pack {
            pack: self.maker.file(),
            offset: 64,
        };
        let payload = Payload {
            replicas: vec![self.maker.replica(ReplicaState::Ready, location, 64)],
            ..self.maker.allocated()
        };
        let carried = Carried {
            payload: payload.id,
            location,
            content: Bytes::from(payload.id.to_string().repeat(20)),
        };
        host(ChangeSet {
            contents: vec![carried],
            ..set([created(&payload)])
        })
    }

    /// Commits through the journal; what was carried, or nothing if it was full.
    fn commit(&mut self) -> Option<Carried> {
        let set = self.set();
        let carried = set.contents[0].clone();
        match self.catalog.offer(self.claim, set) {
            Ok(Offer::Written(written)) => {
                self.catalog.make_durable(&written.entry).unwrap();
                Some(carried)
            }
            Ok(Offer::Direct(set)) => {
                assert_eq!(set.contents, [carried], "it is still with the set");
                None
            }
            _ => panic!("a new payload is for the journal or for the tables"),
        }
    }

    fn fill(&mut self) -> Vec<Carried> {
        std::iter::from_fn(|| self.commit()).collect()
    }

    fn settled(&self) -> usize {
        self.settled.load(Ordering::Relaxed)
    }

    fn killed(self) -> (tempfile::TempDir, Vec<Carried>) {
        let Self { directory, catalog, .. } = self;
        drop(catalog);
        let (again, found) = open_again(&directory);
        drop(again);
        (directory, found)
    }
}

#[test]
fn contents_come_back_once_whether_the_tables_hold_their_rows_or_not() {
    let mut world = Carrier::new();
    let mut carried = vec![world.commit().unwrap(), world.commit().unwrap()];
    assert!(matches!(world.catalog.apply_some(), Progress::Done));
    carried.push(world.commit().unwrap());
    assert_eq!(world.settled(), 0, "nobody had to");

    let (directory, found) = world.killed();
    assert_eq!(found, carried);
    assert_eq!(open_again(&directory).1, []);
}

#[test]
fn contents_that_cannot_be_put_back_are_kept_for_the_next_attempt() {
    let mut world = Carrier::new();
    let carried = world.commit().unwrap();
    let Carrier { directory, catalog, .. } = world;
    drop(catalog);
    let refused = |_: &[Carried]| Err(Error::new(Reason::TierFull, "the disk is full"));
    let error = open_small(&directory, &refused).map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::RepositoryUnavailable);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("the disk is full"), "{source}");
    assert_eq!(open_again(&directory).1, [carried]);
}

#[test]
fn contents_that_no_row_names_any_more_are_not_put_back() {
    let mut world = Carrier::new();
    let first = world.set();
    let row = Payload::clone(&first.changes[0].after);
    let Ok(Offer::Written(written)) = world.catalog.offer(world.claim, first) else {
        panic!("a new payload is for the journal")
    };
    world.catalog.make_durable(&written.entry).unwrap();
    let kept = world.commit().unwrap();
    let moved = edited(&row, |after| after.replicas.clear());
    let offered = world.catalog.offer(world.claim, host(set([changed(&row, &moved)])));
    assert!(matches!(offered, Ok(Offer::Written(_))));
    assert_eq!(world.killed().1, [kept]);
}

#[test]
fn contents_are_settled_before_the_kernel_would_get_round_to_it() {
    let mut world = Carrier::new();
    assert_eq!(world.catalog.settle_some(), None);
    world.commit().unwrap();
    assert_eq!(world.catalog.settle_some(), Some(SETTLE_WITHIN));
    world.clock.advance(Span::from_millis(400));
    world.commit().unwrap();
    assert_eq!(world.catalog.settle_some(), Some(Span::from_millis(600)));
    assert_eq!(world.settled(), 0);
    world.clock.advance(Span::from_millis(600));
    assert_eq!(world.catalog.settle_some(), None);
    assert_eq!(world.settled(), 1);
    assert_eq!(world.catalog.settle_some(), None);
    assert_eq!(world.settled(), 1, "there is nothing new");
}

#[test]
fn nobody_carries_anything_that_nobody_settles() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.db");
    let clock = Arc::new(ManualClock::default());
    let options = SqliteOptions::default();
    let repo = crate::SqliteRepository::open(&path, options, clock, Arc::new(()), &|_| Ok(())).unwrap();
    let mut world = Carrier::new();
    repo.claim(world.maker.node, at(0)).unwrap();
    assert_eq!(repo.commit(world.set()).unwrap_err().reason(), Reason::Internal);
    assert_eq!(repo.carry(Arc::new(|| Ok(()))), options.carried_max);
    repo.commit(world.set()).unwrap();
}

#[test]
fn a_half_is_not_used_again_before_its_contents_are_settled() {
    let mut world = Carrier::new();
    let first = world.fill();
    assert_eq!(world.settled(), 0);
    assert!(matches!(world.catalog.apply_some(), Progress::Done));
    assert_eq!(world.settled(), 1);
    let second = world.fill();
    assert!(second.len() >= first.len() / 2, "a half is free");

    let (_, found) = world.killed();
    for carried in second {
        assert!(found.contains(&carried));
    }
}

#[test]
fn fault_11_contents_that_cannot_be_settled_end_all_writing_and_are_not_forgotten() {
    let mut world = Carrier::new();
    let carried = world.fill();
    world.broken.store(true, Ordering::Relaxed);
    assert!(matches!(world.catalog.apply_some(), Progress::Ended));
    let set = world.set();
    assert!(world.catalog.offer(world.claim, set).is_err());
    assert_eq!(world.killed().1, carried);
}

#[test]
fn the_tables_take_a_set_when_its_contents_are_settled() {
    let mut world = Carrier::new();
    let (first, second) = (world.set(), world.set());
    let directly = |set| world.catalog.commit_directly(world.claim, set, &Listener::default());
    assert_eq!(directly(first).unwrap(), CommitOutcome::Applied);
    assert_eq!(world.settled(), 1);
    world.broken.store(true, Ordering::Relaxed);
    let id = second.changes[0].after.id;
    assert!(directly(second).is_err());
    let row = world.catalog.read(|conn| crate::sqlite::read::payload(conn, id));
    assert!(row.unwrap().is_none());
}

#[test]
fn a_stop_leaves_nothing_to_be_put_back() {
    let mut world = Carrier::new();
    world.commit().unwrap();
    assert!(matches!(world.catalog.apply_some(), Progress::Done));
    world.catalog.finish();
    assert_eq!(world.settled(), 1);
    let (directory, found) = world.killed();
    assert_eq!(found, []);
    // And with threads.
    let options = SqliteOptions::default();
    let path = directory.path().join("catalog.db");
    let open = |put_back: PutBack<'_>| {
        let clock = Arc::new(ManualClock::default());
        crate::SqliteRepository::open(&path, options, clock, Arc::new(()), put_back).unwrap()
    };
    let repo = open(&|_| Ok(()));
    let mut world = Carrier::new();
    repo.claim(world.maker.node, at(0)).unwrap();
    repo.carry(Arc::new(|| Ok(())));
    repo.commit(world.set()).unwrap();
    drop(repo);
    drop(open(&|contents| panic!("{} were left", contents.len())));
}
