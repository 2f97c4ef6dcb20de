//! A server of our own: started in a directory that is thrown away, stopped when it is not needed any more.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use payload_client::Endpoint;
use payload_core::Span;
use rustix::process::Signal;
use serde::Deserialize;

use crate::clock::Moment;
use crate::link::Link;
use crate::wait;

/// How long a server may take to start, or to stop.
const PATIENCE: Span = Span::from_secs(60);

/// What `endpoint.json` says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) socket: PathBuf,
    pub(crate) http: String,
    pub(crate) grpc: String,
    pub(crate) bytes: String,
    pub(crate) pid: u32,
}

/// `payloadd` with its data directory. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    payloadd: PathBuf,
    data: PathBuf,
    launched: Child,
}

impl Server {
    /// Starts the keeper with its server, the way a user would, and waits until it takes calls.
    pub(crate) fn start(payloadd: &Path, data: &Path) -> Result<Self> {
        Self::start_with(payloadd, data, "")
    }

    /// The same with a configuration of its own.
    pub(crate) fn start_with(payloadd: &Path, data: &Path, config: &str) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        std::fs::write(config_file(data), config)?;
        let mut server = Self {
            payloadd: payloadd.to_owned(),
            data: data.to_owned(),
            launched: launch(payloadd, data)?,
        };
        server.wait_ready(None)?;
        Ok(server)
    }

    /// Stops the server, leaves its segments with a keeper in the background, and starts it again. Returns how long the
    /// start took.
    pub(crate) fn restart(&mut self) -> Result<Span> {
        wait::signal(self.launched.id(), Signal::TERM);
        self.launched.wait()?;
        let began = Moment::now();
        self.launched = launch(&self.payloadd, &self.data)?;
        self.wait_ready(None)?;
        Ok(began.elapsed())
    }

    /// Waits until a server takes calls that is another process than `before`.
    pub(crate) fn wait_ready(&mut self, before: Option<u32>) -> Result<Addresses> {
        self.wait_ready_within(before, PATIENCE)
    }

    /// The same for a server that may have much to recover.
    pub(crate) fn wait_ready_within(&mut self, before: Option<u32>, patience: Span) -> Result<Addresses> {
        wait::until("the server to be ready", patience, || {
            if before.is_none() && self.launched.try_wait()?.is_some() {
                bail!("payloadd ended:\n{}", self.log());
            }
            Ok(self.ready(before))
        })
        .with_context(|| self.log())
    }

    fn ready(&self, before: Option<u32>) -> Option<Addresses> {
        let addresses = self.addresses().ok()?;
        (Some(addresses.pid) != before && Link::connect(&addresses.socket).is_ok()).then_some(addresses)
    }

    /// Where the server is at this moment.
    pub(crate) fn addresses(&self) -> Result<Addresses> {
        read_addresses(&self.endpoint_file())
    }

    pub(crate) fn endpoint_file(&self) -> PathBuf {
        self.data.join("endpoint.json")
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::file(self.endpoint_file())
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Tells every process to end, and waits until they have. A keeper that is told once stops its server and keeps the
    /// segments, here or in the background; told again, it gives them up.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let mut told = HashSet::new();
        let stopped = wait::until("the server to stop", PATIENCE, || {
            let left = self.commands();
            let serving = left.iter().any(|(_, words)| has(words, "serve"));
            for (pid, _) in &left {
                if told.insert(*pid) || !serving {
                    wait::signal(*pid, Signal::TERM);
                }
            }
            self.launched.try_wait()?;
            Ok(left.is_empty().then_some(()))
        });
        if stopped.is_err() {
            for (pid, _) in self.commands() {
                wait::signal(pid, Signal::KILL);
            }
        }
        self.launched.wait()?;
        stopped
    }

    /// The processes that keep the segments: those that are not told to serve.
    pub(crate) fn keepers(&self) -> Vec<u32> {
        let keepers = self.commands().into_iter().filter(|(_, words)| !has(words, "serve"));
        keepers.map(|(pid, _)| pid).collect()
    }

    /// Every living process that was started for this data directory, with its command line.
    fn commands(&self) -> Vec<(u32, Vec<String>)> {
        let data = self.data.display().to_string();
        let Ok(processes) = std::fs::read_dir("/proc") else {
            return Vec::new();
        };
        let found = processes.flatten().filter_map(|process| {
            let pid: u32 = process.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read_to_string(process.path().join("cmdline")).ok()?;
            let words: Vec<String> = line.split('\0').map(str::to_owned).collect();
            let ours = words.contains(&data) && words[0].ends_with("payloadd");
            (ours && wait::is_alive(pid)).then_some((pid, words))
        });
        found.collect()
    }

    /// What the server said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("payloadd.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("warning: {error:#}");
        }
    }
}

fn config_file(data: &Path) -> PathBuf {
    data.join("payloadd.toml")
}

fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|other| other == word)
}

fn launch(payloadd: &Path, data: &Path) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(data.join("payloadd.log"))?;
    let child = Command::new(payloadd)
        .arg("--data-dir")
        .arg(data)
        .args(["--listen", "127.0.0.1:0"])
        .arg("--config")
        .arg(config_file(data))
        // Ctrl-C is for the program that started it, which then stops it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    child.with_context(|| format!("cannot start {}", payloadd.display()))
}

/// Reads an endpoint file.
pub(crate) fn read_addresses(file: &Path) -> Result<Addresses> {
    let text = std::fs::read(file).with_context(|| format!("no server has written {}", file.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The `payloadd` next to this executable.
pub(crate) fn own_payloadd() -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("payloadd"))
}
