//! Waiting for what nobody announces: a file that a server writes, a process that ends, a number that settles.

use std::os::fd::AsFd;

use anyhow::{Result, bail};
use payload_core::Span;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::clock::Moment;

/// How often a condition is looked at.
const STEP: Span = Span::from_millis(2);

/// Looks again and again until there is an answer; fails after `patience`.
pub(crate) fn until<T>(what: &str, patience: Span, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Moment::now();
    loop {
        if let Some(answer) = look()? {
            return Ok(answer);
        }
        if began.elapsed() > patience {
            bail!("waited {} s for {what}", patience.as_secs());
        }
        pause(STEP);
    }
}

/// Lets a part of a second pass.
pub(crate) fn pause(span: Span) {
    let time = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(span.subsec_nanos()),
    };
    // Nothing is waited for but the time; being interrupted only means looking earlier.
    let _ = poll(&mut [], Some(&time));
}

/// Sends a signal; false if the process is gone already.
pub(crate) fn signal(pid: u32, signal: Signal) -> bool {
    pid_of(pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Whether a process is there and not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Some(fd) = pid_of(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return false;
    };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())) == Ok(0)
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Whether standard input has ended: that is how a process that works for another one is told to stop.
pub(crate) fn is_told_to_stop() -> Result<bool> {
    let stdin = std::io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut fds, Some(&Timespec::default())) {
        Ok(0) => Ok(false),
        Ok(_) => Ok(true),
        Err(error) => bail!("cannot watch standard input {:?}: {error}", stdin.as_fd()),
    }
}
