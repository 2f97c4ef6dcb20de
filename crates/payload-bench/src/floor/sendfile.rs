//! The floor of a content over TCP: a bare server that sends a memfd, and a client that reads and throws away.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use rustix::fs::{MemfdFlags, memfd_create};

/// What a client reads at a time.
const PIECE: usize = 256 << 10;

/// The other process.
#[derive(Debug)]
pub(crate) struct Bare {
    child: Child,
    address: String,
}

impl Bare {
    pub(crate) fn start(size: u64) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("send-file")
            .arg(size.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        let address = address.trim().to_owned();
        Ok(Self { child, address })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(&self.address)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It holds nothing that would have to be brought to an end.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Reads so many bytes and looks at none of them.
pub(crate) fn skim(stream: &mut TcpStream, mut left: u64, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.resize(PIECE, 0);
    while left > 0 {
        let most = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let read = stream.read(&mut buffer[..most])?;
        ensure!(read > 0, "the content ended early");
        left -= read as u64;
    }
    Ok(())
}

/// The other process's main: for each byte that a client sends it gets the memory, until this is killed.
pub(crate) fn serve(size: u64) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // Written, because for memory that never was the kernel sends one and the same page of zeros, from the cache.
    let mut memory = File::from(memfd_create("floor", MemfdFlags::CLOEXEC)?);
    std::io::copy(&mut std::io::repeat(7).take(size), &mut memory)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    for connection in listener.incoming() {
        let (connection, memory) = (connection?, memory.try_clone()?);
        std::thread::spawn(move || answer(connection, &memory, size));
    }
    Ok(())
}

fn answer(mut connection: TcpStream, memory: &File, size: u64) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut asked = [0];
    while connection.read(&mut asked)? > 0 {
        let mut offset = 0;
        while offset < size {
            let left = usize::try_from(size - offset)?;
            ensure!(rustix::fs::sendfile(&connection, memory, Some(&mut offset), left)? > 0);
        }
    }
    Ok(())
}
