//! The shipped units under a real systemd, in a corner of the machine of its own: where there is one, and this is root.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use payload_testkit::process::{Endpoint, until};
use tempfile::TempDir;

use crate::support::local::Local;
use crate::support::samples::content;
use crate::support::{directory, is_root};

/// Starts a user's manager that believes the machine was booted with systemd, and does what it is told line by line. All
/// of it ends with this shell, which is the first process of its namespace.
const SCRIPT: &str = r#"
mount -t tmpfs tmpfs /run && mkdir -p -m 0700 /run/systemd/system /run/user/0 || exit 1
export HOME="$1" XDG_CONFIG_HOME="$1/config" XDG_RUNTIME_DIR=/run/user/0
/usr/lib/systemd/systemd --user --log-target=null &
until [ -S /run/user/0/systemd/private ]; do sleep 0.05; done
echo up
while read -r line; do
    systemctl --user $line >/dev/null 2>&1 && echo done || echo failed
done
"#;

/// What does not work for a user's manager, or belongs to the machine.
const DROP_IN: &str = "[Service]\nUser=\nProtectSystem=no\nProtectHome=no\nExecStart=\n";

struct Systemd {
    shell: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    dir: TempDir,
}

impl Systemd {
    /// None where it cannot run; the test then says why it proves nothing.
    fn start() -> Option<Self> {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
            command
        };
        let able = unshare().arg("true").status().is_ok_and(|status| status.success());
        if !is_root() || !able || !Path::new("/usr/lib/systemd/systemd").exists() {
            eprintln!("skipped: needs root, namespaces and systemd");
            return None;
        }
        let dir = directory();
        install(dir.path());
        let mut shell = unshare()
            .args(["sh", "-c", SCRIPT, "sh"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        let mut systemd = Self {
            shell,
            orders,
            answers: BufReader::new(answers),
            dir,
        };
        assert_eq!(systemd.answer(), "up");
        Some(systemd)
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
        assert_eq!(self.answer(), "done", "{order}");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("payload.sock")
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Endpoint::read(&self.dir.path().join("data"))
    }

    /// What a new session reads.
    fn read(&self, payload: &str) -> Vec<u8> {
        Local::open(&self.socket()).lease(payload).read()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ended = self.shell.kill().and_then(|()| self.shell.wait());
    }
}

/// The units as they are shipped, with paths of this test.
fn install(dir: &Path) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd");
    let units = dir.join("config/systemd/user");
    let write = |name: &str, text: String| {
        let path = units.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for unit in ["payloadd.service", "payloadd-local.socket"] {
        write(unit, std::fs::read_to_string(shipped.join(unit)).unwrap());
    }
    let (server, data, socket) = (
        env!("CARGO_BIN_EXE_payloadd"),
        dir.join("data"),
        dir.join("payload.sock"),
    );
    write(
        "payloadd.service.d/test.conf",
        format!(
            "{DROP_IN}ExecStart={server} --data-dir {} --listen 127.0.0.1:0\nEnvironment=PAYLOADD_TIERS_RAM_CAPACITY=64MiB\n",
            data.display()
        ),
    );
    write(
        "payloadd-local.socket.d/test.conf",
        format!(
            "[Socket]\nListenSequentialPacket=\nListenSequentialPacket={}\n",
            socket.display()
        ),
    );
}

#[test]
fn fault_56_the_shipped_units_keep_memory_over_kills_and_restarts_under_a_real_systemd() {
    let Some(mut systemd) = Systemd::start() else { return };
    systemd.order("start payloadd-local.socket");
    assert!(systemd.endpoint().is_none(), "nobody has asked for the server yet");
    let session = Local::open(&systemd.socket());
    let bytes = content(3_000_000, 1);
    let large = session.publish(&bytes).payload_id;
    let small = session.put_id(b"in a slab");
    drop(session);

    for order in ["kill --signal=KILL payloadd.service", "restart payloadd.service"] {
        let before = until("the server to be there", || systemd.endpoint()).pid;
        systemd.order(order);
        until("the next server", || {
            systemd.endpoint().filter(|next| next.pid != before)
        });
        assert!(systemd.read(&large) == bytes, "after {order}");
        assert_eq!(systemd.read(&small), b"in a slab", "after {order}");
    }
    // It ends in the time that it has, and says so.
    systemd.order("stop payloadd.service payloadd-local.socket");
    assert!(systemd.endpoint().is_none());
}

#[test]
fn the_shipped_units_are_well_formed() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd");
    let dir = directory();
    let mut units = Vec::new();
    for unit in std::fs::read_dir(shipped).unwrap() {
        let unit = unit.unwrap().path();
        let text = std::fs::read_to_string(&unit).unwrap();
        let own = dir.path().join(unit.file_name().unwrap());
        // The program must be there for the units to be right.
        let text = text.replace("/usr/local/bin/payloadd", env!("CARGO_BIN_EXE_payloadd"));
        std::fs::write(&own, text).unwrap();
        units.push(own);
    }
    assert_eq!(units.len(), 7);
    let Ok(output) = Command::new("systemd-analyze").arg("verify").args(units).output() else {
        eprintln!("skipped: needs systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = said
        .lines()
        // Older versions do not know it; the unit says what it is for.
        .filter(|line| !line.contains("'FileDescriptorStorePreserve'"))
        .collect();
    assert!(output.status.success() && complaints.is_empty(), "{said}");
}
