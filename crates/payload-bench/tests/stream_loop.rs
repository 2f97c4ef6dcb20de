//! What goes through streams comes out once and in order: the server, its keeper, producers and consumers are killed at
//! random. The command runs longer with `payload-bench stream-loop`; see docs/how-to/run-the-benchmarks.md.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::Command;

#[test]
fn fault_07_entries_survive_kills_at_random_once_and_in_order() {
    let bench = Path::new(env!("CARGO_BIN_EXE_payload-bench"));
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(bench)
        .args(["stream-loop", "--rounds", "100", "--seconds", "300"])
        .arg("--payloadd")
        .arg(bench.with_file_name("examples").join("payloadd"))
        .arg("--dir")
        .arg(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains(" 0 lost, doubled, out of order or skipped"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("100 rounds"), "{said}");
    for who in ["server", "producer", "member"] {
        assert!(said.contains(who), "no {who} was killed: {said}");
    }
}
