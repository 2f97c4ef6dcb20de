//! What PostgreSQL, the network and other servers can do to a catalog, and what is true afterwards.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::sync::Arc;
use std::thread;

use payload_core::port::Repository;
use payload_core::{ChangeSet, CommitOutcome, Error, NodeId, Outcome, Payload, Reason, Span};
use payload_repo::{Database, PostgresOptions, PostgresRepository, Purpose, Rivals, Settings};
use payload_testkit::clock::ManualClock;
use payload_testkit::process::{Cut, Postgres, Proxy, until};
use payload_testkit::repository::log::history;
use payload_testkit::repository::sample::{Maker, at, changed, created, edited, set};
use rustix::process::Signal;
use support::Recorder;

fn open(url: &str, options: PostgresOptions) -> payload_core::Result<PostgresRepository> {
    let database = Database::parse(url, None)?;
    PostgresRepository::open(&database, options, Arc::new(ManualClock::default()), Arc::new(()))
}

fn claimed(url: &str, node: NodeId) -> PostgresRepository {
    let repo = support::open_postgres(url);
    repo.claim(node, at(0)).unwrap();
    repo
}

fn observed(url: &str, recorder: &Arc<Recorder>) -> PostgresRepository {
    let (database, clock) = (Database::parse(url, None).unwrap(), Arc::new(ManualClock::default()));
    PostgresRepository::open(&database, PostgresOptions::default(), clock, Arc::clone(recorder) as _).unwrap()
}

/// Waits until so many events of a payload can be read: a session that was cut off may still be at work for a moment, and
/// the log waits for it.
fn logged(repo: &PostgresRepository, payload: &Payload, count: usize) {
    until("the events can be read", || {
        (history(repo, payload).len() == count).then_some(())
    });
}

fn unavailable(error: &Error) {
    assert_eq!(error.reason(), Reason::RepositoryUnavailable, "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
}

fn with_request(payload: &Payload, maker: &mut Maker) -> ChangeSet {
    ChangeSet {
        request: Some(maker.request(payload)),
        ..set([created(payload)])
    }
}

#[test]
fn fault_27_a_commit_whose_answer_was_lost_is_looked_up_and_done_once() {
    let server = Postgres::start();
    let wire = Proxy::before(&server);
    let mut maker = Maker::new(1);
    let repo = claimed(&wire.url(), maker.node);
    for cut in [Cut::Answer, Cut::Request, Cut::Answer, Cut::Request] {
        let mut last = maker.allocated();
        repo.commit(set([created(&last)])).unwrap();
        for durability in payload_core::Durability::ALL {
            let next = edited(&last, |after| after.size += 1);
            wire.cut(cut);
            let once = ChangeSet {
                durability,
                ..set([changed(&last, &next)])
            };
            assert_eq!(repo.commit(once).unwrap(), CommitOutcome::Applied, "{cut:?}");
            last = next;
        }
        assert_eq!(repo.get(last.id).unwrap(), Some(last.clone()));
        logged(&repo, &last, 1 + payload_core::Durability::ALL.len());
    }
}

#[test]
fn fault_27_what_nobody_can_be_asked_about_is_unknown_until_somebody_can() {
    let server = Postgres::start();
    let wire = Proxy::before(&server);
    let mut maker = Maker::new(2);
    let options = PostgresOptions {
        statement_timeout: Span::from_millis(500),
        ..PostgresOptions::default()
    };
    let repo = open(&wire.url(), options).unwrap();
    repo.claim(maker.node, at(0)).unwrap();
    let payload = maker.allocated();
    let once = with_request(&payload, &mut maker);
    let record = once.request.clone().unwrap();
    wire.cut(Cut::AnswerAndAllElse);
    let error = repo.commit(once.clone()).unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::RepositoryUnavailable, Outcome::Unknown)
    );
    unavailable(&repo.commit(set([created(&maker.allocated())])).unwrap_err());
    wire.cut(Cut::All);
    unavailable(&repo.check().unwrap_err());
    wire.cut(Cut::Never);
    assert_eq!(
        repo.find_request(&record.principal, &record.request_id).unwrap(),
        Some(record.clone())
    );
    assert_eq!(repo.commit(once).unwrap(), CommitOutcome::Duplicate(record));
    logged(&repo, &payload, 1);
}

