//! A real PostgreSQL for one test: made from the installed programs, and gone when the test is, however it ends.
//!
//! PostgreSQL refuses to run as root, so root starts it as another user. A shell stands between: it waits at a pipe for
//! the end of the test, which the kernel tells it even if the test is killed.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, getuid, kill_process, test_kill_process};

use super::identity::Identity;
use super::numbers::{parent, processes};
use super::wait::until;

/// Of all servers, in a folder or at an address of their own. Nobody else's, and never given out by the kernel.
pub(super) const PORT: u16 = 27032;

/// Quick, small, and without anything that makes it less safe.
const SETTINGS: [&str; 7] = [
    "listen_addresses=",
    "shared_buffers=16MB",
    "max_connections=60",
    "max_wal_size=64MB",
    "dynamic_shared_memory_type=mmap",
    "wal_level=replica",
    // Its transactions hold the event log back for as long as they take.
    "autovacuum=off",
];

/// A server that runs. Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Postgres {
    shell: Child,
    /// A line is an order to start; the end of the pipe is the end of the server.
    orders: Option<ChildStdin>,
    dir: PathBuf,
}

impl Postgres {
    /// A new server with an empty database.
    ///
    /// # Panics
    ///
    /// With its log, if it does not start.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A new server with some settings (`name=value`) besides the usual ones.
    ///
    /// # Panics
    ///
    /// With its log, if it does not start.
    pub fn with(settings: &[&str]) -> Self {
        let (user, dir) = folder();
        Self::run(&user, dir, Path::new(""), settings)
    }

    /// A new server that follows this one: a standby, reached as any other, that takes no writes.
    ///
    /// # Panics
    ///
    /// With its log, if it does not start.
    pub fn standby(&self) -> Self {
        let (user, dir) = folder();
        Self::run(&user, dir, &self.dir, &[])
    }

    /// A new server that can also be reached over TCP, encrypted if its guest likes. One for each test.
    ///
    /// # Panics
    ///
    /// With its log, if it does not start.
    pub fn encrypted(identity: &Identity) -> Self {
        let (user, dir) = folder();
        let write = |name: &str, text: &str| {
            let file = dir.join(name);
            fs::write(&file, text).expect("own folders can be written to");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("own files can be changed");
            chown(&file, Some(user.uid), Some(user.gid)).expect("a file can be given away");
            file.display().to_string()
        };
        let certificate = format!("ssl_cert_file={}", write("server.crt", &identity.certificate));
        let key = format!("ssl_key_file={}", write("server.key", &identity.key));
        let listen = format!("listen_addresses={}", address());
        Self::run(&user, dir, Path::new(""), &["ssl=on", &certificate, &key, &listen])
    }

