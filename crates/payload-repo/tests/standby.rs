//! What a standby that takes over has missed, and who finds out.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::Arc;

use payload_core::port::Repository;
use payload_core::{ChangeSet, CommitOutcome, Durability, Payload, Reason};
use payload_repo::{Database, PostgresOptions, PostgresRepository};
use payload_testkit::clock::ManualClock;
use payload_testkit::process::{Postgres, until};
use payload_testkit::repository::sample::{Maker, at, created, set};
use rustix::process::Signal;

use support::Recorder;

mod support;

/// Whichever of two servers takes writes.
fn either(one: &Postgres, other: &Postgres) -> String {
    let (url, other) = (one.url(), other.url());
    let (place, database) = url.rsplit_once('/').unwrap();
    let other = other.split_once('@').unwrap().1.rsplit_once('/').unwrap().0;
    format!("{place},{other}/{database}?target_session_attrs=read-write")
}

fn open(url: &str, recorder: &Arc<Recorder>) -> payload_core::Result<PostgresRepository> {
    let database = Database::parse(url, None).unwrap();
    let clock = Arc::new(ManualClock::default());
    PostgresRepository::open(&database, PostgresOptions::default(), clock, Arc::clone(recorder) as _)
}

fn quietly(url: &str) -> PostgresRepository {
    open(url, &Arc::default()).unwrap()
}

fn safely(payload: &Payload) -> ChangeSet {
    ChangeSet {
        durability: Durability::Host,
        ..set([created(payload)])
    }
}

/// Waits until the standby has done what the primary has.
fn caught_up(primary: &Postgres, standby: &Postgres) {
    let done = primary.psql("SELECT pg_current_wal_flush_lsn()");
    until("the standby to catch up", || {
        (standby.psql(&format!("SELECT pg_last_wal_replay_lsn() >= '{done}'")) == "t").then_some(())
    });
}

/// From now on the standby hears nothing.
fn deafen(standby: &Postgres) {
    standby.psql("ALTER SYSTEM SET primary_conninfo = ''");
    standby.psql("SELECT pg_reload_conf()");
    until("the standby to hear nothing", || {
        (standby.psql("SELECT count(*) FROM pg_stat_wal_receiver") == "0").then_some(())
    });
}

/// The primary crashes, and the standby takes over.
fn fail_over(primary: &Postgres, standby: &Postgres) {
    primary.stop(Signal::KILL);
    assert_eq!(standby.psql("SELECT pg_promote()"), "t");
}

#[test]
fn fault_29_a_standby_is_refused_and_one_that_may_lag_is_warned_of() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let recorder = Arc::default();
    let error = open(&standby.url(), &recorder).err().unwrap();
    assert_eq!(error.reason(), Reason::RepositoryReadOnly, "{error}");
    until("the primary to know of its standby", || {
        (primary.psql("SELECT sync_state FROM pg_stat_replication") == "async").then_some(())
    });
    open(&primary.url(), &recorder).unwrap();
    let warned = std::mem::take(&mut *recorder.warnings.lock().unwrap());
    assert!(warned.len() == 1 && warned[0].contains("standby"), "{warned:?}");

    primary.psql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.psql("SELECT pg_reload_conf()");
    until("commits to wait for the standby", || {
        (primary.psql("SELECT sync_state FROM pg_stat_replication") == "sync").then_some(())
    });
    open(&primary.url(), &recorder).unwrap();
    let warned = std::mem::take(&mut *recorder.warnings.lock().unwrap());
    assert!(warned.is_empty(), "{warned:?}");
}

#[test]
fn fault_29_nothing_is_noticed_of_a_failover_that_lost_nothing() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let mut maker = Maker::new(1);
    let repo = quietly(&either(&primary, &standby));
    repo.claim(maker.node, at(0)).unwrap();
    let before = maker.allocated();
    assert_eq!(repo.commit(safely(&before)).unwrap(), CommitOutcome::Applied);
    caught_up(&primary, &standby);
    fail_over(&primary, &standby);
    let after = maker.allocated();
    assert_eq!(repo.commit(safely(&after)).unwrap(), CommitOutcome::Applied);
    for payload in [before, after] {
        assert_eq!(repo.get(payload.id).unwrap(), Some(payload));
    }
}

#[test]
fn fault_29_a_server_stops_when_the_database_has_lost_what_it_acknowledged() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let mut maker = Maker::new(2);
    let url = either(&primary, &standby);
    let repo = quietly(&url);
    repo.claim(maker.node, at(0)).unwrap();
    let (kept, lost) = (maker.allocated(), maker.allocated());
    repo.commit(safely(&kept)).unwrap();
    caught_up(&primary, &standby);
    deafen(&standby);
    repo.commit(safely(&lost)).unwrap();
    fail_over(&primary, &standby);

    let next = maker.allocated();
    for _ in 0..2 {
        let error = repo.commit(safely(&next)).unwrap_err();
        assert_eq!(error.reason(), Reason::Fenced, "{error}");
        assert!(error.message().contains("has lost commits"), "{error}");
    }
    // The next start sees what there is, and goes on from there.
    let again = quietly(&url);
    assert_eq!(again.claim(maker.node, at(1)).unwrap(), 2);
    assert_eq!(again.get(lost.id).unwrap(), None);
    assert_eq!(again.get(kept.id).unwrap(), Some(kept));
    assert_eq!(again.commit(safely(&next)).unwrap(), CommitOutcome::Applied);
}

/// The standby never heard of the first claim, so the second one gets the same epoch.
#[test]
fn fault_29_a_claim_that_was_lost_is_not_taken_for_the_next_one() {
    let primary = Postgres::start();
    drop(quietly(&primary.url()));
    let standby = primary.standby();
    let mut maker = Maker::new(3);
    caught_up(&primary, &standby);
    deafen(&standby);
    let url = either(&primary, &standby);
    let old = quietly(&url);
    assert_eq!(old.claim(maker.node, at(0)).unwrap(), 1);
    fail_over(&primary, &standby);
    let new = quietly(&url);
    assert_eq!(new.claim(maker.node, at(1)).unwrap(), 1);
    let payload = maker.allocated();
    let error = old.commit(safely(&payload)).unwrap_err();
    assert_eq!(error.reason(), Reason::Fenced, "{error}");
    assert_eq!(new.commit(safely(&payload)).unwrap(), CommitOutcome::Applied);
}
