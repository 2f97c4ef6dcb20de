//! The floor of a lease: two messages of 64 bytes, there and back, between two processes that block.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use payload_core::Span;
use payload_socket::{Listener, Seqpacket};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::clock::Moment;
use crate::mapping::Mapping;
use crate::wait;

const MESSAGE: usize = 64;
/// A message that begins like this is answered with a descriptor.
const WITH_FD: u8 = 1;

/// The other process.
#[derive(Debug)]
pub(crate) struct Echo {
    child: Child,
}

/// One connection to it.
#[derive(Debug)]
pub(crate) struct Caller {
    socket: Seqpacket,
    buffer: [u8; MESSAGE],
}

impl Echo {
    pub(crate) fn start(socket: &Path, size: u64) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .arg("echo")
            .arg(socket)
            .arg(size.to_string())
            .stdin(Stdio::piped())
            .spawn()?;
        let echo = Self { child };
        wait::until("the echo", Span::from_secs(10), || Ok(Caller::connect(socket).ok()))?;
        Ok(echo)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It holds nothing that would have to be brought to an end.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Caller {
    pub(crate) fn connect(socket: &Path) -> std::io::Result<Self> {
        Ok(Self {
            socket: Seqpacket::connect(socket)?,
            buffer: [0; MESSAGE],
        })
    }

    /// Two ping-pongs: what acquire and release have to send at least.
    pub(crate) fn two(&mut self) -> Result<Span> {
        let began = Moment::now();
        self.one()?;
        self.one()?;
        Ok(began.elapsed())
    }

    /// The same, where the first answer brings a descriptor, which is mapped.
    pub(crate) fn two_with_fd(&mut self, size: usize) -> Result<(Span, (OwnedFd, Mapping))> {
        let began = Moment::now();
        self.buffer[0] = WITH_FD;
        send(self.socket.as_fd(), &self.buffer, SendFlags::NOSIGNAL)?;
        let mut fds = Vec::with_capacity(1);
        self.socket.recv(&mut self.buffer, &mut fds)?;
        let fd = fds.pop().context("the echo sent no descriptor")?;
        let mapping = Mapping::readable(&fd, size)?;
        self.buffer[0] = 0;
        self.one()?;
        Ok((began.elapsed(), (fd, mapping)))
    }

    fn one(&mut self) -> Result<()> {
        send(self.socket.as_fd(), &self.buffer, SendFlags::NOSIGNAL)?;
        let (received, _) = recv(self.socket.as_fd(), &mut self.buffer, RecvFlags::empty())?;
        anyhow::ensure!(received == MESSAGE, "the echo is gone");
        Ok(())
    }
}

/// The other process's main: a thread for each connection, until it is killed.
pub(crate) fn serve(path: &Path, size: u64) -> Result<()> {
    let listener = Listener::bind(path, 0o600)?;
    let memory = memfd_create("floor", MemfdFlags::CLOEXEC)?;
    ftruncate(&memory, size)?;
    while let Some(connection) = listener.accept()? {
        let memory = memory.try_clone()?;
        std::thread::spawn(move || answer(&connection, &memory));
    }
    Ok(())
}

fn answer(connection: &Seqpacket, memory: &OwnedFd) -> Result<()> {
    let mut buffer = [0; MESSAGE];
    loop {
        let (received, _) = recv(connection.as_fd(), &mut buffer, RecvFlags::empty())?;
        if received == 0 {
            return Ok(());
        }
        if buffer[0] == WITH_FD {
            connection.send(&buffer, &[memory.as_fd()])?;
        } else {
            send(connection.as_fd(), &buffer, SendFlags::NOSIGNAL)?;
        }
    }
}
