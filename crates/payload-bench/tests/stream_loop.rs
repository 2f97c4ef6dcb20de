//! What goes through streams comes out once and in order: the server, its keeper, producers and consumers are killed at
//! random. The command runs longer with `payload-bench stream-loop`; see docs/how-to/run-the-benchmarks.md.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use payload_testkit::process::Postgres;

#[test]
fn fault_07_entries_survive_kills_at_random_once_and_in_order() {
    come_through(&[], &["server", "producer", "member"]);
}

#[test]
fn fault_07_entries_survive_kills_of_their_database_too_once_and_in_order() {
    let postgres = Postgres::start();
    let data = postgres.dir().join("data");
    let arguments = ["--postgres", &postgres.url(), "--postgres-data", data.to_str().unwrap()];
    come_through(&arguments, &["database", "server", "producer", "member"]);
}

/// A hundred kills, some of each of these.
fn come_through(arguments: &[&str], killed: &[&str]) {
    let said = support::said(
        &[&["stream-loop", "--rounds", "100", "--seconds", "300"], arguments].concat(),
        " 0 lost, doubled, out of order or skipped",
    );
    assert!(said.contains("100 rounds"), "{said}");
    for who in killed {
        assert!(said.contains(&format!("{who} ")), "no {who} was killed: {said}");
    }
}
