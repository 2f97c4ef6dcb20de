//! Plays the service manager: keeps descriptors, answers barriers, hands over sockets, and notes what it is told.
#![allow(unsafe_code, reason = "descriptors get their numbers between fork and exec")]

use std::ffi::OsStr;
use std::io::IoSliceMut;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::io::{FdFlags, dup2, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, bind, recvmsg, sendto, socket_with,
};

use super::daemon::Setup;

/// The first descriptor that is handed over, see sd_listen_fds(3).
const FIRST: i32 = 3;
/// What the manager tells itself to end.
const END: &str = "END";

/// A manager with a file descriptor store.
#[derive(Debug)]
pub struct Manager {
    path: PathBuf,
    max: usize,
    state: Arc<Mutex<State>>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    kept: Vec<(String, OwnedFd)>,
    said: Vec<String>,
}

impl Manager {
    /// Listens at `path` and keeps at most `max` descriptors.
    ///
    /// # Panics
    ///
    /// If it cannot listen there.
    pub fn start(path: impl Into<PathBuf>, max: usize) -> Self {
        let path = path.into();
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        let socket = socket.expect("there are sockets");
        let address = SocketAddrUnix::new(&path).expect("the path is short");
        bind(&socket, &address).expect("the path is free");
        let state = Arc::<Mutex<State>>::default();
        let noting = Arc::clone(&state);
        let listening = std::thread::spawn(move || {
            while let Some((text, fds)) = receive(&socket) {
                lock(&noting).note(&text, fds, max);
            }
        });
        Self {
            path,
            max,
            state,
            listening: Some(listening),
        }
    }

    /// The server as this manager starts it: with these sockets, under their names, and all that is kept.
    ///
    /// # Panics
    ///
    /// If there are no descriptors to spare.
    pub fn service(&self, setup: Setup, sockets: &[(&str, BorrowedFd<'_>)]) -> Setup {
        let state = self.state();
        let kept = state.kept.iter().map(|(name, fd)| (name.as_str(), fd.as_fd()));
        let (names, fds): (Vec<&str>, Vec<OwnedFd>) = sockets
            .iter()
            .copied()
            .chain(kept)
            .map(|(name, fd)| (name, fd.try_clone_to_owned().expect("there are descriptors")))
            .unzip();
        setup
            .variable("NOTIFY_SOCKET", self.path.display())
            .variable("FDSTORE", self.max)
            .variable("LISTEN_FDS", fds.len())
            .variable("LISTEN_FDNAMES", names.join(":"))
            .descriptors(fds)
    }

    /// How many descriptors are kept.
    pub fn kept(&self) -> usize {
        self.state().kept.len()
    }

    /// What was said, apart from what is about descriptors, since this was asked last.
    pub fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.state().said)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        let told = socket.and_then(|socket| {
            let address = SocketAddrUnix::new(&self.path)?;
            sendto(socket, END.as_bytes(), SendFlags::empty(), &address)
        });
        if told.is_ok()
            && let Some(listening) = self.listening.take()
        {
            let _ended = listening.join();
        }
    }
}

impl State {
    fn note(&mut self, text: &str, fds: Vec<OwnedFd>, max: usize) {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let name = value("FDNAME").unwrap_or("stored");
        if value("FDSTORE") == Some("1") {
            for fd in fds {
                // What is beyond the limit is dropped without a word, as by the real one.
                if self.kept.len() < max {
                    self.kept.push((name.to_owned(), fd));
                }
            }
        } else if value("FDSTOREREMOVE") == Some("1") {
            self.kept.retain(|(kept, _)| kept != name);
        } else if value("BARRIER") != Some("1") {
            self.said.push(text.to_owned());
        }
        // A barrier is answered by the end of its descriptor, here.
    }
}

/// Gives descriptors the numbers from three on, and the process its own number as `LISTEN_PID`.
pub(super) fn hand_over(program: &OsStr, fds: &[OwnedFd]) -> Command {
    // Only the process itself knows its number before it runs.
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"]).arg(program);
    // Out of the way of each other first.
    let beyond = FIRST + i32::try_from(fds.len()).expect("there are few");
    let moved = fds.iter().map(|fd| fcntl_dupfd_cloexec(fd, beyond));
    let moved: Vec<OwnedFd> = moved.collect::<Result<_, _>>().expect("there are descriptors");
    let place = move || {
        for (number, fd) in (FIRST..).zip(&moved) {
            // SAFETY: the number is this new process's to give away; nothing in it goes by it before it is replaced.
            let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
            dup2(fd, &mut target)?;
            fcntl_setfd(&*target, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls only.
    unsafe { command.pre_exec(place) };
    command
}

fn receive(socket: &OwnedFd) -> Option<(String, Vec<OwnedFd>)> {
    let mut bytes = [0; 4_096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    );
    let length = received.expect("a datagram can be received").bytes;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    (text != END).then_some((text, fds))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
