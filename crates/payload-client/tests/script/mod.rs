//! A server that does what a test says: it reads real messages from a real socket and answers by script.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "shared by several test binaries"
)]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::thread::JoinHandle;

use payload_client::v1::client_message::Request;
use payload_client::v1::server_message::Response;
use payload_client::{Client, ClientOptions, Endpoint, PayloadId, v1};
use payload_core::{LeaseId, limits};
use payload_socket::{Listener, Seqpacket};
use prost::Message;

pub const SESSION: &str = "session of the test";
pub const NODE: &str = "node of the test";

/// Where the scripted server listens.
pub struct Stage {
    dir: tempfile::TempDir,
}

/// One connection, from the server's side.
pub struct Connection {
    socket: Seqpacket,
}

/// One request.
#[derive(Debug)]
pub struct Asked {
    pub id: u64,
    pub request: Request,
}

impl Stage {
    pub fn new() -> Self {
        let stage = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let endpoint = format!(r#"{{"grpc":"http://127.0.0.1:1","socket":{:?}}}"#, stage.socket());
        std::fs::write(stage.dir.path().join("endpoint.json"), endpoint).unwrap();
        stage
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::file(self.dir.path().join("endpoint.json"))
    }

    pub fn listen(&self) -> Listener {
        Listener::bind(&self.socket(), 0o600).unwrap()
    }

    /// Runs `script` as the server and connects a client to it.
    pub async fn play<T: Send + 'static>(
        &self,
        options: ClientOptions,
        script: impl FnOnce(&Listener, Connection) -> T + Send + 'static,
    ) -> (Client, JoinHandle<T>) {
        let listener = self.listen();
        let server = std::thread::spawn(move || {
            let first = Connection::greet(&listener, 1);
            script(&listener, first)
        });
        (Client::connect_with(self.endpoint(), options).await.unwrap(), server)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }
}

impl Connection {
    /// Accepts a client and answers its greeting as the server's start number `epoch`.
    pub fn greet(listener: &Listener, epoch: u64) -> Self {
        let connection = Self {
            socket: listener.accept().unwrap().unwrap(),
        };
        let asked = connection.next();
        let Request::Hello(hello) = &asked.request else {
            panic!("{asked:?} is not a greeting")
        };
        assert_eq!(hello.protocol, 1);
        let hello = v1::HelloResponse {
            session_id: format!("{SESSION} {epoch}"),
            node_id: NODE.to_owned(),
            epoch,
            inline_max: 65_536,
        };
        connection.answer(&asked, Response::Hello(hello), &[]);
        connection
    }

    /// The next request; panics at the end of the connection.
    pub fn next(&self) -> Asked {
        self.next_or_end().expect("the client closed the connection")
    }

    pub fn next_or_end(&self) -> Option<Asked> {
        let mut buffer = vec![0; limits::MESSAGE_SIZE_MAX];
        let len = self.socket.recv(&mut buffer, &mut Vec::new()).unwrap()?;
        let message = v1::ClientMessage::decode(&buffer[..len]).unwrap();
        Some(Asked {
            id: message.correlation_id,
            request: message.request.unwrap(),
        })
    }

    pub fn next_acquire(&self) -> (Asked, v1::AcquireRequest) {
        let asked = self.next();
        let Request::Acquire(request) = asked.request.clone() else {
            panic!("{asked:?} is not an acquire")
        };
        (asked, request)
    }

    /// Reads a release, and agrees to it.
    pub fn next_release(&self) -> Vec<String> {
        let asked = self.next();
        let Request::Release(request) = asked.request.clone() else {
            panic!("{asked:?} is not a release")
        };
        let results = request.lease_ids.iter().map(|_| v1::ReleaseResult::default()).collect();
        self.answer(&asked, Response::Release(v1::ReleaseResponse { results }), &[]);
        request.lease_ids
    }

