//! The object tier by itself: what it puts into a bucket, and what it remembers of that over restarts.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use payload_core::port::{Ids, Left, ObjectStore, TierStore};
use payload_core::{Error, Namespace, Reason, Result, Span};
use payload_testkit::clock::{ManualClock, TestEntropy};
use payload_testkit::faulty::{FaultyBucket, MapBucket, Moment, Switch};
use payload_tier::{ObjectOptions, ObjectTier};
use tempfile::TempDir;

struct World {
    dir: TempDir,
    bucket: Arc<MapBucket>,
    clock: Arc<ManualClock>,
    switch: Arc<Switch>,
    url_term: Span,
}

impl World {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            bucket: Arc::default(),
            clock: Arc::default(),
            switch: Arc::default(),
            url_term: Span::ZERO,
        }
    }

    fn open(&self, seed: u64) -> ObjectTier {
        let options = ObjectOptions {
            capacity: 10_000,
            charged: 0,
            late: Span::from_secs(60),
            url_term: self.url_term,
        };
        let bucket = FaultyBucket::new(Arc::clone(&self.bucket) as _, Arc::clone(&self.switch));
        let ids = Ids::new(Arc::clone(&self.clock) as _, Arc::new(TestEntropy::new(seed)));
        ObjectTier::open(
            self.dir.path(),
            options,
            Arc::new(bucket),
            Arc::clone(&self.clock) as _,
            ids,
        )
        .unwrap()
    }
}

fn namespace() -> Namespace {
    Namespace::default()
}

#[test]
fn what_no_row_names_is_named_to_the_sweep_also_by_the_next_server() {
    let world = World::new();
    let tier = world.open(1);
    let first = tier.store(&namespace(), b"first").unwrap();
    assert_eq!(tier.sweepable().unwrap(), [], "a claim keeps the sweep from it");
    let refused = tier.drop_container(first.location.container()).unwrap_err();
    assert_eq!(refused.reason(), Reason::Conflict);
    drop(first.claim);
    assert_eq!(tier.sweepable().unwrap(), [first.location.container()]);
    drop(tier);
    let tier = world.open(2);
    assert_eq!(tier.sweepable().unwrap(), [first.location.container()]);
    tier.drop_container(first.location.container()).unwrap();
    assert_eq!(world.bucket.keys(), []);
    drop(tier);
    assert_eq!(world.open(3).sweepable().unwrap(), []);
}

#[test]
fn a_suspicion_that_comes_while_rows_are_asked_is_not_lost() {
    let world = World::new();
    let tier = world.open(1);
    let placed = tier.store(&namespace(), b"bytes").unwrap();
    let container = placed.location.container();
    drop(placed.claim);
    assert_eq!(tier.sweepable().unwrap(), [container]);
    // A row named it a moment ago; here it stops to.
    drop(tier.suspect(container, Left::Readers).unwrap());
    tier.trust(container).unwrap();
    assert_eq!(tier.sweepable().unwrap(), [container]);
    tier.trust(container).unwrap();
    assert_eq!(tier.sweepable().unwrap(), []);
}

#[test]
fn capacity_is_charged_refused_and_given_back() {
    let world = World::new();
    let tier = world.open(1);
    let placed = tier.store(&namespace(), &[7; 6_000]).unwrap();
    let full = tier.store(&namespace(), &[7; 6_000]).unwrap_err();
    assert_eq!((full.reason(), world.bucket.keys().len()), (Reason::TierFull, 1));
    tier.remove(&placed.location, placed.charged).unwrap();
    assert_eq!((tier.usage().used, world.bucket.keys().len()), (0, 0));
    tier.store(&namespace(), &[7; 6_000]).unwrap();
}

#[test]
fn fault_36_what_may_still_come_is_charged_and_removed_later() {
    let world = World::new();
    let tier = world.open(1);
    world.switch.fail_next("bucket.put", Moment::After);
    tier.store(&namespace(), &[7; 5_000]).unwrap_err();
    let usage = tier.usage();
    assert_eq!((usage.used, usage.zombie), (5_000, 5_000));
    assert_eq!(tier.sweepable().unwrap(), [], "it may come at any moment");
    world.clock.advance(Span::from_secs(60));
    let late = tier.sweepable().unwrap();
    assert_eq!(late.len(), 1);
    tier.drop_container(late[0]).unwrap();
    let usage = tier.usage();
    assert_eq!((usage.used, usage.zombie, world.bucket.keys().len()), (0, 0, 0));
}

#[test]
fn many_payloads_share_an_object_and_each_has_its_own_bytes() {
    let world = World::new();
    let tier = world.open(1);
    let contents = [vec![1; 100], vec![], vec![2; 1], vec![3; 3_000]];
    let bytes: Vec<&[u8]> = contents.iter().map(|content| &content[..]).collect();
    let placed: Result<Vec<_>> = tier.store_all(&namespace(), &bytes).into_iter().collect();
    let placed = placed.unwrap();
    assert_eq!(world.bucket.keys().len(), 1);
    for (placed, content) in placed.iter().zip(&contents) {
        let mut read = Vec::new();
        tier.read(&placed.location, content.len() as u64, &mut read).unwrap();
        assert_eq!(read, *content);
        tier.check(&placed.location, content.len() as u64).unwrap();
    }
    for placed in placed {
        tier.remove(&placed.location, placed.charged).unwrap();
    }
    assert_eq!(
        (tier.usage().used, world.bucket.keys().len()),
        (0, 1),
        "it goes with a sweep"
    );
    let empty = tier.sweepable().unwrap();
    tier.drop_container(empty[0]).unwrap();
    assert_eq!(world.bucket.list(None, 10).unwrap(), []);
}

