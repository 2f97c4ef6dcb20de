//! A payload of 64 MiB on its way from one process to another: from the commit to the first byte read.
//!
//! The reader is a process of its own that waits: for a message with a descriptor, which is the floor, or for a lease on
//! a payload that is not committed yet. Both clocks are the same, so the times of the two processes can be compared.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::task::Poll;

use anyhow::{Context, Result, bail, ensure};
use payload_client::{AcquireOptions, AllocateOptions, Client, CommitOptions, DeleteOptions, Endpoint, PayloadId};
use payload_core::Span;
use payload_socket::{Listener, Seqpacket};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::clock::Moment;
use crate::crew::runtime;
use crate::mapping::Mapping;
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::server::Server;

const SIZE: usize = 64 << 20;
const OPERATIONS: usize = 15;
/// The message that comes with a descriptor; any other is the name of a payload.
const HERE: &[u8] = b"here";
/// How long the reader waits for a commit.
const WAIT: Span = Span::from_secs(30);

pub(crate) fn run(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let server = Server::start(&settings.payloadd()?, &scratch.path().join("data"))?;
    let reader = Reader::start(&scratch.path().join("reader.sock"), &server.endpoint_file())?;
    let subjects = vec![
        Subject::new("one message, mmap", || reader.floor()),
        Subject::new("from the commit's answer", || reader.lease(&server, From::Answer)),
        Subject::new("from the commit's request", || reader.lease(&server, From::Request)),
    ];
    compare("64 MiB, first byte in another process", settings.rounds, subjects)
}

/// Where the time begins to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Request,
    Answer,
}

/// The other process.
#[derive(Debug)]
pub(crate) struct Reader {
    child: Child,
    socket: Seqpacket,
}

impl Reader {
    pub(crate) fn start(socket: &Path, endpoint: &Path) -> Result<Self> {
        let listener = Listener::bind(socket, 0o600)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("reader")
            .arg(socket)
            .arg(endpoint)
            .stdin(Stdio::null())
            .spawn()?;
        let socket = listener.accept()?.context("the reader did not come")?;
        Ok(Self { child, socket })
    }

    fn floor(&self) -> Result<Round> {
        let once = |_| {
            let memory = memfd_create("floor", MemfdFlags::CLOEXEC)?;
            ftruncate(&memory, SIZE as u64)?;
            rustix::io::pwrite(&memory, &[7], 0)?;
            let began = Moment::now();
            self.socket.send(HERE, &[memory.as_fd()])?;
            Ok(self.read_at()?.since(began))
        };
        Round::of(Some(self.child.id()), || (0..OPERATIONS).map(once).collect())
    }

    pub(crate) fn lease(&self, server: &Server, from: From) -> Result<Round> {
        let runtime = runtime()?;
        let client = runtime.block_on(Client::connect(server.endpoint()))?;
        let mut made = Vec::with_capacity(OPERATIONS);
        let round = Round::of(Some(server.addresses()?.pid), || {
            let once = |_| {
                let (took, id) = runtime.block_on(self.lease_one(&client, from))?;
                made.push(id);
                Ok(took)
            };
            (0..OPERATIONS).map(once).collect()
        })?;
        // Only now: whoever has mapped a payload last frees its pages, and that takes longer than handing it over.
        for id in made {
            runtime.block_on(client.catalog().delete(id, DeleteOptions::default()))?;
        }
        Ok(round)
    }

    async fn lease_one(&self, client: &Client, from: From) -> Result<(Span, PayloadId)> {
        let mut writer = client.allocate(SIZE as u64, AllocateOptions::default()).await?;
        writer.write_at(0, &[7])?;
        let id = writer.payload_id();
        self.socket.send(id.to_string().as_bytes(), &[])?;
        ensure!(self.next()? == b"asked", "the reader did not ask");
        let requested = Moment::now();
        writer.commit(CommitOptions::default()).await?;
        let answered = Moment::now();
        let read = self.read_at()?;
        let took = match from {
            From::Request => read.since(requested),
            From::Answer => read.since(answered),
        };
        Ok((took, id))
    }

    /// When the reader read the byte.
    fn read_at(&self) -> Result<Moment> {
        Moment::from_bytes(&self.next()?).context("the reader did not say when it read")
    }

    fn next(&self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 64];
        let len = self.socket.recv_bytes(&mut buffer)?.context("the reader is gone")?;
        buffer.truncate(len);
        Ok(buffer)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It holds nothing that would have to be brought to an end.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The other process's main.
pub(crate) fn read(socket: &Path, endpoint: &Path) -> Result<()> {
    let socket = Seqpacket::connect(socket)?;
    let runtime = runtime()?;
    let client = runtime.block_on(Client::connect(Endpoint::file(endpoint)))?;
    let (mut buffer, mut fds) = (vec![0; 64], Vec::new());
    while let Some(len) = socket.recv(&mut buffer, &mut fds)? {
        if &buffer[..len] == HERE {
            let memory = fds.pop().context("no descriptor came")?;
            let mapping = Mapping::readable(memory, SIZE)?;
            std::hint::black_box(mapping.first());
            socket.send(&Moment::now().to_bytes(), &[])?;
        } else {
            let id: PayloadId = std::str::from_utf8(&buffer[..len])?.parse()?;
            runtime.block_on(wait_and_read(&client, id, &socket))?;
        }
    }
    Ok(())
}

async fn wait_and_read(client: &Client, id: PayloadId, socket: &Seqpacket) -> Result<()> {
    let options = AcquireOptions {
        wait: WAIT,
        ..AcquireOptions::default()
    };
    let mut lease = Box::pin(client.acquire(id, options));
    let early = std::future::poll_fn(|context| Poll::Ready(lease.as_mut().poll(context).is_ready())).await;
    if early {
        bail!("there was a lease before the commit");
    }
    socket.send(b"asked", &[])?;
    let lease = lease.await?;
    std::hint::black_box(lease.first());
    socket.send(&Moment::now().to_bytes(), &[])?;
    lease.release().await?;
    Ok(())
}
