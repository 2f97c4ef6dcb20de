//! One server process and its data directory.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};

use super::manager::hand_over;
use super::numbers::{arguments, parent, processes};
use super::wait::until;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Setup {
    binary: PathBuf,
    data_dir: PathBuf,
    config: Option<PathBuf>,
    arguments: Vec<OsString>,
    pool: &'static str,
    mode: Option<&'static str>,
    environment: Vec<(&'static str, String)>,
    descriptors: Arc<Vec<OwnedFd>>,
    trace: Option<PathBuf>,
}

/// What `endpoint.json` says.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// gRPC over TCP, as a URL.
    pub grpc: String,
    /// gRPC over a unix socket.
    pub grpc_socket: PathBuf,
    /// The local socket.
    pub socket: PathBuf,
    /// Health and metrics, as a URL.
    pub http: String,
    /// The byte endpoint, as a URL.
    pub bytes: String,
    /// The serving process.
    pub pid: u32,
}

/// A server that runs. Dropping it kills it, and a keeper in front of it, and waits for them.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    endpoint: Option<Endpoint>,
    setup: Setup,
}

impl Setup {
    /// A server in this data directory on free loopback ports, in one process.
    pub fn new(binary: impl Into<PathBuf>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            data_dir: data_dir.into(),
            config: None,
            arguments: Vec::new(),
            pool: "0B",
            mode: Some("serve"),
            environment: Vec::new(),
            descriptors: Arc::default(),
            trace: None,
        }
    }

    /// With every system call that changes a file written down, for [`crate::power`].
    pub fn traced(mut self, log: impl Into<PathBuf>) -> Self {
        self.trace = Some(log.into());
        self
    }

    /// With this text as its configuration file, next to the data directory.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn config(mut self, toml: &str) -> Self {
        let file = self.data_dir.with_extension("toml");
        fs::write(&file, toml).expect("the configuration can be written");
        self.config = Some(file);
        self
    }

    /// With so much memory made ready for payloads to come, instead of none.
    pub fn pool(mut self, size: &'static str) -> Self {
        self.pool = size;
        self
    }

    /// With the keeper in front.
    pub fn kept(mut self) -> Self {
        self.mode = None;
        self
    }

    /// With one more argument.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With this in its environment.
    pub fn variable(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }

    /// With these descriptors open, from number three on.
    pub(super) fn descriptors(mut self, descriptors: Vec<OwnedFd>) -> Self {
        self.descriptors = Arc::new(descriptors);
        self
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Panics
    ///
    /// With its log, if it ends instead.
    pub fn start(&self) -> Daemon {
        let mut daemon = self.spawn();
        let endpoint = until("the server to be ready", || daemon.ready());
        daemon.endpoint = Some(endpoint);
        daemon
    }

    /// Starts the server, which may be about to fail.
    ///
    /// # Panics
    ///
    /// If there is no such binary.
    pub fn spawn(&self) -> Daemon {
        let log = File::options().create(true).append(true).open(self.log_path());
        let child = self
            .command(self.mode)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the log can be opened"))
            .spawn();
        Daemon {
            child: child.expect("the binary can be started"),
            endpoint: None,
            setup: self.clone(),
        }
    }

    /// Runs the binary to its end and returns what it wrote.
    ///
    /// # Panics
    ///
    /// If there is no such binary.
    pub fn run(&self) -> Output {
        self.command(self.mode).output().expect("the binary can be run")
    }

    /// Runs another mode of the binary to its end.
    ///
    /// # Panics
    ///
    /// If there is no such binary.
    pub fn run_mode(&self, mode: &str) -> Output {
        self.run_mode_with(mode, &[])
    }

    /// With options of its own.
    ///
    /// # Panics
    ///
    /// If there is no such binary.
    pub fn run_mode_with(&self, mode: &str, options: &[&str]) -> Output {
        let mut command = self.command(Some(mode));
        command.args(options).output().expect("the binary can be run")
    }

    fn command(&self, mode: Option<&str>) -> Command {
        let mut command = match (&self.trace, self.descriptors.is_empty()) {
            (Some(log), _) => traced(log, &self.binary),
            (None, true) => Command::new(&self.binary),
            (None, false) => hand_over(self.binary.as_os_str(), &self.descriptors),
        };
        command.args(mode);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // Memory that is made ready for payloads that never come would only take time from other tests.
        command.env("PAYLOADD_TIERS_RAM_POOL", self.pool);
        command.args([OsStr::new("--data-dir"), self.data_dir.as_os_str()]);
        command.args(["--listen", "127.0.0.1:0"]);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.args(&self.arguments);
        command
    }

    fn log_path(&self) -> PathBuf {
        self.data_dir.with_extension("log")
    }
}

