//! Kills the server, its clients and its keeper at random while payloads come and go, and checks what was acknowledged.

mod audit;
mod journal;
mod model;
mod stubborn;
pub(crate) mod victim;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use payload_core::Span;
use rustix::process::Signal;

pub(crate) use self::audit::stats;
use self::model::{Model, UnderWay};
use self::stubborn::{Seen, Stubborn, is_gone};
use crate::clock::Moment;
use crate::content::{Content, Dice};
use crate::report::default_directory;
use crate::server::{Server, own_payloadd};
use crate::wait;

/// How long the clients may take to get a few commits acknowledged.
const PATIENCE: Span = Span::from_secs(60);
/// Payloads that are read after each kill of the server.
const SAMPLE: usize = 8;
/// RAM is so small that what the clients have does not fit: most payloads are on their way to disk when a kill comes. Little is
/// made ready ahead, so that the many starts are about payloads, and the grace is short, because nothing that a start has
/// inherited may be evicted before it is over.
const CONFIG: &str = "\
    leases.grace = \"1s\"\n\
    [tiers.ram]\n\
    capacity = \"64MiB\"\n\
    pool = \"4MiB\"\n";
/// The keeper waits longer and longer before it starts a server again that keeps dying. A new keeper starts afresh, so
/// after so many deaths of the server it is the keeper's turn.
const SERVER_KILLS_IN_A_ROW: u32 = 4;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Stop after so many kills
    #[arg(long, default_value_t = 300)]
    cycles: u32,
    /// Stop after so many seconds
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// Client processes
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Makes the same choices again, as far as timing allows [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Where the server gets its data directory [default: next to this program]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The server to kill [default: payloadd next to this program]
    #[arg(long, value_name = "FILE")]
    payloadd: Option<PathBuf>,
}

struct Driver {
    /// Dropped before the server that they talk to.
    victims: Vec<Victim>,
    server: Server,
    model: Model,
    dice: Dice,
    own: Stubborn,
    kills: BTreeMap<&'static str, u32>,
    server_kills_in_a_row: u32,
    slowest_recovery: Span,
}

/// A client process, and the thread that reads what it tells.
struct Victim {
    child: Child,
    stdin: Option<ChildStdin>,
    reader: Option<JoinHandle<Result<()>>>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let dir = options.dir.clone().map_or_else(default_directory, Ok)?;
    let scratch = tempfile::Builder::new().prefix("kill-loop-").tempdir_in(dir)?;
    let payloadd = options.payloadd.clone().map_or_else(own_payloadd, Ok)?;
    let seed = options.seed.unwrap_or_else(|| Moment::now().as_seed());
    println!("kill-loop: seed {seed}");

    let server = Server::start_with(&payloadd, &scratch.path().join("data"), CONFIG)?;
    let mut driver = Driver {
        own: Stubborn::new(&server.endpoint_file())?,
        server,
        victims: Vec::new(),
        model: Model::default(),
        dice: Dice::new(seed),
        kills: BTreeMap::new(),
        server_kills_in_a_row: 0,
        slowest_recovery: Span::ZERO,
    };
    let outcome = driver.drive(options);
    if outcome.is_err() {
        eprintln!("{}", driver.server.log());
    }
    outcome
}

impl Driver {
    fn drive(&mut self, options: &Options) -> Result<()> {
        for number in 0..options.clients {
            let victim = self.spawn(number)?;
            self.victims.push(victim);
        }
        let began = Moment::now();
        let mut cycles = 0;
        while cycles < options.cycles && began.elapsed().as_secs() < options.seconds {
            self.cycle().with_context(|| format!("in cycle {cycles}"))?;
            cycles += 1;
        }
        for number in 0..self.victims.len() {
            self.retire(number)?;
        }
        let audit = audit::run(&self.server, &self.model, &mut self.own)?;
        println!("{}", self.summary(cycles, &audit));
        audit.verdict(&self.model)
    }

    /// Lets the clients get on, then kills something.
    fn cycle(&mut self) -> Result<()> {
        let commits = 1 + self.dice.below(40);
        if !self.model.wait_for_commits(commits, PATIENCE) {
            bail!(
                "the clients got no {commits} commits acknowledged within {} s",
                PATIENCE.as_secs()
            );
        }
        self.check_wrong()?;
        if self.server_kills_in_a_row >= SERVER_KILLS_IN_A_ROW {
            return self.kill_keeper();
        }
        match self.dice.below(100) {
            0..70 => self.kill_server(),
            70..97 => {
                let number = self.dice.below(self.victims.len() as u64) as usize;
                self.kill_client(number)
            }
            _ => self.kill_keeper(),
        }
    }

    fn kill_server(&mut self) -> Result<()> {
        let pid = self.server.addresses()?.pid;
        let began = Moment::now();
        ensure!(wait::signal(pid, Signal::KILL), "the server died by itself");
        self.server.wait_ready(Some(pid))?;
        self.slowest_recovery = self.slowest_recovery.max(began.elapsed());
        *self.kills.entry("server").or_default() += 1;
        self.server_kills_in_a_row += 1;
        self.read_some()
    }

    fn kill_client(&mut self, number: usize) -> Result<()> {
        let victim = &mut self.victims[number];
        victim.child.kill()?;
        victim.end()?;
        *self.kills.entry("client").or_default() += 1;
        self.resolve(number)?;
        self.victims[number] = self.spawn(number)?;
        Ok(())
    }

