//! Chores of the repository, each a subcommand of `cargo xtask`.

#![allow(clippy::print_stdout, reason = "a command-line tool speaks on standard output")]

mod demo;
mod faults;
mod test;
mod tidy;
mod tools;
mod tree;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask COMMAND

  demo     a server with real files in it: [PATH] [--data-dir DIR] [--exit]
  test     everything a change must pass; installs the tools that it needs
  tidy     the rules that no other tool checks: imports, first lines, unexercised calls
  faults   the failure catalogue with the tests of each fault
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        ["demo", rest @ ..] => demo::run(rest),
        ["test"] => test::run(),
        ["tidy"] => tidy::run(),
        ["faults"] => faults::run(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("there is no command {:?}\n\n{HELP}", words.join(" ")),
    }
}
