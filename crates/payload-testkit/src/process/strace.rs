//! `strace` at work on a server that runs: from a moment on, its system calls are written down, held up, made to fail, or
//! are its last.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::numbers::is_running;
use super::wait::until;

/// Lets go of the process when dropped.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    pid: u32,
    /// What it says goes on being taken from it.
    _said: BufReader<ChildStderr>,
}

impl Strace {
    /// Attaches to all threads of a process and returns when it has; counts of calls begin there. Nothing where the system
    /// does not let this user look into a process that is not his child.
    ///
    /// # Panics
    ///
    /// If `strace` is not installed, or does not understand the `arguments`.
    pub fn attach(pid: u32, log: &Path, arguments: &[&str]) -> Option<Self> {
        let mut child = Command::new("strace")
            .arg("-f")
            .args(arguments)
            .arg("-o")
            .arg(log)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed");
        let mut said = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut line = String::new();
        said.read_line(&mut line).expect("what strace says is text");
        if line.contains("Operation not permitted") {
            child.wait().expect("a child can be waited for");
            return None;
        }
        assert!(line.contains("attached"), "{line}");
        Some(Self {
            child,
            pid,
            _said: said,
        })
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT);
        }
        until("strace to let go", || {
            // One that dies at this moment keeps strace waiting for its last thread, and itself from being waited for.
            if !is_running(self.pid) {
                let _ = self.child.kill();
            }
            self.child.try_wait().ok().flatten()
        });
    }
}
