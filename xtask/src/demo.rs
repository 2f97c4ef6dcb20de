//! `cargo xtask demo`: builds what a user would install and shows what it does.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{tools, tree};

const HELP: &str = "cargo xtask demo [PATH] [--data-dir DIR] [--exit]";

/// Where to publish from, where to keep it, and whether to end by itself.
#[derive(Debug, PartialEq, Eq)]
struct Options<'a> {
    path: Option<&'a str>,
    data_dir: Option<&'a str>,
    exit: bool,
}

/// Builds, then becomes the demo, so that Ctrl-C reaches it alone.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let options = parse(words)?;
    let root = tree::root();
    let binaries = ["payload-server", "payload-cli", "payload-bench"].map(|package| ["--package", package]);
    let mut build = Command::new("cargo");
    build
        .args(["build", "--release", "--locked"])
        .args(binaries.concat())
        .current_dir(&root);
    tools::run(&mut build)?;

    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |directory| root.join(directory));
    let data_dir = match options.data_dir {
        Some(directory) => directory.into(),
        None => fresh(&target.join("demo/data"))?,
    };
    let mut demo = Command::new(target.join("release/payload-bench"));
    demo.arg("demo")
        .arg(options.path.map_or(root.as_path(), Path::new))
        .arg("--data-dir")
        .arg(data_dir);
    if options.exit {
        demo.arg("--exit");
    }
    Err(demo.exec()).context("cannot start the demo")
}

/// A directory of its own, so that nothing of the user's is touched, without what an earlier demo left.
fn fresh(directory: &Path) -> Result<std::path::PathBuf> {
    if directory.exists() {
        std::fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(directory.to_owned())
}

fn parse<'a>(words: &[&'a str]) -> Result<Options<'a>> {
    let mut options = Options {
        path: None,
        data_dir: None,
        exit: false,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--exit" => options.exit = true,
            "--data-dir" => options.data_dir = Some(words.next().context("--data-dir needs a directory")?),
            path if options.path.is_none() && !path.starts_with('-') => options.path = Some(path),
            other => bail!("demo does not know {other:?}\n\n{HELP}"),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_in_any_order_and_nonsense_is_refused() {
        let options = parse(&["--exit", "some/path", "--data-dir", "/d"]).unwrap();
        let expected = Options {
            path: Some("some/path"),
            data_dir: Some("/d"),
            exit: true,
        };
        assert_eq!(options, expected);
        for words in [&["--data-dir"][..], &["a", "b"], &["--what"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
