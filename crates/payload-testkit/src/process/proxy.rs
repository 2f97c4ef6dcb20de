//! A wire between a client and a PostgreSQL that can be cut at the worst of moments.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::postgres::PORT;

/// What to do with the next COMMIT, and with everything after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing is cut.
    Never = 0,
    /// It is done, and nobody hears of it; then all is well again.
    Answer = 1,
    /// It does not arrive; then all is well again.
    Request = 2,
    /// It is done, nobody hears of it, and nobody gets through any more.
    AnswerAndAllElse = 3,
    /// Nobody gets through.
    All = 4,
}

impl Cut {
    const ALL: [Self; 5] = [
        Self::Never,
        Self::Answer,
        Self::Request,
        Self::AnswerAndAllElse,
        Self::All,
    ];
}

/// Passes on what both sides say. Ends with its connections when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    dir: tempfile::TempDir,
    wire: Arc<Wire>,
    door: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Wire {
    server: PathBuf,
    cut: AtomicU8,
    /// Every stream, to be shut down.
    streams: Mutex<Vec<UnixStream>>,
    /// Two for each connection.
    pumps: Mutex<Vec<JoinHandle<()>>>,
}

const SOCKET: &str = ".s.PGSQL.27032";

impl Proxy {
    /// In front of a server.
    ///
    /// # Panics
    ///
    /// If no socket can be made.
    pub fn before(server: &super::Postgres) -> Self {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let listener = UnixListener::bind(dir.path().join(SOCKET)).expect("a socket can be made");
        let wire = Arc::new(Wire {
            server: server.dir().join(SOCKET),
            cut: AtomicU8::new(Cut::Never as u8),
            streams: Mutex::default(),
            pumps: Mutex::default(),
        });
        let door = {
            let wire = Arc::clone(&wire);
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    if !wire.connect(client) {
                        return;
                    }
                }
            })
        };
        Self {
            dir,
            wire,
            door: Some(door),
        }
    }

    /// Where to connect instead of to the server itself.
    ///
    /// # Panics
    ///
    /// If the folder's name is not text.
    pub fn url(&self) -> String {
        let host = self.dir.path().to_str().expect("the folder's name is text");
        format!("postgres://postgres@{}:{PORT}/postgres", host.replace('/', "%2F"))
    }

    /// What to do from now on.
    pub fn cut(&self, cut: Cut) {
        self.wire.cut.store(cut as u8, Ordering::SeqCst);
        if cut == Cut::All {
            self.wire.shut_down();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.wire.cut.store(u8::MAX, Ordering::SeqCst);
        self.wire.shut_down();
        // Wakes the thread that accepts.
        drop(UnixStream::connect(self.dir.path().join(SOCKET)));
        if let Some(door) = self.door.take() {
            let _ = door.join();
        }
        for pump in std::mem::take(&mut *lock(&self.wire.pumps)) {
            let _ = pump.join();
        }
    }
}

impl Wire {
    fn cut_now(&self) -> Option<Cut> {
        let now = self.cut.load(Ordering::SeqCst);
        Cut::ALL.into_iter().find(|cut| *cut as u8 == now)
    }

    /// False when the proxy is at its end.
    fn connect(self: &Arc<Self>, client: UnixStream) -> bool {
        match self.cut_now() {
            None => return false,
            Some(Cut::All) => return true,
            Some(_) => {}
        }
        let Ok(server) = UnixStream::connect(&self.server) else {
            return true;
        };
        let clone = |stream: &UnixStream| stream.try_clone().expect("there are descriptors");
        lock(&self.streams).extend([clone(&client), clone(&server)]);
        let (wire, from, to) = (Arc::clone(self), clone(&client), clone(&server));
        let up = thread::spawn(move || wire.pass_requests(from, to));
        let down = thread::spawn(move || pass(server, client));
        lock(&self.pumps).extend([up, down]);
        true
    }

    fn shut_down(&self) {
        for stream in lock(&self.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn pass_requests(&self, mut client: UnixStream, mut server: UnixStream) {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            let said = &buffer[..count];
            let cut = self.cut_now().filter(|_| has(said, b"; COMMIT"));
            match cut {
                None | Some(Cut::Never) => {}
                Some(Cut::Request) => {
                    self.cut.store(Cut::Never as u8, Ordering::SeqCst);
                    break;
                }
                Some(Cut::Answer | Cut::AnswerAndAllElse | Cut::All) => {
                    // Whoever waits for the answer sees the connection end before anything of it is passed on.
                    let _ = client.shutdown(Shutdown::Both);
                    let after = if cut == Some(Cut::Answer) { Cut::Never } else { Cut::All };
                    self.cut.store(after as u8, Ordering::SeqCst);
                    let _ = server.write_all(said);
                    return;
                }
            }
            if server.write_all(said).is_err() {
                break;
            }
        }
        let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        // What nobody hears is still read to its end: the server must not find its answer unwanted.
        let _ = to.write_all(&buffer[..count]);
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn has(said: &[u8], word: &[u8]) -> bool {
    said.windows(word.len()).any(|part| part == word)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