    fn run(user: &User, dir: PathBuf, primary: &Path, settings: &[&str]) -> Self {
        let shared = std::env::temp_dir().join(format!("payload-postgres-template-{}", user.uid));
        let settings = SETTINGS.iter().chain(settings).flat_map(|setting| ["-c", setting]);
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("postgres.sh"), "postgres.sh"])
            .args([&programs(), &shared, &dir, primary])
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // Whoever kills the test and all its group leaves the shell, which then cleans up.
            .process_group(0);
        if getuid().is_root() {
            command.uid(user.uid).gid(user.gid);
        }
        let mut shell = command.spawn().expect("there is a shell");
        let orders = shell.stdin.take();
        let mut server = Self { shell, orders, dir };
        server.start_again();
        server
    }

    /// Where to connect, as a URL of the first database.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The same for a database that the test has made.
    pub fn url_of(&self, database: &str) -> String {
        let host = self
            .dir
            .to_str()
            .expect("the folder's name is text")
            .replace('/', "%2F");
        format!("postgres://postgres@{host}:{PORT}/{database}")
    }

    /// Where to connect over TCP, to a host of this name; for one that is [`encrypted`](Self::encrypted).
    pub fn tcp_url(&self, host: &str) -> String {
        format!("postgres://postgres@{host}:{PORT}/postgres?hostaddr={}", address())
    }

    /// Runs statements as the database's owner would; gives their rows.
    ///
    /// # Panics
    ///
    /// With what is wrong with them.
    pub fn psql(&self, sql: &str) -> String {
        let mut psql = Command::new(self.program("psql"));
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-c", sql]);
        let output = psql.output().expect("PostgreSQL comes with psql");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The folder of its sockets.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its programs, such as `psql`.
    pub fn program(&self, name: &str) -> PathBuf {
        programs().join(name)
    }

    /// The process that all others of the server come from.
    pub fn pid(&self) -> u32 {
        let file = self.pid_file();
        file.first().and_then(|line| line.parse().ok()).unwrap_or_default()
    }

    /// Ends the server: with `INT` orderly, with `QUIT` at once, with `KILL` as a crash. Waits until all its processes are
    /// gone.
    pub fn stop(&self, signal: Signal) {
        let first = self.pid();
        let others = processes().into_iter().filter(|pid| parent(*pid) == first);
        let family: Vec<u32> = std::iter::once(first).chain(others).collect();
        kill_process(pid(first), signal).expect("the server runs");
        until("the server's end", || {
            let alive = |number: &u32| test_kill_process(pid(*number)).is_ok() && !is_zombie(*number);
            (!family.iter().any(alive)).then_some(())
        });
    }

    /// Starts it again after [`stop`](Self::stop), on the same files.
    ///
    /// # Panics
    ///
    /// With its log, if it does not start.
    pub fn start_again(&mut self) {
        let before = self.pid();
        let orders = self.orders.as_mut().expect("is there until the drop");
        orders.write_all(b"start\n").expect("the shell listens");
        until("PostgreSQL to be ready", || {
            if let Ok(Some(status)) = self.shell.try_wait() {
                panic!("PostgreSQL's shell ended with {status}:\n{}", self.log());
            }
            let lines = self.pid_file();
            let ready = lines.get(7).is_some_and(|line| line.trim() == "ready");
            (ready && self.pid() != before).then_some(())
        });
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// See "Server Control" in PostgreSQL's `miscadmin.h`: the process first, the state in the eighth line.
    fn pid_file(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("data/postmaster.pid")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// A new folder that belongs to whoever runs the server.
fn folder() -> (User, PathBuf) {
    let user = User::other_than_root();
    let dir = tempfile::Builder::new().prefix("payload-postgres-").tempdir();
    let dir = dir.expect("a folder can be made").keep();
    chown(&dir, Some(user.uid), Some(user.gid)).expect("a folder can be given away");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("own folders can be changed");
    (user, dir)
}

/// A loopback address that no other test has: all of them listen on the same port.
fn address() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 63), middle, low)
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let log = self.log();
        self.orders = None;
        let _ = self.shell.wait();
        if std::thread::panicking() {
            eprintln!("PostgreSQL's log:\n{log}");
        }
    }
}

/// Whom the server runs as.
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// This user, or the one that Debian's packages make for it, or nobody.
    fn other_than_root() -> Self {
        if !getuid().is_root() {
            return Self {
                uid: getuid().as_raw(),
                gid: rustix::process::getgid().as_raw(),
            };
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |name: &str| {
            let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let found = fields.find(|fields| fields[0] == name && fields.len() > 3)?;
            Some(Self {
                uid: found[2].parse().ok()?,
                gid: found[3].parse().ok()?,
            })
        };
        let user = find("postgres").or_else(|| find("nobody"));
        user.expect("there is a user besides root")
    }
}

/// Where Debian puts the programs of the newest version that is installed; elsewhere they are where `postgres` is.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .max();
    if let Some((_, path)) = newest {
        return path.join("bin");
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&paths);
    let folder = folders.find(|folder| folder.join("postgres").exists());
    folder.expect("PostgreSQL is installed (apt-get install postgresql)")
}

fn pid(number: u32) -> Pid {
    let number = i32::try_from(number).ok().and_then(Pid::from_raw);
    number.expect("a process has a number")
}

/// Ended, but not yet waited for by the shell.
fn is_zombie(number: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map_or("", |(_, fields)| fields).trim_start();
    state.starts_with('Z')
}
