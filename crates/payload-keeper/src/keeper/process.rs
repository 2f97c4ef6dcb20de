//! A process that the keeper watches: its own child, which it must reap, or one that it adopted.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::policy::End;

/// A process, held by its pidfd, which never comes to mean another process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    pidfd: OwnedFd,
    child: Option<Child>,
}

impl Process {
    /// Starts a child.
    pub(crate) fn spawn(command: &[OsString], place: Place) -> io::Result<Self> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command to start"))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        match place {
            Place::Beside => command.process_group(0),
            Place::Background => command.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        let mut child = command.spawn()?;
        match open(child.id()) {
            Ok(pidfd) => Ok(Self {
                pid: child.id(),
                pidfd,
                child: Some(child),
            }),
            Err(error) => {
                // A child that cannot be watched must not live on unwatched.
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Watches a process that somebody else started.
    pub(crate) fn adopt(pid: u32) -> io::Result<Self> {
        let pidfd = open(pid)?;
        Ok(Self {
            pid,
            pidfd,
            child: None,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Readable when the process has ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Asks it to stop. A process that is gone needs no asking.
    pub(crate) fn terminate(&self) {
        if let Err(error) = pidfd_send_signal(&self.pidfd, Signal::TERM)
            && error != rustix::io::Errno::SRCH
        {
            tracing::error!(pid = self.pid, %error, "cannot signal the server");
        }
    }

    /// How it ended; reaps a child. Called when the pidfd is readable.
    pub(crate) fn end(self) -> End {
        let Some(mut child) = self.child else {
            return End::Unseen;
        };
        match child.wait() {
            Err(_) => End::Unseen,
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => End::Exited(u8::try_from(code).unwrap_or(u8::MAX)),
                (None, Some(signal)) => End::Killed(signal),
                (None, None) => End::Unseen,
            },
        }
    }
}

/// How a child stands to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It writes where the keeper writes. It has a process group of its own, so that a Ctrl-C reaches the keeper alone and
    /// the child hears of it once.
    Beside,
    /// It will outlive the shell's command and must not keep a pipe of it open. It makes a session of its own, which the
    /// leader of a process group could not.
    Background,
}

fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a process id"))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}
