//! A connection's socket: every wait has an end, and a peer that is too slow is cut off.

use std::fs::File;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use payload_core::port::Clock;
use payload_core::{Instant, Span};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// The largest head of a request, and of a chunk of its body: what is read ahead and not understood yet.
pub(super) const HEAD_SIZE_MAX: usize = 16 << 10;
/// What a peer must take or give in each idle time, so that a transfer ends. Whoever is slower is as good as gone.
const PROGRESS_MIN: u64 = 256 << 10;
/// The most that is sent before somebody looks whether it still should be.
const PIECE: usize = 4 << 20;
/// How long a peer may go on sending what nobody reads, so that it sees the answer before the connection breaks.
const FAREWELL: Span = Span::from_secs(1);

/// A socket that does not block, and what was read from it ahead.
pub(super) struct Wire {
    stream: Arc<TcpStream>,
    clock: Arc<dyn Clock>,
    idle: Span,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// How much a peer still has to move, and until when.
pub(super) struct Pace {
    deadline: Instant,
    left: u64,
}

impl Wire {
    /// `stream` must not block. A peer that does nothing for `idle` is cut off with `TimedOut`.
    pub(super) fn new(stream: Arc<TcpStream>, clock: Arc<dyn Clock>, idle: Span) -> Self {
        Self {
            stream,
            clock,
            idle,
            buffer: vec![0; HEAD_SIZE_MAX].into(),
            start: 0,
            end: 0,
        }
    }

    /// What was read and not consumed yet.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes bytes off what was read ahead.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
    }

    /// The wall clock, for headers.
    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// When something that begins now must be over.
    pub(super) fn deadline(&self) -> Instant {
        self.clock.now().after(self.idle)
    }

    /// A fresh pace for a body.
    pub(super) fn pace(&self) -> Pace {
        Pace {
            deadline: self.deadline(),
            left: PROGRESS_MIN,
        }
    }

    /// Notes that the peer moved something.
    pub(super) fn moved(&self, pace: &mut Pace, count: usize) {
        pace.left = pace.left.saturating_sub(count as u64);
        if pace.left == 0 {
            *pace = self.pace();
        }
    }

    /// Reads more ahead. False: the peer has nothing more to say. The buffer must have room.
    pub(super) fn fill(&mut self, deadline: Instant) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        debug_assert!(self.end < self.buffer.len());
        let mut room = std::mem::take(&mut self.buffer);
        let read = self.receive(&mut room[self.end..], deadline);
        self.buffer = room;
        let read = read?;
        self.end += read;
        Ok(read > 0)
    }

    /// Whether what was read ahead takes up all the room.
    pub(super) fn is_full(&self) -> bool {
        self.end - self.start == self.buffer.len()
    }

    /// Reads into `out`, first what was read ahead. Zero: the peer has nothing more to say.
    pub(super) fn read(&mut self, out: &mut [u8], pace: &mut Pace) -> io::Result<usize> {
        let ahead = self.ahead();
        let read = if ahead.is_empty() {
            self.receive(out, pace.deadline)?
        } else {
            let count = ahead.len().min(out.len());
            out[..count].copy_from_slice(&ahead[..count]);
            self.consume(count);
            count
        };
        self.moved(pace, read);
        Ok(read)
    }

    /// Sends all of it; `more` follows at once.
    pub(super) fn send(&self, mut bytes: &[u8], more: bool) -> io::Result<()> {
        let flags = if more {
            SendFlags::NOSIGNAL | SendFlags::MORE
        } else {
            SendFlags::NOSIGNAL
        };
        let mut pace = self.pace();
        while !bytes.is_empty() {
            match send(&self.stream, bytes, flags) {
                Ok(sent) => {
                    self.moved(&mut pace, sent);
                    bytes = &bytes[sent..];
                }
                Err(error) => self.after(error, PollFlags::OUT, pace.deadline)?,
            }
        }
        Ok(())
    }

    /// Sends `length` bytes of a file from `offset` on, without seeing them. `check` may end it between pieces. What was
    /// sent is added to `sent`.
    pub(super) fn send_file(
        &self,
        file: BorrowedFd<'_>,
        mut offset: u64,
        length: u64,
        sent: &mut u64,
        check: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut left, mut pace) = (length, self.pace());
        while left > 0 {
            check()?;
            let piece = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
            match rustix::fs::sendfile(&self.stream, file, Some(&mut offset), piece) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the file is shorter than the payload",
                    ));
                }
                Ok(count) => {
                    self.moved(&mut pace, count);
                    left -= count as u64;
                    *sent += count as u64;
                }
                // Some file systems, hugetlbfs among them, give their pages to nobody.
                Err(Errno::INVAL) => {
                    let count = self.send_copy(file, offset, piece)?;
                    offset += count as u64;
                    left -= count as u64;
                    *sent += count as u64;
                }
                Err(error) => self.after(error, PollFlags::OUT, pace.deadline)?,
            }
        }
        Ok(())
    }

    fn send_copy(&self, file: BorrowedFd<'_>, offset: u64, piece: usize) -> io::Result<usize> {
        let file = File::from(file.try_clone_to_owned()?);
        let mut copy = vec![0; piece.min(1 << 20)];
        let count = file.read_at(&mut copy, offset)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.send(&copy[..count], true)?;
        Ok(count)
    }

    /// Tells the peer that nothing more comes, and gives it a moment to read what came before. A socket that is closed
    /// with unread bytes in it takes back what was sent last.
    pub(super) fn farewell(&mut self) {
        let deadline = self.clock.now().after(FAREWELL.min(self.idle));
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut sink = std::mem::take(&mut self.buffer);
        while self.clock.now() < deadline && self.receive(&mut sink, deadline).is_ok_and(|read| read > 0) {}
    }

    fn receive(&self, out: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            match recv(&self.stream, &mut *out, RecvFlags::empty()) {
                Ok((read, _)) => return Ok(read),
                Err(error) => self.after(error, PollFlags::IN, deadline)?,
            }
        }
    }

    /// What to do about a call that did not work: wait for the peer, or give up.
    fn after(&self, error: Errno, events: PollFlags, deadline: Instant) -> io::Result<()> {
        match error {
            Errno::INTR => Ok(()),
            Errno::AGAIN => self.wait(events, deadline),
            error => Err(error.into()),
        }
    }

    fn wait(&self, events: PollFlags, deadline: Instant) -> io::Result<()> {
        loop {
            let left = deadline.since(self.clock.now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(
                &mut [PollFd::from_borrowed_fd(self.stream.as_fd(), events)],
                Some(&left),
            ) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Pace {
    /// Until when the peer has to move.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}
