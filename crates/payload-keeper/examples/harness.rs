//! The smallest program with a keeper and a server in it: a server that does what is written on its control socket.
//!
//! The tests of this crate drive it, because they need real processes that can be killed.
//!
//! `harness keeper|adopt|hold DIRECTORY LINGER_MS [SERVER_COMMAND…]`, `harness server DIRECTORY LINGER_MS`,
//! `harness stranger SOCKET`, `harness exit CODE`
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use payload_core::port::{Clock, FdStore};
use payload_core::{Instant, SegmentId, Span, Timestamp};
use payload_keeper::{Backoff, ClientOptions, Fate, KeeperClient, KeeperOptions, Start, run};
use payload_socket::Seqpacket;
use rustix::time::{ClockId, clock_gettime};

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        let time = clock_gettime(ClockId::Boottime);
        Instant::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_micros(clock_gettime(ClockId::Realtime).tv_sec * 1_000_000)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let texts: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match texts[..] {
        ["exit", code] => ExitCode::from(code.parse::<u8>().unwrap()),
        ["stranger", socket] => stranger(Path::new(socket)),
        ["server", directory, linger] => server(Path::new(directory), linger),
        ["keeper", directory, linger, ref server @ ..] => keeper(Start::Serve, directory, linger, server),
        ["adopt", directory, linger] => keeper(Start::Adopt, directory, linger, &[]),
        ["hold", directory, linger] => keeper(Start::Hold, directory, linger, &[]),
        _ => panic!("unknown arguments {texts:?}"),
    }
}

fn command(arguments: &[&str]) -> Vec<OsString> {
    let program = std::env::current_exe().unwrap().into_os_string();
    std::iter::once(program)
        .chain(arguments.iter().map(OsString::from))
        .collect()
}

fn keeper(start: Start, directory: &str, linger: &str, server: &[&str]) -> ExitCode {
    if let Ok(files) = std::env::var("HARNESS_OPEN_FILES") {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let files = Some(files.parse().unwrap());
        let limit = Rlimit {
            current: files,
            maximum: files,
        };
        setrlimit(Resource::Nofile, limit).unwrap();
    }
    let server = match server {
        [] => command(&["server", directory, linger]),
        [program] if program.starts_with('/') => vec![program.into()],
        given => command(given),
    };
    let options = KeeperOptions {
        directory: directory.into(),
        start,
        server,
        hold: command(&["hold", directory, linger]),
        linger: Span::from_millis(linger.parse().unwrap()),
        backoff: Backoff {
            first: Span::from_millis(1),
            max: Span::from_millis(10),
            steady: Span::from_secs(3600),
        },
    };
    run(&options, &SystemClock).unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        eprintln!("{error}: {}", cause.unwrap_or_default());
        ExitCode::from(78)
    })
}

/// Fails if the keeper answers.
fn stranger(socket: &Path) -> ExitCode {
    let socket = Seqpacket::connect(socket).unwrap();
    // The connection may be over already.
    let _over = socket.send(&[6, 1], &[]);
    let answer = socket.recv(&mut [0; 64], &mut Vec::new()).unwrap();
    ExitCode::from(u8::from(answer.is_some()))
}

type Owned = Arc<Mutex<BTreeMap<u64, OwnedFd>>>;

/// The owner of the segments, as the RAM tier would be.
struct Server {
    client: KeeperClient,
    owned: Owned,
    drop_at_term: AtomicBool,
}

