//! What servers that share a database hear of each other.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::sync::{Arc, Mutex};

use payload_core::port::{PeerNews, Repository};
use payload_core::{Namespace, NodeId, Payload, PayloadId, Span};
use payload_repo::{Database, PostgresOptions, PostgresRepository};
use payload_testkit::clock::ManualClock;
use payload_testkit::process::{Postgres, until};
use payload_testkit::repository::sample::{Maker, at, changed, created, edited, set};

/// A server's catalog, and what it has heard.
struct Server {
    repo: PostgresRepository,
    news: Arc<Mutex<Vec<PeerNews>>>,
    logs: Arc<Mutex<Vec<Namespace>>>,
}

impl Server {
    fn start(postgres: &Postgres, node: NodeId, poll: Span) -> Self {
        let database = Database::parse(&postgres.url(), None).unwrap();
        let options = PostgresOptions {
            poll,
            ..PostgresOptions::default()
        };
        let clock = Arc::new(ManualClock::default());
        let repo = PostgresRepository::open(&database, options, clock, Arc::new(())).unwrap();
        repo.claim(node, at(0)).unwrap();
        let (news, logs) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (heard, grown) = (Arc::clone(&news), Arc::clone(&logs));
        repo.on_events(Arc::new(move |namespace| grown.lock().unwrap().push(namespace.clone())));
        repo.on_peers(node, Arc::new(move |word| heard.lock().unwrap().push(word)))
            .unwrap();
        Self { repo, news, logs }
    }

    /// Waits until it has heard something, and forgets all that it has heard.
    fn hears(&self, word: &PeerNews) {
        until("the server to hear of it", || {
            self.news.lock().unwrap().contains(word).then_some(())
        });
        self.news.lock().unwrap().clear();
    }

    /// Waits until it has heard that a log has grown, and forgets what it has heard of logs.
    fn hears_of(&self, namespace: &Namespace) {
        until("the server to hear of new events", || {
            self.logs.lock().unwrap().contains(namespace).then_some(())
        });
        self.logs.lock().unwrap().clear();
    }

    fn changed(&self) -> Vec<PayloadId> {
        let news = self.news.lock().unwrap();
        let changed = news.iter().filter_map(|word| match word {
            PeerNews::Changed(ids) => Some(ids.clone()),
            PeerNews::Missed | PeerNews::Look | PeerNews::Moved(_) => None,
        });
        changed.flatten().collect()
    }
}

const NEVER: Span = Span::from_secs(3_600);

fn renamed(payload: &Payload) -> Payload {
    edited(payload, |after| after.size += 1)
}

#[test]
fn a_node_hears_what_others_do_to_its_payloads_and_nothing_else() {
    let postgres = Postgres::start();
    let (mut here, mut there) = (Maker::new(21), Maker::new(22));
    let (one, other) = (
        Server::start(&postgres, here.node, NEVER),
        Server::start(&postgres, there.node, NEVER),
    );
    let (own, foreign) = (here.allocated(), there.allocated());
    assert!(one.repo.commit(set([created(&own)])).unwrap().is_applied());
    assert!(other.repo.commit(set([created(&foreign)])).unwrap().is_applied());
    // What does not come true is not told: this one starts from a version that is not there.
    let never = renamed(&renamed(&own));
    assert!(
        !other
            .repo
            .commit(set([changed(&renamed(&own), &never)]))
            .unwrap()
            .is_applied()
    );
    let next = renamed(&own);
    assert!(other.repo.commit(set([changed(&own, &next)])).unwrap().is_applied());
    one.hears(&PeerNews::Changed(vec![own.id]));
    assert!(
        one.repo
            .commit(set([changed(&foreign, &renamed(&foreign))]))
            .unwrap()
            .is_applied()
    );
    other.hears(&PeerNews::Changed(vec![foreign.id]));
    assert_eq!((one.changed(), other.changed()), (vec![], vec![]));
}

#[test]
fn a_batch_of_many_payloads_is_told_in_full() {
    let postgres = Postgres::start();
    let (mut here, there) = (Maker::new(23), Maker::new(24));
    let (one, other) = (
        Server::start(&postgres, here.node, NEVER),
        Server::start(&postgres, there.node, NEVER),
    );
    let payloads: Vec<Payload> = std::iter::repeat_with(|| here.allocated()).take(500).collect();
    let create: Vec<_> = payloads.iter().map(created).collect();
    assert!(one.repo.commit(set(create)).unwrap().is_applied());
    let change: Vec<_> = payloads.iter().map(|row| changed(row, &renamed(row))).collect();
    assert!(other.repo.commit(set(change)).unwrap().is_applied());
    let mut expected: Vec<PayloadId> = payloads.iter().map(|row| row.id).collect();
    expected.sort();
    until("the server to hear of all", || {
        let mut heard = one.changed();
        heard.sort();
        (heard == expected).then_some(())
    });
}

#[test]
fn whoever_waits_for_events_is_told_of_those_of_other_servers() {
    let postgres = Postgres::start();
    let (mut here, mut there) = (Maker::new(25), Maker::new(26));
    let one = Server::start(&postgres, here.node, NEVER);
    let other = Server::start(&postgres, there.node, NEVER);
    let namespace = Namespace::default();
    one.hears_of(&namespace);
    other.hears_of(&namespace);
    let commit = |server: &Server, payload: &Payload| {
        // Each server is told of its own commits too.
        for server in [&one, &other] {
            server.logs.lock().unwrap().clear();
        }
        let outcome = server.repo.commit(set([created(payload)]));
        assert!(outcome.unwrap().is_applied());
    };
    for _ in 0..3 {
        commit(&one, &here.allocated());
        other.hears_of(&namespace);
        commit(&other, &there.allocated());
        one.hears_of(&namespace);
    }
}

#[test]
fn a_connection_that_was_lost_is_replaced_and_nothing_is_missed_for_good() {
    let mut postgres = Postgres::start();
    let (here, mut there) = (Maker::new(27), Maker::new(28));
    let one = Server::start(&postgres, here.node, NEVER);
    let other = Server::start(&postgres, there.node, NEVER);
    postgres.psql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'payloadd'");
    one.hears(&PeerNews::Missed);
    postgres.stop(rustix::process::Signal::KILL);
    postgres.start_again();
    one.hears(&PeerNews::Missed);
    other.hears(&PeerNews::Missed);
    one.hears_of(&Namespace::default());
    assert!(
        other
            .repo
            .commit(set([created(&there.allocated())]))
            .unwrap()
            .is_applied()
    );
    one.hears_of(&Namespace::default());
}

#[test]
fn one_looks_from_time_to_time_whatever_one_hears() {
    let postgres = Postgres::start();
    let server = Server::start(&postgres, Maker::new(29).node, Span::from_millis(50));
    for _ in 0..3 {
        server.hears(&PeerNews::Look);
        server.hears_of(&Namespace::default());
    }
}
