//! Kills the server, its keeper, producers and consumers at random while entries go through two streams, and checks that
//! none is lost, doubled, reordered or skipped, that no group goes back, and that nobody is stuck.

mod audit;
mod database;
mod journal;
mod model;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use payload_client::{ClientOptions, Streams, v1};
use payload_core::Span;
use rustix::process::Signal;

use self::audit::Streamed;
use self::database::Database;
use self::journal::{MADE, MAKER, RAW, Role, SHARED};
use self::model::Model;
use self::worker::{patiently, stream};
use crate::clock::Moment;
use crate::content::Dice;
use crate::crew::runtime;
use crate::kill_loop::stats;
use crate::report::default_directory;
use crate::server::{Server, own_payloadd};
use crate::wait;

/// How long anybody may take to get on.
const PATIENCE: Span = Span::from_secs(60);
/// Little is made ready ahead, so that the many starts are about streams.
const CONFIG: &str = "\
    leases.grace = \"1s\"\n\
    [tiers.ram]\n\
    capacity = \"64MiB\"\n\
    pool = \"0B\"\n";
/// A keeper waits longer and longer before it starts a server again that keeps dying; a new one starts afresh.
const SERVER_KILLS_IN_A_ROW: u32 = 4;
/// Two members share a group: while one follows it, the other waits for its end.
const CREW: [Role; 6] = [
    Role::Producer,
    Role::Producer,
    Role::Member,
    Role::Member,
    Role::Follower,
    Role::Maker,
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Stop after so many kills
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Stop after so many seconds
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Makes the same choices again, as far as timing allows [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the catalog in this database instead of SQLite
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// The directory of that database's server: one of its processes is killed now and then, after which it recovers by itself
    #[arg(long, value_name = "DIR", requires = "postgres")]
    postgres_data: Option<PathBuf>,
    /// Where the server gets its data directory [default: next to this program]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The server to kill [default: payloadd next to this program]
    #[arg(long, value_name = "FILE")]
    payloadd: Option<PathBuf>,
}

struct Driver {
    /// Dropped before the server that they talk to.
    workers: Vec<Worker>,
    server: Server,
    database: Option<Database>,
    model: Model,
    dice: Dice,
    kills: BTreeMap<&'static str, u32>,
    server_kills_in_a_row: u32,
    slowest_recovery: Span,
}

/// A process, and the thread that reads what it tells.
struct Worker {
    role: Role,
    life: u64,
    child: Child,
    stdin: Option<ChildStdin>,
    reader: Option<JoinHandle<Result<()>>>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let dir = options.dir.clone().map_or_else(default_directory, Ok)?;
    let scratch = tempfile::Builder::new().prefix("stream-loop-").tempdir_in(dir)?;
    let payloadd = options.payloadd.clone().map_or_else(own_payloadd, Ok)?;
    let seed = options.seed.unwrap_or_else(|| Moment::now().as_seed());
    println!("stream-loop: seed {seed}");

    let repository = options
        .postgres
        .as_ref()
        .map_or_else(String::new, |url| format!("repository.url = {url:?}\n"));
    let config = format!("{repository}{CONFIG}");
    let mut driver = Driver {
        server: Server::start_with(&payloadd, &scratch.path().join("data"), &config)?,
        database: options.postgres_data.clone().map(Database::new),
        workers: Vec::new(),
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
        self.create_streams()?;
        for (slot, role) in CREW.into_iter().enumerate() {
            let worker = self.spawn(slot, role, 1)?;
            self.workers.push(worker);
        }
        let began = Moment::now();
        let mut rounds = 0;
        while rounds < options.rounds && began.elapsed().as_secs() < options.seconds {
            self.round().with_context(|| format!("in round {rounds}"))?;
            rounds += 1;
        }
        let streamed = self.finish()?;
        let mut faults = self.model.with(|facts| facts.wrong.clone());
        faults.extend(self.model.with(|facts| streamed.faults(facts)));
        println!("{}", self.summary(rounds, &streamed, faults.len()));
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    }

    fn create_streams(&self) -> Result<()> {
        let streams = self.streams();
        runtime()?.block_on(async {
            for name in [RAW, MADE] {
                streams
                    .create(&stream(name), v1::CreateStreamRequest::default())
                    .await?;
            }
            Ok(())
        })
    }

    /// Lets everybody get on, then kills somebody.
    fn round(&mut self) -> Result<()> {
        let more = 1 + self.dice.below(40);
        let aim = self.model.with(|facts| Aim {
            appended: facts.appended.len() as u64 + more,
            committed: facts.committed + 1,
            followed: facts.follower_next + 1,
        });
        self.wait_for(&aim)?;
        if self.server_kills_in_a_row >= SERVER_KILLS_IN_A_ROW {
            return self.kill_keeper();
        }
        match self.dice.below(100) {
            0..15 if self.database.is_some() => self.kill_database(),
            0..40 => self.kill_server(),
            40..97 => {
                let slot = self.dice.below(CREW.len() as u64) as usize;
                self.kill_worker(slot)
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
        self.killed("server");
        self.server_kills_in_a_row += 1;
        Ok(())
    }

    fn kill_keeper(&mut self) -> Result<()> {
        let before = self.server.keepers();
        ensure!(before.len() == 1, "there are {} keepers", before.len());
        ensure!(wait::signal(before[0], Signal::KILL), "the keeper died by itself");
        self.killed("keeper");
        self.server_kills_in_a_row = 0;
        wait::until("a new keeper", PATIENCE, || {
            let replaced = self.server.keepers().iter().any(|keeper| !before.contains(keeper));
            Ok((replaced && stats(&self.server)?.keeper.is_some_and(|keeper| keeper.connected)).then_some(()))
        })
    }

    fn kill_database(&mut self) -> Result<()> {
        if let Some(database) = &self.database {
            let victims = database.processes()?;
            let victim = self.dice.below(victims.len() as u64) as usize;
            database.kill(victims[victim], &victims)?;
            self.killed("database");
        }
        Ok(())
    }

    fn kill_worker(&mut self, slot: usize) -> Result<()> {
        let worker = &mut self.workers[slot];
        worker.child.kill()?;
        worker.end()?;
        let (role, life) = (worker.role, worker.life);
        self.killed(role.as_str());
        self.workers[slot] = self.spawn(slot, role, life + 1)?;
        Ok(())
    }

    fn killed(&mut self, who: &'static str) {
        *self.kills.entry(who).or_default() += 1;
    }

    fn spawn(&self, slot: usize, role: Role, life: u64) -> Result<Worker> {
        let from = self.model.with(|facts| {
            facts.begin(slot);
            facts.follower_next
        });
        let mut child = Command::new(std::env::current_exe()?)
            .arg("stream-worker")
            .arg(self.server.endpoint_file())
            .arg(role.as_str())
            .args([slot as u64, life, from].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
        let model = self.model.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.lines() {
                model.note(slot, role, &serde_json::from_str(&line?)?);
            }
            Ok(())
        });
        Ok(Worker {
            role,
            life,
            stdin: child.stdin.take(),
            child,
            reader: Some(reader),
        })
    }

    /// Stops the producers, lets everybody else come to the end, and reads the streams.
    fn finish(&mut self) -> Result<Streamed> {
        for worker in self.workers.iter_mut().filter(|worker| worker.role == Role::Producer) {
            worker.stdin = None;
            let status = worker.end()?;
            ensure!(status.success(), "a producer failed: {status}");
        }
        let head = self.head()?;
        self.wait_for(&Aim {
            appended: 0,
            committed: head,
            followed: head,
        })?;
        let streams = self.streams();
        let runtime = runtime()?;
        wait::until("the groups to come to the end", PATIENCE, || {
            let name = stream(RAW);
            let groups = runtime.block_on(patiently(|| streams.groups(&name)))?;
            let names: Vec<&str> = groups.iter().map(|group| &*group.group).collect();
            ensure!(names == [MAKER, SHARED], "there are groups {names:?}");
            Ok(groups.iter().all(|group| group.offset == head).then_some(()))
        })?;
        for worker in &mut self.workers {
            worker.child.kill()?;
            worker.end()?;
        }
        audit::read(&self.server)
    }

    fn wait_for(&self, aim: &Aim) -> Result<()> {
        let reached = self.model.wait(PATIENCE, |facts| {
            !facts.wrong.is_empty()
                || facts.appended.len() as u64 >= aim.appended
                    && facts.committed >= aim.committed
                    && facts.follower_next >= aim.followed
        });
        self.model.with(|facts| {
            ensure!(facts.wrong.is_empty(), "{}", facts.wrong.join("\n"));
            ensure!(
                reached,
                "stuck: {} appended, group at {}, follower at {}; {aim:?} was not reached",
                facts.appended.len(),
                facts.committed,
                facts.follower_next
            );
            Ok(())
        })
    }

    fn head(&self) -> Result<u64> {
        let (streams, name) = (self.streams(), stream(RAW));
        Ok(runtime()?.block_on(patiently(|| streams.get(&name)))?.head_offset)
    }

    fn streams(&self) -> Streams {
        Streams::new(self.server.endpoint(), &ClientOptions::default())
    }

    fn summary(&self, rounds: u32, streamed: &Streamed, faults: usize) -> String {
        let kills: Vec<String> = self.kills.iter().map(|(who, count)| format!("{who} {count}")).collect();
        let (acknowledged, again) = self.model.with(|facts| {
            let again: u32 = facts.shared.values().map(|times| times - 1).sum();
            (facts.appended.len(), again)
        });
        format!(
            "stream-loop: {rounds} rounds (killed: {}), {} entries, {acknowledged} acknowledged, {again} taken again after a \
             break, {} made from them, {faults} lost, doubled, out of order or skipped, slowest recovery {} ms",
            kills.join(", "),
            streamed.raw.len(),
            streamed.made.len(),
            self.slowest_recovery.as_millis()
        )
    }
}

/// How far everybody must come, or is stuck.
#[derive(Debug)]
struct Aim {
    appended: u64,
    committed: u64,
    followed: u64,
}

impl Worker {
    /// Waits for the process, and for everything that it told to be read.
    fn end(&mut self) -> Result<std::process::ExitStatus> {
        let status = self.child.wait()?;
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| anyhow!("a reader panicked"))??;
        }
        Ok(status)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Gone already, unless the driver failed.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