fn server(directory: &Path, linger: &str) -> ExitCode {
    let patience = std::env::var("HARNESS_PATIENCE_MS").ok();
    let client = KeeperClient::connect(ClientOptions {
        directory: directory.into(),
        respawn: command(&["adopt", directory.to_str().unwrap(), linger]),
        patience: Span::from_millis(patience.map_or(30_000, |millis| millis.parse().unwrap())),
    })
    .unwrap();
    let listed = client.list().unwrap();
    let owned: Owned = Arc::new(Mutex::new(
        listed.into_iter().map(|(segment, fd)| (number(segment), fd)).collect(),
    ));
    let source = Arc::clone(&owned);
    client.set_source(move |segment| source.lock().unwrap().get(&number(segment))?.try_clone().ok());
    let server = Arc::new(Server {
        client,
        owned,
        drop_at_term: AtomicBool::new(false),
    });

    let (mut terminated, raised) = UnixStream::pair().unwrap();
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, raised).unwrap();
    let stopped = Arc::clone(&server);
    std::thread::spawn(move || {
        terminated.read_exact(&mut [0]).unwrap();
        let fate = match stopped.drop_at_term.load(Ordering::SeqCst) {
            true => Fate::Drop,
            false => Fate::Keep,
        };
        stopped.client.stopping(fate).unwrap();
        std::process::exit(0);
    });

    let control = Seqpacket::connect(&directory.join("control.sock")).unwrap();
    control.send(b"up", &[]).unwrap();
    let mut buffer = [0; 4096];
    while let Some(len) = control.recv(&mut buffer, &mut Vec::new()).unwrap() {
        let command = std::str::from_utf8(&buffer[..len]).unwrap();
        let words: Vec<&str> = command.split(' ').collect();
        let reply = server.obey(&words);
        control.send(reply.as_bytes(), &[]).unwrap();
    }
    // The test is over, and ends the processes itself: one that ended on its own could leave a keeper behind its back.
    loop {
        std::thread::park();
    }
}

impl Server {
    fn obey(self: &Arc<Self>, words: &[&str]) -> String {
        match words {
            ["store", number, text] => self.store(number.parse().unwrap(), text),
            ["store_only", number] => {
                let fd = memfd("unregistered");
                say(self.client.store(segment(number.parse().unwrap()), fd.as_fd()))
            }
            ["remove", number] => {
                let number = number.parse().unwrap();
                self.owned.lock().unwrap().remove(&number);
                say(self.client.remove(segment(number)))
            }
            ["list"] => listing(self.client.list().unwrap()),
            ["storm", count] => self.storm(count.parse().unwrap()),
            ["ready"] => say(self.client.ready()),
            ["state"] => format!("{:?}", self.client.state()),
            ["stop"] => say(self.client.stopping(Fate::Keep)),
            ["drop_at_term"] => {
                self.drop_at_term.store(true, Ordering::SeqCst);
                "ok".into()
            }
            ["exit", code] => std::process::exit(code.parse().unwrap()),
            _ => panic!("unknown command {words:?}"),
        }
    }

    fn store(&self, number: u64, text: &str) -> String {
        let fd = memfd(text);
        let result = self.client.store(segment(number), fd.as_fd());
        if result.is_ok() {
            self.owned.lock().unwrap().insert(number, fd);
        }
        say(result)
    }

    /// Stores from many threads at once.
    fn storm(self: &Arc<Self>, count: u64) -> String {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let server = Arc::clone(self);
                std::thread::spawn(move || {
                    let numbers = (1..=count).filter(|number| number % 8 == thread);
                    numbers.filter(|number| server.store(*number, "storm") == "ok").count()
                })
            })
            .collect();
        let stored: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        stored.to_string()
    }
}

fn memfd(text: &str) -> OwnedFd {
    let fd = rustix::fs::memfd_create("harness", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(fd);
    file.write_all(text.as_bytes()).unwrap();
    file.into()
}

fn say(result: payload_core::Result<()>) -> String {
    match result {
        Ok(()) => "ok".into(),
        Err(error) => error.reason().as_str().into(),
    }
}

fn listing(listed: Vec<(SegmentId, OwnedFd)>) -> String {
    if listed.is_empty() {
        return "nothing".into();
    }
    let entries = listed.into_iter().map(|(segment, fd)| {
        let mut bytes = [0; 64];
        let len = File::from(fd).read_at(&mut bytes, 0).unwrap();
        format!("{}={}", number(segment), str::from_utf8(&bytes[..len]).unwrap())
    });
    entries.collect::<Vec<_>>().join(",")
}

fn segment(number: u64) -> SegmentId {
    SegmentId::from_bytes((u128::from(number) | 7 << 76).to_be_bytes()).unwrap()
}

fn number(segment: SegmentId) -> u64 {
    u128::from_be_bytes(*segment.as_bytes()) as u64
}
