//! `cargo xtask test`: everything a change must pass, the quick checks first.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::{tidy, tools, tree};

/// Stops at the first step that fails. The tests come last, so that their summary is the last thing printed.
pub(crate) fn run() -> Result<()> {
    step("tools", tools::install)?;
    step("format", || cargo(&["fmt", "--all", "--check"], &[]))?;
    step("tidy", tidy::run)?;
    step("clippy", || {
        cargo(
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "--deny",
                "warnings",
            ],
            &[],
        )
    })?;
    step("deny", || {
        cargo(
            &[
                "deny",
                "--workspace",
                "--locked",
                "--log-level",
                "error",
                "check",
                "bans",
                "licenses",
                "sources",
            ],
            &[],
        )
    })?;
    step("doc", || {
        cargo(
            &["doc", "--workspace", "--no-deps", "--locked", "--quiet"],
            &[("RUSTDOCFLAGS", "--deny warnings")],
        )
    })?;
    step("examples in docs", || {
        cargo(&["test", "--workspace", "--doc", "--locked", "--quiet"], &[])
    })?;
    println!("== tests");
    cargo(&["nextest", "run", "--workspace", "--locked"], &[])
}

#[expect(
    clippy::disallowed_methods,
    reason = "tells people how long a step took; nothing depends on it"
)]
fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== {name}");
    let start = Instant::now();
    run()?;
    println!("== {name}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(tree::root());
    tools::run(&mut command)
}
