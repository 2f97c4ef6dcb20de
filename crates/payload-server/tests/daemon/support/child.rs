//! Clients in processes of their own, which tests kill and freeze: this test binary, told to play a role.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const ROLE: &str = "PAYLOADD_TEST_ROLE";
const SOCKET: &str = "PAYLOADD_TEST_SOCKET";
/// The harness of the test binary writes too; this marks what the role says.
const MARK: &str = "said: ";

/// A process that plays a role until its standard input ends, or it is killed.
pub(crate) struct Actor {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Actor {
    pub(crate) fn start(role: &str, socket: &Path) -> Self {
        let binary = std::env::current_exe().unwrap();
        Self::spawn(Command::new(binary), role, socket)
    }

    /// As another user, from a copy of this binary that the user can reach.
    pub(crate) fn start_as(uid: u32, role: &str, socket: &Path, shared_dir: &Path) -> Self {
        let binary: PathBuf = shared_dir.join("actor");
        std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        let mut command = Command::new(binary);
        command.uid(uid).gid(uid).current_dir("/");
        Self::spawn(command, role, socket)
    }

    fn spawn(mut command: Command, role: &str, socket: &Path) -> Self {
        let mut child = command
            .args(["--exact", "roles::plays_its_role", "--nocapture"])
            .env(ROLE, role)
            .env(SOCKET, socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next thing that the role says.
    pub(crate) fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the actor has ended");
            if let Some(said) = line.trim_end().strip_prefix(MARK) {
                return said.to_owned();
            }
        }
    }

    /// Lets the role go on behind its next `pause`.
    pub(crate) fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The role of this process and the server's socket, if it is an actor.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(SOCKET)?.into()))
}

/// Tells the test something.
pub(crate) fn say(text: &str) {
    // The harness may have begun a line.
    let line = format!("\n{MARK}{text}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// Waits for the test; false at the end of the play.
pub(crate) fn pause() -> bool {
    matches!(std::io::stdin().read(&mut [0]), Ok(1))
}