#[test]
fn fault_28_restarts_and_crashes_of_the_database_are_survived() {
    let mut server = Postgres::start();
    let mut maker = Maker::new(3);
    let repo = claimed(&server.url(), maker.node);
    let mut kept: Vec<Payload> = Vec::new();
    for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
        let payload = maker.allocated();
        let host = ChangeSet {
            durability: payload_core::Durability::Host,
            ..set([created(&payload)])
        };
        repo.commit(host).unwrap();
        kept.push(payload);
        server.stop(signal);
        unavailable(&repo.check().unwrap_err());
        unavailable(&repo.get(kept[0].id).unwrap_err());
        unavailable(&repo.commit(set([created(&maker.allocated())])).unwrap_err());
        server.start_again();
        until("the repository to work", || repo.check().ok());
        for payload in &kept {
            assert_eq!(repo.get(payload.id).unwrap().as_ref(), Some(payload));
        }
    }
}

#[test]
fn fault_28_nobody_notices_that_idle_connections_were_ended() {
    let server = Postgres::start();
    let mut maker = Maker::new(4);
    let repo = claimed(&server.url(), maker.node);
    for _ in 0..3 {
        let payload = maker.allocated();
        assert_eq!(repo.commit(set([created(&payload)])).unwrap(), CommitOutcome::Applied);
        server
            .psql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'payloadd'");
        assert_eq!(repo.get(payload.id).unwrap(), Some(payload));
    }
    repo.check().unwrap();
}

/// Makes inserts of payloads fail with `code` as long as `condition` holds for `n`, which counts them.
fn fail_inserts(server: &Postgres, code: &str, condition: &str) {
    server.psql(&format!(
        "CREATE SEQUENCE tries;
             CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE n bigint := nextval('tries');
             BEGIN
                 IF {condition} THEN RAISE 'in the way' USING ERRCODE = '{code}'; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER fail BEFORE INSERT ON payloads FOR EACH ROW EXECUTE FUNCTION fail()"
    ));
}

#[test]
fn fault_30_who_got_in_the_way_for_a_while_is_waited_for() {
    for code in ["40001", "40P01", "23505"] {
        let server = Postgres::start();
        let mut maker = Maker::new(5);
        let recorder = Arc::new(Recorder::default());
        let repo = observed(&server.url(), &recorder);
        repo.claim(maker.node, at(0)).unwrap();
        fail_inserts(&server, code, "n < 4");
        let payload = maker.allocated();
        assert_eq!(repo.commit(set([created(&payload)])).unwrap(), CommitOutcome::Applied);
        assert_eq!(repo.get(payload.id).unwrap(), Some(payload));
        assert_eq!(*recorder.retried.lock().unwrap(), [code; 3]);
    }
}

#[test]
fn fault_30_who_stays_in_the_way_is_given_up_on() {
    let server = Postgres::start();
    let mut maker = Maker::new(6);
    let repo = claimed(&server.url(), maker.node);
    fail_inserts(&server, "40001", "NEW.size = 7");
    let (stuck, free) = (
        Payload {
            size: 7,
            ..maker.allocated()
        },
        maker.allocated(),
    );
    let error = repo.commit(set([created(&stuck)])).unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::Conflict, Outcome::NotApplied)
    );
    // Once outright, once more with its group, and eight times by itself.
    assert_eq!(server.psql("SELECT last_value FROM tries"), "10");
    assert_eq!(repo.commit(set([created(&free)])).unwrap(), CommitOutcome::Applied);
    assert_eq!(repo.get(stuck.id).unwrap(), None);
}

/// Two servers that make the same things at the same time: one of the two succeeds, and the other is told why not.
#[test]
fn fault_30_two_nodes_that_insert_the_same_at_once_agree_on_one() {
    let server = Postgres::start();
    let (mut one, mut other) = (Maker::new(7), Maker::new(8));
    let repos = [claimed(&server.url(), one.node), claimed(&server.url(), other.node)];
    for _ in 0..50 {
        let (payload, twin) = (one.allocated(), other.allocated());
        let record = one.request(&payload);
        let twin = Payload { id: payload.id, ..twin };
        let outcomes = thread::scope(|scope| {
            let threads: Vec<_> = [(&repos[0], &payload), (&repos[1], &twin)]
                .map(|(repo, payload)| {
                    let once = ChangeSet {
                        request: Some(record.clone()),
                        ..set([created(payload)])
                    };
                    scope.spawn(move || repo.commit(once).unwrap())
                })
                .into();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect::<Vec<_>>()
        });
        let applied = |outcome: &&CommitOutcome| **outcome == CommitOutcome::Applied;
        assert_eq!(outcomes.iter().filter(applied).count(), 1, "{outcomes:?}");
        assert!(outcomes.contains(&CommitOutcome::Duplicate(record)), "{outcomes:?}");
        logged(&repos[0], &payload, 1);
    }
}