impl Daemon {
    /// Where to connect.
    ///
    /// # Panics
    ///
    /// If nobody has waited for the server to be ready.
    pub fn endpoint(&self) -> &Endpoint {
        self.endpoint.as_ref().expect("only a server that was awaited has one")
    }

    /// The serving process.
    pub fn pid(&self) -> u32 {
        self.endpoint
            .as_ref()
            .map_or_else(|| self.child.id(), |endpoint| endpoint.pid)
    }

    /// The process that was started: the keeper, if there is one.
    pub fn first_pid(&self) -> u32 {
        self.child.id()
    }

    /// Its directory.
    pub fn data_dir(&self) -> &Path {
        &self.setup.data_dir
    }

    /// What it has logged, in all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.setup.log_path()).unwrap_or_default()
    }

    /// Waits for the next serving process behind the keeper.
    pub fn await_next(&mut self) {
        let before = self.pid();
        let next = until("the next server", || self.ready().filter(|next| next.pid != before));
        self.endpoint = Some(next);
    }

    /// Sends a signal to the serving process.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Asks it to stop and waits for its end; whatever it leaves behind ends too.
    pub fn stop(mut self) -> ExitStatus {
        self.terminate()
    }

    /// Asks it to stop and waits for its end. A process that keeps its memory for the next server lives on until this is
    /// dropped.
    pub fn terminate(&mut self) -> ExitStatus {
        send(self.child.id(), Signal::TERM);
        self.wait()
    }

    /// Kills it, and its keeper, and waits for their end.
    pub fn kill(self) {
        drop(self);
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If it has been waited for already.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child can be waited for")
    }

    /// Every process that was told to use this data directory: server, keeper, and what they started.
    fn family(&self) -> Vec<u32> {
        let own = |pid: &u32| {
            arguments(*pid)
                .iter()
                .any(|argument| argument == self.data_dir().as_os_str())
        };
        processes().into_iter().filter(own).collect()
    }

    /// Its endpoint, if it is ready.
    fn ready(&mut self) -> Option<Endpoint> {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("the server ended with {status}:\n{}", self.log());
        }
        let endpoint = Endpoint::read(&self.setup.data_dir)?;
        // The file of a server that was killed stays behind.
        let own = endpoint.pid == self.child.id() || parent(endpoint.pid) == self.child.id();
        own.then_some(endpoint)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A keeper that stands still does not start another server while the one it has is killed.
        if let Ok(None) = self.child.try_wait() {
            send(self.child.id(), Signal::STOP);
        }
        let family = self.family();
        family.iter().for_each(|pid| send(*pid, Signal::STOP));
        for pid in family.into_iter().chain(self.family()) {
            send(pid, Signal::KILL);
        }
        // Not yet among the family if it has only just begun.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

impl Endpoint {
    /// From the file, if it is there and whole.
    pub fn read(data_dir: &Path) -> Option<Self> {
        let file = fs::read_to_string(data_dir.join("endpoint.json")).ok()?;
        let value = |key: &str| {
            let line = file
                .lines()
                .find_map(|line| line.trim().strip_prefix(&format!("\"{key}\": ")))?;
            Some(line.trim_end_matches(',').trim_matches('"').to_owned())
        };
        Some(Self {
            grpc: value("grpc")?,
            grpc_socket: value("grpc_socket")?.into(),
            socket: value("socket")?.into(),
            http: value("http")?,
            bytes: value("bytes")?,
            pid: value("pid")?.parse().ok()?,
        })
    }
}

fn traced(log: &Path, binary: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(crate::power::TRACED).arg("-o").arg(log).arg(binary);
    command
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself; a child keeps its number until it is waited for.
        let _ = kill_process(pid, signal);
    }
}
