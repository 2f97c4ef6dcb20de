//! A data directory with a real keeper and real servers, whose processes are all gone in the end.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use payload_socket::{Listener, Seqpacket};
use rustix::process::{Pid, Signal, kill_process};

/// Long enough that no test sees its end.
pub const LONG: &str = "3600000";

pub struct World {
    directory: tempfile::TempDir,
    control: Listener,
}

/// One life of the server.
pub struct Server {
    control: Seqpacket,
    pub pid: i32,
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = Listener::bind(&directory.path().join("control.sock"), 0o600).unwrap();
        Self { directory, control }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("keeper.sock")
    }

    /// A keeper in the foreground with the harness's server, or another command.
    pub fn keeper(&self, linger: &str, server: &[&str]) -> Keeper {
        Keeper::start(&mut self.command(linger, server))
    }

    pub fn command(&self, linger: &str, server: &[&str]) -> Command {
        let mut command = Command::new(harness());
        command.arg("keeper").arg(self.path()).arg(linger).args(server);
        command
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Waits until a server has connected to its keeper and to this test.
    pub fn server(&self) -> Server {
        let control = self.control.accept().unwrap().unwrap();
        let pid = control.peer().unwrap().pid;
        let server = Server { control, pid };
        assert_eq!(server.read().as_deref(), Some("up"));
        server
    }

    /// The process that listens on the keeper's socket; waits until there is one.
    pub fn keeper_pid(&self) -> i32 {
        let mut pid = None;
        until(|| {
            pid = Seqpacket::connect(&self.socket()).and_then(|socket| socket.peer()).ok();
            pid.is_some()
        });
        pid.unwrap().pid
    }

    /// Processes of this world that are not zombies. They are known by their working directory, which they inherit and
    /// which can be seen at every moment; a command line cannot be while a process starts.
    pub fn processes(&self) -> Vec<i32> {
        let own = self.path().canonicalize().unwrap();
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            (std::fs::read_link(entry.path().join("cwd")).ok()? == own).then_some(pid)
        });
        processes.collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A keeper may start a server while this looks, so look again.
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return;
            }
            for pid in processes {
                kill(pid, Signal::KILL);
            }
            std::thread::yield_now();
        }
    }
}

pub struct Keeper(Child);

impl Keeper {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub fn wait(mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }

    /// Waits for its end; its exit code and what it said.
    pub fn output(self) -> (Option<i32>, String) {
        let output = self.0.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Server {
    pub fn ask(&self, command: &str) -> String {
        self.control.send(command.as_bytes(), &[]).unwrap();
        self.read().expect("the server is gone")
    }

    pub fn tell(&self, command: &str) {
        self.control.send(command.as_bytes(), &[]).unwrap();
    }

    pub fn read(&self) -> Option<String> {
        let mut buffer = [0; 60_000];
        let len = self.control.recv(&mut buffer, &mut Vec::new()).unwrap()?;
        Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
    }

    /// Kills it as the kernel does when memory runs out, and waits until its socket is closed.
    pub fn kill(self) {
        kill(self.pid, Signal::KILL);
        assert_eq!(self.read(), None);
    }

    pub fn ready(&self) {
        assert_eq!(self.ask("ready"), "ok");
    }

    pub fn store(&self, number: u32, text: &str) {
        assert_eq!(self.ask(&format!("store {number} {text}")), "ok");
    }
}

pub fn kill(pid: i32, signal: Signal) {
    // It may have ended by itself.
    let _gone = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// Waits until the condition holds. The runner's timeout ends a test whose condition never does.
pub fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Whether the process is there and no zombie.
pub fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with(['Z', 'X']))
}

pub fn open_files(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The example that has a keeper and a server in it; it is built together with the tests.
pub fn harness() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(2).unwrap().join("examples/harness");
    assert!(
        path.exists(),
        "build the example first: cargo build -p payload-keeper --examples"
    );
    path
}
