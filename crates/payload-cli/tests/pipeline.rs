//! The pipeline of the README: capture, transform, archive, killed at every stage and resumed.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::Command;

#[test]
fn a_pipeline_that_is_killed_and_resumed_loses_nothing_and_makes_nothing_twice() {
    let bin = Path::new(env!("CARGO_BIN_EXE_payloadctl")).parent().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pipeline.sh");
    let output = Command::new(script)
        .arg(bin)
        .env("PAYLOADD_TIERS_RAM_POOL", "0B")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.ends_with("archived 20 of 20 frames, each once, over 15 kills\n"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
