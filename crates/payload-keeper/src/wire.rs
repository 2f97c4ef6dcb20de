//! The asking side of the protocol: a request goes out, its reply comes back, one at a time.

use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use payload_core::Span;
use payload_socket::Seqpacket;

use crate::protocol::{MESSAGE_SIZE_MAX, Refusal, Reply, Request, VERSION};

/// A connection to a keeper.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: Seqpacket,
    patience: Span,
    turn: Mutex<()>,
}

impl Channel {
    /// Over a socket that is connected; a keeper that takes longer than `patience` to reply counts as gone.
    pub(crate) fn new(socket: Seqpacket, patience: Span) -> Self {
        Self {
            socket,
            patience,
            turn: Mutex::new(()),
        }
    }

    /// To the keeper of a data directory.
    pub(crate) fn connect(directory: &Path, patience: Span) -> io::Result<Self> {
        Ok(Self::new(Seqpacket::connect(&crate::socket_path(directory))?, patience))
    }

    /// Sends a request and waits for its reply. After an error the connection is over, because a reply that comes late
    /// would be taken for the reply to the next request.
    pub(crate) fn call(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<(Reply, Vec<OwnedFd>)> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.exchange(request, fds);
        if result.is_err() {
            self.close();
        }
        result
    }

    /// A call whose only good reply is `Done`.
    pub(crate) fn tell(&self, request: &Request) -> io::Result<Vec<OwnedFd>> {
        match self.call(request, &[])? {
            (Reply::Done, fds) => Ok(fds),
            (reply, _) => Err(unexpected(&reply)),
        }
    }

    /// Everything that the keeper holds, handed to `each` batch by batch.
    pub(crate) fn list(&self, mut each: impl FnMut(payload_core::SegmentId, OwnedFd)) -> io::Result<()> {
        let mut after = None;
        loop {
            let (reply, fds) = self.call(&Request::List { after }, &[])?;
            let Reply::Segments(segments) = reply else {
                return Err(unexpected(&reply));
            };
            if segments.len() != fds.len() {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "segments without file descriptors",
                ));
            }
            let Some(last) = segments.last().copied() else {
                return Ok(());
            };
            if after.is_some_and(|after| last <= after) {
                return Err(io::Error::new(ErrorKind::InvalidData, "the keeper's list does not end"));
            }
            after = Some(last);
            for (segment, fd) in segments.into_iter().zip(fds) {
                each(segment, fd);
            }
        }
    }

    /// Waits until the connection is over.
    pub(crate) fn wait_closed(&self) -> io::Result<bool> {
        self.socket.wait_closed(None)
    }

    /// Ends the connection, for whoever waits too.
    pub(crate) fn close(&self) {
        // Fails only if the connection is over already.
        let _over = self.socket.shutdown();
    }

    fn exchange(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<(Reply, Vec<OwnedFd>)> {
        self.socket.try_send(&request.encode(), fds)?;
        if !self.socket.wait_readable(Some(self.patience))? {
            return Err(io::Error::new(ErrorKind::TimedOut, "the keeper does not reply"));
        }
        let (mut buffer, mut fds) = ([0; MESSAGE_SIZE_MAX], Vec::new());
        let len = self.socket.try_recv(&mut buffer, &mut fds)?;
        let len = len.ok_or(ErrorKind::UnexpectedEof)?;
        let reply = Reply::decode(&buffer[..len]);
        let reply = reply.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a reply that is not understood"))?;
        Ok((reply, fds))
    }
}

/// What a reply says that is not the expected one.
pub(crate) fn unexpected(reply: &Reply) -> io::Error {
    let message = match reply {
        Reply::Refused { why, pid } => match why {
            Refusal::InUse => format!("data directory in use by pid {pid}"),
            Refusal::Version => format!("keeper {pid} does not speak version {VERSION}"),
            Refusal::Unreadable => "the keeper has no room for the file descriptors".into(),
            Refusal::NotAllowed => "the keeper does not take this request from this process".into(),
            Refusal::BadMessage => "the keeper does not understand the request".into(),
        },
        _ => "not the reply to the request".into(),
    };
    io::Error::other(message)
}
