//! What was acknowledged survives: the server, its clients and its keeper are killed at random while payloads come and
//! go. The command runs longer with `payload-bench kill-loop`; see docs/how-to/run-the-benchmarks.md.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::Command;

#[test]
fn fault_02_acknowledged_payloads_survive_kills_at_random() {
    let bench = Path::new(env!("CARGO_BIN_EXE_payload-bench"));
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(bench)
        .args(["kill-loop", "--cycles", "300", "--seconds", "180"])
        .arg("--payloadd")
        .arg(bench.with_file_name("examples").join("payloadd"))
        .arg("--dir")
        .arg(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("lost 0, wrong 0, orphans 0"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        !said.contains("orphans 0, 0 of the living"),
        "nothing was spilled: {said}"
    );
    for size in ["empty", "inline", "packed", "whole"] {
        assert!(said.contains(size), "nothing {size} was committed: {said}");
    }
}
