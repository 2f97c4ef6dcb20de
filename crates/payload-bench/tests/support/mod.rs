//! Runs the benchmark's commands on a server that was built with the tests.

use std::path::Path;
use std::process::Command;

/// What a command says in the end. It must succeed, and say `sound`.
pub(crate) fn said(arguments: &[&str], sound: &str) -> String {
    let bench = Path::new(env!("CARGO_BIN_EXE_payload-bench"));
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(bench)
        .args(arguments)
        .arg("--payloadd")
        .arg(bench.with_file_name("examples").join("payloadd"))
        .arg("--dir")
        .arg(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains(sound),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}