#[test]
fn fault_31_unsafe_settings_are_refused_unless_the_operator_answers_for_them() {
    for setting in ["fsync", "full_page_writes"] {
        let server = Postgres::with(&[&format!("{setting}=off")]);
        let error = open(&server.url(), PostgresOptions::default()).err().unwrap();
        assert_eq!(error.reason(), Reason::RepositoryUnsafe);
        assert!(error.message().contains(&format!("{setting} = off")), "{error}");
        assert!(error.message().contains("repository.unsafe_settings"), "{error}");
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(server.psql(tables), "0", "nothing was done to it");
        let options = PostgresOptions {
            settings: Settings::MayBeUnsafe,
            ..PostgresOptions::default()
        };
        open(&server.url(), options).unwrap();
    }
}

#[test]
fn fault_57_two_servers_of_one_node_are_one_too_many() {
    let server = Postgres::start();
    let mut maker = Maker::new(9);
    let exclusive = PostgresOptions {
        rivals: Rivals::Refused,
        ..PostgresOptions::default()
    };
    let first = open(&server.url(), exclusive).unwrap();
    first.claim(maker.node, at(0)).unwrap();
    let second = open(&server.url(), exclusive).unwrap();
    let error = second.claim(maker.node, at(0)).unwrap_err();
    assert_eq!(error.reason(), Reason::RepositoryInUse, "{error}");
    let mut commit = |repo: &PostgresRepository| repo.commit(set([created(&maker.allocated())]));
    assert!(commit(&first).unwrap().is_applied());
    // Another node is welcome, and so is the next server of this one.
    open(&server.url(), exclusive)
        .unwrap()
        .claim(Maker::new(10).node, at(0))
        .unwrap();
    server.psql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'payloadd'");
    assert!(commit(&first).unwrap().is_applied());
    let node = maker.node;
    assert_eq!(second.claim(node, at(0)).unwrap_err().reason(), Reason::RepositoryInUse);
    drop(first);
    assert_eq!(second.claim(node, at(0)).unwrap(), 2);
}

#[test]
fn fault_59_servers_that_start_together_migrate_once() {
    let server = Postgres::start();
    let url = server.url();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| support::open_postgres(&url).check().unwrap());
        }
    });
    let applied = server.psql("SELECT count(*) = max(number) FROM migrations");
    assert_eq!(applied, "t");
}

#[test]
fn fault_59_a_database_of_a_newer_server_is_refused_and_left_alone() {
    let server = Postgres::start();
    drop(support::open_postgres(&server.url()));
    let known = server.psql("SELECT max(number) FROM migrations");
    server.psql("INSERT INTO migrations VALUES (99, 'from the future', '', 0)");
    let error = open(&server.url(), PostgresOptions::default()).err().unwrap();
    assert_eq!(error.reason(), Reason::RepositoryIncompatible);
    let message = error.message();
    assert!(
        message.contains("99") && message.contains(&format!("up to {}", known)),
        "{message}"
    );
    server.psql("DELETE FROM migrations WHERE number = 99");
    support::open_postgres(&server.url()).check().unwrap();
}

#[test]
fn a_server_that_is_no_use_is_named_without_its_password() {
    let server = Postgres::start();
    let host = server.dir().to_str().unwrap().replace('/', "%2F");
    for url in [
        format!("postgres://postgres:secret@{host}/nowhere"),
        format!("postgres://nobody:secret@{host}/postgres"),
        "postgres://postgres:secret@127.0.0.1:1/postgres".to_owned(),
    ] {
        let error = open(&url, PostgresOptions::default()).err().unwrap();
        unavailable(&error);
        assert!(error.message().contains("PostgreSQL database"), "{error}");
        let whole = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(!whole.contains("secret"), "{whole}");
    }
    let recorder = Arc::new(Recorder::default());
    drop(observed(&server.url(), &recorder));
    assert!(recorder.warnings.lock().unwrap().is_empty());
}

#[test]
fn connections_are_counted_when_they_are_opened_and_while_they_are_used() {
    let server = Postgres::start();
    let mut maker = Maker::new(11);
    let recorder = Arc::new(Recorder::default());
    let repo = observed(&server.url(), &recorder);
    repo.claim(maker.node, at(0)).unwrap();
    repo.on_peers(maker.node, Arc::new(|_| {})).unwrap();
    let opened = |purpose| {
        let connected = recorder.connected.lock().unwrap();
        connected.iter().filter(|one| **one == purpose).count()
    };
    for round in 1..=2 {
        until("a connection for everything", || {
            repo.get(maker.payload_id()).ok()?;
            repo.commit(set([created(&maker.allocated())])).ok()?;
            Purpose::ALL
                .iter()
                .all(|purpose| opened(*purpose) == round)
                .then_some(())
        });
        assert_eq!(recorder.reading.lock().unwrap().last(), Some(&0));
        assert_eq!(recorder.reading.lock().unwrap().iter().max(), Some(&1));
        server
            .psql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'payloadd'");
    }
}
