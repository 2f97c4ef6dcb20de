//! More is written than RAM holds, while readers hold leases: a small variant of what the README shows.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::Command;

#[test]
fn four_times_more_than_ram_holds_is_written_and_read_while_leases_are_held() {
    let bench = Path::new(env!("CARGO_BIN_EXE_payload-bench"));
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(bench)
        .args(["overflow", "--ram-mib", "64", "--times", "4"])
        .arg("--payloadd")
        .arg(bench.with_file_name("examples").join("payloadd"))
        .arg("--dir")
        .arg(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("wrong 0, refused 0"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        said.contains("memory is short") && !said.contains("looked 0 times"),
        "nothing had to move, or nobody looked: {said}"
    );
}