#[test]
fn a_journal_that_cannot_be_written_stops_what_would_not_be_found_again() {
    let world = World::new();
    let tier = world.open(1);
    std::fs::remove_dir_all(world.dir.path()).unwrap();
    let refused: Error = tier.store(&namespace(), b"bytes").unwrap_err();
    assert_eq!(refused.reason(), Reason::TierUnavailable);
    assert_eq!(world.bucket.keys(), [], "nothing goes where nobody would look for it");
}

/// The rows' own words for it are the engine's to test; here a wait is kept, and kept over a restart.
#[test]
fn an_object_that_urls_may_be_out_for_is_left_alone_until_they_have_expired() {
    for (left, wait) in [(Left::Readers, 60), (Left::Writer, 60 + 3_600)] {
        let world = World {
            url_term: Span::from_secs(60),
            ..World::new()
        };
        let tier = world.open(1);
        let placed = tier.store(&namespace(), b"bytes").unwrap();
        let container = placed.location.container();
        drop(placed.claim);
        drop(tier.suspect(container, left).unwrap());
        tier.remove(&placed.location, placed.charged).unwrap();
        assert_eq!(world.bucket.keys().len(), 1, "whoever frees it waits for no bucket");
        // Whoever has heard of it before, and comes too early, takes no more than what nobody reads.
        tier.drop_container(container).unwrap();
        assert_eq!(world.bucket.keys().is_empty(), left == Left::Writer);
        assert_eq!(tier.sweepable().unwrap(), []);
        let usage = tier.usage();
        assert_eq!((usage.used, usage.zombie), (5, 5), "{left:?}");
        drop(tier);
        let tier = world.open(2);
        world.clock.advance(Span::from_secs(wait - 1));
        assert_eq!(tier.sweepable().unwrap(), [], "{left:?}");
        assert_eq!(tier.usage().waiting, 1, "somebody has to look again");
        world.clock.advance(Span::from_secs(1));
        assert_eq!(tier.sweepable().unwrap(), [container], "{left:?}");
        tier.drop_container(container).unwrap();
        assert_eq!(world.bucket.keys(), []);
    }
}

#[test]
fn what_was_never_anybodys_goes_at_once() {
    let world = World {
        url_term: Span::from_secs(60),
        ..World::new()
    };
    let tier = world.open(1);
    let placed = tier.reserve(&namespace(), 1_000, None).unwrap();
    assert_eq!(tier.usage().used, 1_000);
    tier.remove(&placed.location, placed.charged).unwrap();
    assert_eq!((tier.usage().used, tier.usage().zombie), (0, 0));
    let refused = tier.reserve(&namespace(), 10_001, None).unwrap_err();
    assert_eq!(refused.reason(), Reason::TierFull);
}

/// The row has not stopped to name it yet, so it does to whoever asks; what is suspected is not forgotten over that.
#[test]
fn nobody_comes_to_trust_an_object_while_a_row_is_about_to_do_without_it() {
    let world = World::new();
    let tier = world.open(1);
    let placed = tier.store(&namespace(), b"bytes").unwrap();
    let container = placed.location.container();
    drop(placed.claim);
    assert_eq!(tier.sweepable().unwrap(), [container]);
    tier.trust(container).unwrap();
    let claim = tier.suspect(container, Left::Readers).unwrap();
    assert_eq!(tier.sweepable().unwrap(), []);
    tier.trust(container).unwrap();
    drop(claim);
    assert_eq!(tier.sweepable().unwrap(), [container]);
}

/// The catalog may have forgotten the allocation with the host, but the URL is out.
#[test]
fn what_somebody_else_was_to_store_is_left_alone_by_a_later_start() {
    let world = World {
        url_term: Span::from_secs(60),
        ..World::new()
    };
    let placed = world.open(1).reserve(&namespace(), 1_000, None).unwrap();
    let container = placed.location.container();
    drop(placed.claim);
    let tier = world.open(2);
    assert_eq!(tier.sweepable().unwrap(), []);
    world.clock.advance(Span::from_secs(60 + 3_600));
    assert_eq!(tier.sweepable().unwrap(), [container]);
}

/// It was committed: then nobody but readers is waited for, also by a later start.
#[test]
fn what_somebody_else_has_stored_goes_as_soon_as_its_readers_urls_have_expired() {
    let world = World {
        url_term: Span::from_secs(60),
        ..World::new()
    };
    let tier = world.open(1);
    let placed = tier.reserve(&namespace(), 1_000, None).unwrap();
    let container = placed.location.container();
    drop(placed.claim);
    drop(tier.suspect(container, Left::Readers).unwrap());
    drop(tier);
    let tier = world.open(2);
    assert_eq!(tier.sweepable().unwrap(), []);
    world.clock.advance(Span::from_secs(60));
    assert_eq!(tier.sweepable().unwrap(), [container]);
}