    /// Reads a forget, and agrees to it.
    pub fn next_forget(&self) -> Vec<String> {
        let asked = self.next();
        let Request::Forget(request) = asked.request.clone() else {
            panic!("{asked:?} is not a forget")
        };
        self.answer(&asked, Response::Forget(v1::ForgetResponse {}), &[]);
        request.container_ids
    }

    pub fn answer(&self, asked: &Asked, response: Response, fds: &[BorrowedFd<'_>]) {
        self.send(asked.id, response, fds);
    }

    pub fn grant(&self, asked: &Asked, lease: v1::Lease, fds: &[BorrowedFd<'_>]) {
        self.answer(
            asked,
            Response::Acquire(v1::AcquireResponse {
                results: vec![granted(lease)],
            }),
            fds,
        );
    }

    pub fn refuse(&self, asked: &Asked, code: i32, reason: &str) {
        self.answer(asked, Response::Failure(failure(code, reason)), &[]);
    }

    pub fn tell(&self, notice: v1::notice::Notice) {
        self.tell_with(notice, &[]);
    }

    pub fn tell_with(&self, notice: v1::notice::Notice, fds: &[BorrowedFd<'_>]) {
        self.send(0, Response::Notice(v1::Notice { notice: Some(notice) }), fds);
    }

    fn send(&self, id: u64, response: Response, fds: &[BorrowedFd<'_>]) {
        let message = v1::ServerMessage {
            correlation_id: id,
            response: Some(response),
        };
        self.socket.send(&message.encode_to_vec(), fds).unwrap();
    }
}

pub fn failure(code: i32, reason: &str) -> v1::Failure {
    v1::Failure {
        code,
        reason: reason.to_owned(),
        message: "the script says so".to_owned(),
        ..Default::default()
    }
}

pub fn granted(lease: v1::Lease) -> v1::AcquireResult {
    v1::AcquireResult {
        result: Some(v1::acquire_result::Result::Lease(lease)),
    }
}

pub fn payload_id(n: u8) -> PayloadId {
    PayloadId::from_parts(1_700_000_000_000, [n; 10])
}

pub fn lease_id(n: u8) -> String {
    LeaseId::from_bytes([n; 24]).to_string()
}

/// A lease number `n` on `size` bytes at `offset` of a container, with the descriptor at index 0 or without one.
pub fn lease_at(n: u8, container: &str, offset: u64, size: u64, fd: Option<u32>) -> v1::Lease {
    let location = v1::Location {
        container_id: container.to_owned(),
        offset,
        length: size,
        shared: false,
    };
    let descriptor = v1::Descriptor {
        payload_id: payload_id(n).to_string(),
        version: 2,
        size,
        digest: String::new(),
        replica_id: format!("replica {n}"),
        tier: v1::Tier::Ram.into(),
        location: Some(location),
    };
    v1::Lease {
        lease_id: lease_id(n),
        descriptor: Some(descriptor),
        expires_in_ms: None,
        content: None,
        fd,
        content_url: String::new(),
        from_bucket: None,
    }
}

/// A lease number `n` on content that comes inside the answer.
pub fn lease_of(n: u8, content: &'static [u8]) -> v1::Lease {
    let mut lease = lease_at(n, "nowhere", 0, content.len() as u64, None);
    lease.content = Some(content.into());
    lease
}

/// A memfd with these bytes; its name tells it from all others in `/proc/self/maps`.
pub fn segment(name: &str, bytes: &[u8]) -> File {
    use rustix::fs::{MemfdFlags, memfd_create};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create(name, flags).unwrap());
    file.write_all(bytes).unwrap();
    file
}

/// How often a segment is mapped in this process.
pub fn mappings(name: &str) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter(|line| line.contains(&format!("memfd:{name} ")))
        .count()
}

/// Lets other tasks run until `condition` holds.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Waits for the script's end while the client's tasks go on.
pub async fn finish<T: Send + 'static>(server: JoinHandle<T>) -> T {
    tokio::task::spawn_blocking(|| server.join().unwrap()).await.unwrap()
}

pub fn fd(file: &File) -> BorrowedFd<'_> {
    file.as_fd()
}
