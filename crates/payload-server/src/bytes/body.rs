//! The body of a request, piece by piece, however long it is.

use std::io;

use httparse::{EMPTY_HEADER, Status};

use super::answer::{Failure, Refusal};
use super::head::{Framing, Head};
use super::wire::{Pace, Wire};

/// Headers after the last chunk; nothing is done about them.
const TRAILERS_MAX: usize = 16;

/// A body that is read as far as somebody wants it.
pub(super) struct Body<'w> {
    wire: &'w mut Wire,
    pace: Pace,
    next: Next,
    expected: bool,
}

/// What comes next on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// So many bytes, and then the end.
    Bytes(u64),
    /// The line that says how long the next chunk is.
    ChunkSize,
    /// So many bytes of a chunk, above zero.
    Chunk(u64),
    /// The end of line after a chunk.
    ChunkEnd,
    /// The next request.
    Nothing,
}

impl<'w> Body<'w> {
    pub(super) fn new(wire: &'w mut Wire, head: &Head) -> Self {
        Self {
            pace: wire.pace(),
            wire,
            next: match head.framing {
                Framing::Length(0) => Next::Nothing,
                Framing::Length(length) => Next::Bytes(length),
                Framing::Chunked => Next::ChunkSize,
            },
            expected: head.expects_continue,
        }
    }

    /// How long it is, if that was told.
    pub(super) fn length(&self) -> Option<u64> {
        match self.next {
            Next::Bytes(length) => Some(length),
            Next::Nothing => Some(0),
            Next::ChunkSize | Next::Chunk(_) | Next::ChunkEnd => None,
        }
    }

    /// Whether all of it was read, so that the next request comes next.
    pub(super) fn is_over(&self) -> bool {
        self.next == Next::Nothing
    }

    /// The next bytes; zero at the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, Failure> {
        if std::mem::take(&mut self.expected) && !self.is_over() {
            self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n", false)?;
        }
        loop {
            match self.next {
                Next::Nothing => return Ok(0),
                Next::Bytes(left) => {
                    let read = self.some(out, left)?;
                    self.next = match left - read as u64 {
                        0 => Next::Nothing,
                        left => Next::Bytes(left),
                    };
                    return Ok(read);
                }
                Next::Chunk(left) => {
                    let read = self.some(out, left)?;
                    self.next = match left - read as u64 {
                        0 => Next::ChunkEnd,
                        left => Next::Chunk(left),
                    };
                    return Ok(read);
                }
                Next::ChunkSize => self.next = self.chunk_size()?,
                Next::ChunkEnd => self.next = self.chunk_end()?,
            }
        }
    }

    /// At least one byte, at most `left`.
    fn some(&mut self, out: &mut [u8], left: u64) -> Result<usize, Failure> {
        let most = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match self.wire.read(&mut out[..most], &mut self.pace)? {
            0 => Err(gone().into()),
            read => Ok(read),
        }
    }

    fn chunk_size(&mut self) -> Result<Next, Failure> {
        loop {
            // The parser takes no digits at all for a zero.
            if self
                .wire
                .ahead()
                .first()
                .is_some_and(|first| !first.is_ascii_hexdigit())
            {
                return Err(bad_chunk().into());
            }
            match httparse::parse_chunk_size(self.wire.ahead()) {
                Ok(Status::Complete((length, 0))) => {
                    self.wire.consume(length);
                    return self.trailers();
                }
                Ok(Status::Complete((length, size))) => {
                    self.wire.consume(length);
                    return Ok(Next::Chunk(size));
                }
                Ok(Status::Partial) => self.more()?,
                Err(_) => return Err(bad_chunk().into()),
            }
        }
    }

    fn chunk_end(&mut self) -> Result<Next, Failure> {
        while self.wire.ahead().len() < 2 {
            self.more()?;
        }
        if !self.wire.ahead().starts_with(b"\r\n") {
            return Err(bad_chunk().into());
        }
        self.wire.consume(2);
        Ok(Next::ChunkSize)
    }

    fn trailers(&mut self) -> Result<Next, Failure> {
        loop {
            let mut trailers = [EMPTY_HEADER; TRAILERS_MAX];
            match httparse::parse_headers(self.wire.ahead(), &mut trailers) {
                Ok(Status::Complete((length, _))) => {
                    self.wire.consume(length);
                    return Ok(Next::Nothing);
                }
                Ok(Status::Partial) => self.more()?,
                Err(_) => return Err(Refusal::new(400, "the trailers cannot be understood").into()),
            }
        }
    }

    fn more(&mut self) -> Result<(), Failure> {
        if self.wire.is_full() {
            return Err(bad_chunk().into());
        }
        match self.wire.fill(self.pace.deadline())? {
            true => Ok(()),
            false => Err(gone().into()),
        }
    }
}

fn bad_chunk() -> Refusal {
    Refusal::new(400, "the chunks of the body cannot be understood")
}

fn gone() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
