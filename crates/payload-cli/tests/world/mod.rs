//! A real server in a directory of its own, and the real command line program.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "shared by several test binaries"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use payload_client::Endpoint;
use rustix::event::{Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

pub struct World {
    dir: tempfile::TempDir,
    /// What the server is told by its environment.
    env: Vec<(&'static str, String)>,
    server: Option<Child>,
}

/// What the program said and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl World {
    /// A directory without a server.
    pub fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: Vec::new(),
            server: None,
        }
    }

    /// With a directory for a bucket.
    pub fn with_bucket() -> Self {
        let mut world = Self::empty();
        let bucket = world.bucket();
        std::fs::create_dir(&bucket).unwrap();
        world.env = vec![("PAYLOADD_TIERS_OBJECT_URL", format!("file://{}", bucket.display()))];
        world.launch(&["serve"]);
        world
    }

    /// With an environment that is made of its directory.
    pub fn with_env(env: impl FnOnce(&Path) -> Vec<(&'static str, String)>) -> Self {
        let mut world = Self::empty();
        world.env = env(world.dir.path());
        world.launch(&["serve"]);
        world
    }

    /// Where the object tier is, if there is one.
    pub fn bucket(&self) -> PathBuf {
        self.path("bucket")
    }

    pub fn new() -> Self {
        let mut world = Self::empty();
        world.start();
        world
    }

    /// A server with its keeper in front.
    pub fn kept() -> Self {
        let mut world = Self::empty();
        world.launch(&[]);
        world
    }

    /// Starts a server without a keeper and waits until it serves.
    pub fn start(&mut self) {
        self.launch(&["serve"]);
    }

    /// The serving process, which its keeper starts anew when it dies.
    pub fn serving_pid(&self) -> Option<i32> {
        let text = std::fs::read(self.endpoint_file()).ok()?;
        let endpoint: serde_json::Value = serde_json::from_slice(&text).ok()?;
        endpoint["pid"].as_i64()?.try_into().ok()
    }

    /// Kills the serving process and leaves its keeper alone; returns when that has started another one.
    pub fn kill_serving(&self) {
        let pid = self.serving_pid().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        while self.serving_pid().is_none_or(|now| now == pid) {
            pause();
        }
    }

    fn launch(&mut self, mode: &[&str]) {
        let log = std::fs::File::create(self.path("server.log")).unwrap();
        let mut server = Command::new(payloadd())
            .args(mode)
            .envs(self.env.clone())
            .env("PAYLOADD_TIERS_RAM_POOL", "0B")
            .args([
                "--drop-volatile",
                "--listen",
                "127.0.0.1:0",
                "--http-listen",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let own = i32::try_from(server.id()).unwrap();
        // A keeper's server is another process; in a fresh directory whoever writes the file is that one.
        while self.serving_pid().is_none_or(|pid| !mode.is_empty() && pid != own) {
            if let Some(status) = server.try_wait().unwrap() {
                panic!(
                    "payloadd ended with {status}: {}",
                    std::fs::read_to_string(self.path("server.log")).unwrap()
                );
            }
            pause();
        }
        self.server = Some(server);
    }

    /// Kills the server without a warning and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn endpoint_file(&self) -> PathBuf {
        self.data().join("endpoint.json")
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::file(self.endpoint_file())
    }

    /// The server's gRPC address, as somebody on another host would name it.
    pub fn address(&self) -> String {
        let text = std::fs::read(self.endpoint_file()).unwrap();
        let endpoint: serde_json::Value = serde_json::from_slice(&text).unwrap();
        endpoint["grpc"].as_str().unwrap().to_owned()
    }

    /// A file with these bytes in this world's directory.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The program, about to run in this world's directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payloadctl"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("PAYLOAD_ENDPOINT", self.endpoint_file());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Runs what must succeed, and returns what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
        String::from_utf8(ran.stdout).unwrap()
    }

    /// The document that `-o json` prints.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let text = self.ok(&[&["-o", "json"], args].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// Puts bytes and returns the payload's id.
    pub fn put(&self, bytes: &[u8], options: &[&str]) -> String {
        let file = self.file("put", bytes);
        let args = [&["put", file.to_str().unwrap()], options].concat();
        self.ok(&args).trim().to_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Asked to stop, a keeper ends its server too; killed, it would be replaced by one in the background.
        if let Some(mut server) = self.server.take() {
            let pid = Pid::from_child(&server);
            if kill_process(pid, Signal::TERM).is_ok() {
                let _ = server.wait();
            }
        }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by itself"),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Bytes that are not all the same.
pub fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 % 251) as u8).collect()
}

/// Presses Ctrl-C, so to speak.
pub fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

/// A moment for others, between two looks at a condition.
pub fn pause() {
    let moment = Timespec::try_from(Duration::from_millis(5)).unwrap();
    poll(&mut [], Some(&moment)).unwrap();
}

pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The server's program, which was built into the same directory as this test's.
fn payloadd() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_payloadctl")).with_file_name("payloadd");
    assert!(
        path.exists(),
        "{} is missing: build it first (cargo build -p payload-server)",
        path.display()
    );
    path
}