    /// The server notices, starts a new keeper and gives it the segments. Until then its own death would be the end of
    /// volatile payloads, which nobody promises otherwise.
    fn kill_keeper(&mut self) -> Result<()> {
        let before = self.server.keepers();
        ensure!(before.len() == 1, "there are {} keepers", before.len());
        ensure!(wait::signal(before[0], Signal::KILL), "the keeper died by itself");
        *self.kills.entry("keeper").or_default() += 1;
        self.server_kills_in_a_row = 0;
        wait::until("a new keeper", PATIENCE, || {
            let replaced = self.server.keepers().iter().any(|keeper| !before.contains(keeper));
            Ok((replaced && stats(&self.server)?.keeper.is_some_and(|keeper| keeper.connected)).then_some(()))
        })
    }

    /// Reads a few payloads that were acknowledged some time ago, by another process than the one that wrote them.
    fn read_some(&mut self) -> Result<()> {
        let mut some: Vec<(String, Content)> = self.model.with(|facts| {
            let skip = facts.live.len().saturating_sub(SAMPLE).max(1) as u64;
            let skip = self.dice.below(skip) as usize;
            let live = facts.live.iter().skip(skip).take(SAMPLE);
            live.map(|(payload, content)| (payload.clone(), *content)).collect()
        });
        for (payload, content) in some.drain(..) {
            match self.own.verify(&payload, content, 0)? {
                Seen::Right => self.model.with(|facts| facts.verified += 1),
                Seen::Wrong(what) => self.model.with(|facts| facts.wrong.push(what)),
                // Its owner may have deleted it meanwhile; that it did is seen in the end.
                Seen::Refused(error) if is_gone(&error) => {}
                Seen::Refused(error) => self.model.with(|facts| {
                    facts
                        .wrong
                        .push(format!("{payload} was acknowledged and cannot be read: {error}"));
                }),
            }
        }
        self.check_wrong()
    }

    /// Finds out what became of the call that a dead client had under way, by asking for it again.
    fn resolve(&mut self, number: usize) -> Result<()> {
        match self.model.with(|facts| facts.take_under_way(number)) {
            None => Ok(()),
            Some(UnderWay::Delete(payload)) => {
                self.own.delete(&payload)?;
                self.model.with(|facts| facts.deleted(&payload));
                Ok(())
            }
            Some(UnderWay::Commit(attempt)) => {
                let outcome = self.own.commit(&attempt)?;
                // If it is refused, the allocation went with its client, before the commit arrived.
                if let Ok(payload) = outcome {
                    self.model.with(|facts| facts.committed(payload, attempt.content));
                }
                Ok(())
            }
        }
    }

    /// Lets a client finish what it is doing.
    fn retire(&mut self, number: usize) -> Result<()> {
        let victim = &mut self.victims[number];
        victim.stdin = None;
        let status = victim.end()?;
        ensure!(status.success(), "client {number} failed: {status}");
        self.resolve(number)
    }

    fn spawn(&mut self, number: usize) -> Result<Victim> {
        let seed = self.dice.roll();
        let mut child = Command::new(std::env::current_exe()?)
            .arg("victim")
            .arg(self.server.endpoint_file())
            .arg(format!("{seed:x}"))
            .arg(seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
        let model = self.model.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.lines() {
                model.note(number, serde_json::from_str(&line?)?);
            }
            Ok(())
        });
        Ok(Victim {
            stdin: child.stdin.take(),
            child,
            reader: Some(reader),
        })
    }

    fn check_wrong(&self) -> Result<()> {
        let wrong = self.model.with(|facts| facts.wrong.join("\n"));
        ensure!(wrong.is_empty(), "{wrong}");
        Ok(())
    }

    fn summary(&self, cycles: u32, audit: &audit::Audit) -> String {
        let kills: Vec<String> = self.kills.iter().map(|(who, count)| format!("{who} {count}")).collect();
        self.model.with(|facts| {
            let sizes = facts.sizes.iter().map(|(size, count)| format!("{count} {size:?}"));
            let sizes = sizes.collect::<Vec<_>>().join(", ").to_lowercase();
            format!(
                "{}kill-loop: {cycles} cycles (killed: {}), {} commits acknowledged ({sizes}), {} refused, {} reads \
                 right, {} deleted, lost {}, wrong {}, orphans {}, {} of the living on disk only that were put into RAM, slowest \
                 recovery {} ms",
                facts
                    .refused
                    .iter()
                    .map(|why| format!("refused: {why}\n"))
                    .collect::<String>(),
                kills.join(", "),
                facts.acknowledged,
                facts.refused.len(),
                facts.verified,
                facts.deleted.len(),
                audit.lost.len(),
                facts.wrong.len(),
                audit.orphans.len(),
                audit.spilled,
                self.slowest_recovery.as_millis()
            )
        })
    }
}

impl Victim {
    /// Waits for the process, and for everything that it told to be read.
    fn end(&mut self) -> Result<std::process::ExitStatus> {
        let status = self.child.wait()?;
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| anyhow!("a reader panicked"))??;
        }
        Ok(status)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Gone already, unless the driver failed.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
