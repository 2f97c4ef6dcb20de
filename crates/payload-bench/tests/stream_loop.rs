//! What goes through streams comes out once and in order: the server, its keeper, producers and consumers are killed at
//! random. The command runs longer with `payload-bench stream-loop`; see docs/how-to/run-the-benchmarks.md.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

#[test]
fn fault_07_entries_survive_kills_at_random_once_and_in_order() {
    let said = support::said(
        &["stream-loop", "--rounds", "100", "--seconds", "300"],
        " 0 lost, doubled, out of order or skipped",
    );
    assert!(said.contains("100 rounds"), "{said}");
    for who in ["server", "producer", "member"] {
        assert!(said.contains(who), "no {who} was killed: {said}");
    }
}
