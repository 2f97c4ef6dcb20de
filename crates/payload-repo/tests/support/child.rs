//! Commits in another process, under `strace`, so that system calls can be counted, made to fail, or be the last.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use payload_core::port::Repository;
use payload_core::{ChangeSet, CommitOutcome, Durability, Outcome, PayloadId, Reason};
use payload_repo::{SqliteOptions, SqliteRepository};
use payload_testkit::clock::{ManualClock, fresh_seed};
use payload_testkit::repository::sample::{Maker, at, created, set};

use super::Recorder;

const PATH: &str = "PAYLOAD_REPO_TEST_PATH";
const VOLATILE: &str = "PAYLOAD_REPO_TEST_VOLATILE";
const HOST: &str = "PAYLOAD_REPO_TEST_HOST";
const CROWD: &str = "PAYLOAD_REPO_TEST_CROWD";

/// How many sets of which class the child commits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) volatile: usize,
    pub(crate) host: usize,
    /// How many threads commit five sets of class host each, at the same time.
    pub(crate) crowd: usize,
}

/// What the child said, and what strace saw.
#[derive(Debug)]
pub(crate) struct Report {
    /// Acknowledged commits, in order.
    pub(crate) acknowledged: Vec<PayloadId>,
    /// Everything else it said: `REASON outcome`.
    pub(crate) failures: Vec<String>,
    /// System calls, one a line.
    pub(crate) trace: Vec<String>,
    pub(crate) finished: bool,
}

impl Report {
    pub(crate) fn syncs(&self) -> usize {
        self.trace.iter().filter(|line| line.contains("sync(")).count()
    }

    pub(crate) fn injected(&self) -> usize {
        self.trace.iter().filter(|line| line.contains("(INJECTED)")).count()
    }
}

/// Does the child's work if this process is a child; call it first in every test that calls [`run`].
pub(crate) fn is_child() -> bool {
    let Some(path) = std::env::var_os(PATH) else {
        return false;
    };
    let count = |name| std::env::var(name).unwrap().parse().unwrap();
    work(
        &PathBuf::from(path),
        Work {
            volatile: count(VOLATILE),
            host: count(HOST),
            crowd: count(CROWD),
        },
    );
    true
}

fn work(path: &Path, work: Work) {
    let fatal = Arc::new(Recorder::default());
    let clock = Arc::new(ManualClock::default());
    let mut maker = Maker::new(fresh_seed());
    let options = SqliteOptions {
        readers: 1,
        ..SqliteOptions::default()
    };
    let opened = SqliteRepository::open(path, options, clock, Arc::clone(&fatal) as _, &|_| Ok(()))
        .and_then(|repo| repo.claim(maker.node, at(0)).map(|_| repo));
    let repo = match opened {
        Ok(repo) => repo,
        Err(error) => return println!("\nsaid: open {}", error.reason().as_str()),
    };
    let classes = [(Durability::Volatile, work.volatile), (Durability::Host, work.host)];
    for (durability, count) in classes {
        for _ in 0..count {
            commit(&repo, &mut maker, durability);
        }
    }
    std::thread::scope(|scope| {
        for _ in 0..work.crowd {
            scope.spawn(|| {
                let mut maker = Maker::new(fresh_seed());
                (0..5).for_each(|_| commit(&repo, &mut maker, Durability::Host));
            });
        }
    });
    for reason in fatal.fatal.lock().unwrap().iter() {
        println!("\nsaid: fatal {}", reason.as_str());
    }
    println!("\nsaid: finished");
}

/// Says what became of one commit. Reads must work whatever did.
fn commit(repo: &SqliteRepository, maker: &mut Maker, durability: Durability) {
    let payload = maker.allocated();
    let outcome = repo.commit(ChangeSet {
        durability,
        ..set([created(&payload)])
    });
    let visible = repo.get(payload.id).unwrap().is_some();
    match outcome {
        Ok(outcome) => {
            assert_eq!((outcome, visible), (CommitOutcome::Applied, true));
            println!("\nsaid: ack {}", payload.id);
        }
        Err(error) => {
            assert!(!visible);
            let outcome = match error.outcome() {
                Outcome::NotApplied => "not-applied",
                Outcome::Unknown => "unknown",
            };
            println!("\nsaid: {} {outcome}", error.reason().as_str());
        }
    }
}

/// Runs the child in the test called `test`, with `inject` (strace's expression) done to calls on files at `only`.
pub(crate) fn run(test: &str, path: &Path, work: Work, inject: Option<&str>, only: &[PathBuf]) -> Report {
    let log = path.with_extension("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-e", "trace=fsync,fdatasync,pwrite64,openat", "-o"]);
    strace.arg(&log);
    for file in only {
        strace.arg("-P").arg(file);
    }
    if let Some(inject) = inject {
        strace.args(["-e", &format!("inject={inject}")]);
    }
    let output = strace
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(PATH, path)
        .env(VOLATILE, work.volatile.to_string())
        .env(HOST, work.host.to_string())
        .env(CROWD, work.crowd.to_string())
        .stderr(Stdio::inherit())
        .output()
        .expect("strace is installed");
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("said: ")).collect();
    let acknowledged = said.iter().filter_map(|line| line.strip_prefix("ack "));
    Report {
        acknowledged: acknowledged.map(|id| id.parse().unwrap()).collect(),
        failures: said
            .iter()
            .filter(|line| !line.starts_with("ack ") && **line != "finished")
            .map(|line| (*line).to_owned())
            .collect(),
        trace: std::fs::read_to_string(&log)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect(),
        finished: said.contains(&"finished"),
    }
}

/// The name on the wire, as the child says it.
pub(crate) fn said(reason: Reason, outcome: &str) -> String {
    format!("{} {outcome}", reason.as_str())
}
