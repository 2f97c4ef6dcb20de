//! A real S3 server of somebody else's: SeaweedFS, in a process of its own that ends with the test.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::fs::FlockOperation;

use super::server::{ACCESS_KEY, BUCKET, SECRET_KEY};
use crate::process::until;

/// Where `cargo xtask test` puts the program.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/seaweedfs/bin/weed");

/// The first port of the first server. Some of its ports are taken on all addresses, so servers that run side by side have
/// ports of their own; all are below those that the system gives out by itself.
const FIRST_PORT: u16 = 27_040;

/// Ports of one server.
const PORTS: u16 = 16;

/// Servers side by side; more wait for their turn.
const SERVERS: u16 = 64;

/// Ends with its connections when it is dropped, or when the test's process ends in whatever way.
#[derive(Debug)]
pub struct SeaweedFs {
    shell: Child,
    orders: Option<ChildStdin>,
    port: u16,
    dir: tempfile::TempDir,
}

impl SeaweedFs {
    /// Starts one, with an empty bucket.
    ///
    /// # Panics
    ///
    /// With its log, if it does not start.
    pub fn start() -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is not there: `cargo xtask test` installs it"
        );
        let dir = tempfile::tempdir().expect("a directory can be made");
        let (port, turn) = until("ports for SeaweedFS", free_ports);
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "seaweedfs", PROGRAM])
            .args(arguments(port, dir.path()))
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("LOG", log_in(dir.path()))
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            // The server has it open as long as it lives, and with it the lock on its ports.
            .stdout(turn)
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        let orders = shell.stdin.take();
        let server = Self {
            shell,
            orders,
            port,
            dir,
        };
        until("SeaweedFS to have its bucket", || {
            (TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() && server.log().contains("components are running"))
                .then_some(())
        });
        server
    }

    /// Its URL, for requests with the bucket in the path.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(log_in(self.dir.path())).unwrap_or_default()
    }
}

/// Ends the server as soon as nobody holds the other end of its standard input.
const SCRIPT: &str =
    r#"exec 3>&1; "$@" >"$LOG" 2>&1 </dev/null & server=$!; cat >/dev/null; kill -KILL $server; wait $server"#;

/// Ports that no other server of a test has, and the lock that keeps them.
fn free_ports() -> Option<(u16, File)> {
    (0..SERVERS).find_map(|n| {
        let port = FIRST_PORT + n * PORTS;
        let path = std::env::temp_dir().join(format!("payload-seaweedfs-{port}.lock"));
        let lock = File::options().create(true).append(true).open(path).ok()?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some((port, lock))
    })
}

fn log_in(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn arguments(first: u16, dir: &Path) -> Vec<String> {
    let dir = dir.display();
    let mut arguments = vec![
        format!("-logdir={dir}"),
        "mini".to_owned(),
        format!("-dir={dir}"),
        "-ip=127.0.0.1".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        format!("-s3.localSocket={dir}/s3.sock"),
        format!("-filer.localSocket={dir}/filer.sock"),
        format!("-bucket={BUCKET}"),
        "-webdav=false".to_owned(),
        "-admin.ui=false".to_owned(),
        "-s3.port.iceberg=0".to_owned(),
        "-s3.port.lance=0".to_owned(),
    ];
    let ports = ["s3", "master", "volume", "filer", "admin"];
    for (port, name) in (first..).step_by(2).zip(ports) {
        arguments.push(format!("-{name}.port={port}"));
        arguments.push(format!("-{name}.port.grpc={}", port + 1));
    }
    arguments
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        let log = self.log();
        self.orders = None;
        let _ = self.shell.wait();
        if std::thread::panicking() {
            let tail = log.len().saturating_sub(4_000);
            let _ = std::io::stderr().write_all(&log.as_bytes()[tail..]);
        }
    }
}
