//! What was acknowledged survives: the server, its clients and its keeper are killed at random while payloads come and
//! go. The command runs longer with `payload-bench kill-loop`; see docs/how-to/run-the-benchmarks.md.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

#[test]
fn fault_02_acknowledged_payloads_survive_kills_at_random() {
    let said = support::said(
        &["kill-loop", "--cycles", "300", "--seconds", "180"],
        "lost 0, wrong 0, orphans 0",
    );
    assert!(
        !said.contains("orphans 0, 0 of the living"),
        "nothing was spilled: {said}"
    );
    for size in ["empty", "inline", "packed", "whole"] {
        assert!(said.contains(size), "nothing {size} was committed: {said}");
    }
}
