//! Contents over the byte endpoint, next to a bare server that calls `sendfile`.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use payload_client::{AcquireOptions, AllocateOptions, Client, CommitOptions, Endpoint, PayloadId};

use crate::clock::Moment;
use crate::crew::{runtime, together};
use crate::floor::sendfile::{Bare, skim};
use crate::measure::{Figure, Round, Subject, compare};
use crate::report::Settings;
use crate::server::Server;

const SIZE: usize = 64 << 20;
/// Operations of each client in a round: as many bytes as tens of thousands of small calls.
const OPERATIONS: usize = 8;

pub(crate) fn run(settings: &Settings) -> Result<Vec<Figure>> {
    let scratch = settings.scratch()?;
    let server = Server::start(&settings.payloadd()?, &scratch.path().join("data"))?;
    let id = runtime()?.block_on(publish(server.endpoint()))?;
    let bare = Bare::start(SIZE as u64)?;
    let mut figures = Vec::new();
    for clients in [1, 4] {
        let subjects = vec![
            Subject::new("bare sendfile", || floor(&bare, clients)),
            Subject::new("GET", || get(&server, id, clients)),
            Subject::new("Rust client from afar", || fetch(&server, id, clients)),
        ];
        figures.extend(compare(
            &format!("64 MiB over TCP, {clients} at once"),
            settings.rounds,
            subjects,
        )?);
    }
    Ok(figures)
}

async fn publish(endpoint: Endpoint) -> Result<PayloadId> {
    let client = Client::connect(endpoint).await?;
    let mut writer = client.allocate(SIZE as u64, AllocateOptions::default()).await?;
    writer.as_mut_slice()?.fill(7);
    let id = writer.payload_id();
    writer.commit(CommitOptions::default()).await?;
    Ok(id)
}

fn floor(bare: &Bare, clients: usize) -> Result<Round> {
    let set_up = || Ok((bare.connect()?, Vec::new()));
    together(clients, bare.pid(), set_up, |(stream, buffer)| {
        let mut once = || {
            let began = Moment::now();
            stream.write_all(b"x")?;
            skim(stream, SIZE as u64, buffer)?;
            Ok(began.elapsed())
        };
        (0..OPERATIONS).map(|_| once()).collect()
    })
}

/// A client that does no more than the floor's.
fn get(server: &Server, id: PayloadId, clients: usize) -> Result<Round> {
    let addresses = server.addresses()?;
    let host = addresses.bytes.strip_prefix("http://").context("no address")?;
    let request = format!("GET /v1/payloads/{id}/content HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let set_up = || Ok((TcpStream::connect(host)?, Vec::new()));
    together(clients, addresses.pid, set_up, |(stream, buffer)| {
        let mut once = || {
            let began = Moment::now();
            stream.write_all(request.as_bytes())?;
            let ahead = head(stream, buffer)?;
            skim(stream, (SIZE - ahead) as u64, buffer)?;
            Ok(began.elapsed())
        };
        (0..OPERATIONS).map(|_| once()).collect()
    })
}

/// Reads the head of an answer, and says how much of the content came with it.
fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize> {
    buffer.resize(256 << 10, 0);
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        ensure!(read > 0, "the server closed the connection");
        filled += read;
        if let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            ensure!(buffer.starts_with(b"HTTP/1.1 200 "), "the server refused");
            return Ok(filled - end - 4);
        }
    }
}

/// Lease, content in memory with its digest compared, release.
fn fetch(server: &Server, id: PayloadId, clients: usize) -> Result<Round> {
    let addresses = server.addresses()?;
    let set_up = || {
        let runtime = runtime()?;
        let client = runtime.block_on(Client::connect(Endpoint::address(&addresses.grpc)))?;
        Ok((runtime, client))
    };
    together(clients, addresses.pid, set_up, |(runtime, client)| {
        let once = || {
            let began = Moment::now();
            runtime.block_on(async {
                let lease = client.acquire(id, AcquireOptions::default()).await?;
                lease.first().context("the payload is empty")?;
                lease.release().await?;
                anyhow::Ok(())
            })?;
            Ok(began.elapsed())
        };
        (0..OPERATIONS).map(|_| once()).collect()
    })
}
