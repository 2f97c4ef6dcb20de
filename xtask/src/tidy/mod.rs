//! Rules of this repository that no other tool checks.

mod imports;
mod rpcs;
mod sources;

use anyhow::{Result, bail};

use crate::{faults, tree};

/// Prints every finding; fails if there is one.
pub(crate) fn run() -> Result<()> {
    let root = tree::root();
    let files = tree::files(&root, &[".rs", ".toml", ".md", ".proto", ".sh", ".py", ".yml", ".yaml"])?;
    let mut findings = imports::check(&files)?;
    findings.extend(sources::check(&files));
    findings.extend(rpcs::check(&files));
    findings.extend(faults::check(&files));
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files", files.len());
        return Ok(());
    }
    bail!("{} things are not tidy", findings.len());
}
