//! The local protocol with nothing around it: one blocking socket, one question at a time.
//!
//! Next to the Rust client it tells the server's cost from the client's, and the kill loop needs request ids of its own.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use payload_core::limits;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;
use payload_proto::{status, v1};
use payload_socket::Seqpacket;
use prost::Message;

/// One greeted connection.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Seqpacket,
    last_id: u64,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// Where the server lets this session write, by container; the descriptor of each comes once.
    stages: HashMap<String, OwnedFd>,
}

/// Room to write to: a descriptor, and where in it the room begins.
pub(crate) type Room = (OwnedFd, u64);

/// Why there is no answer of the kind that was asked for.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server answered that it will not or cannot.
    Refused(payload_core::Error),
    /// The connection broke; what became of the request is unknown.
    Broken,
}

impl Link {
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let mut link = Self {
            socket: Seqpacket::connect(socket)?,
            last_id: 0,
            incoming: vec![0; limits::MESSAGE_SIZE_MAX],
            outgoing: Vec::new(),
            fds: Vec::new(),
            stages: HashMap::new(),
        };
        let hello = v1::HelloRequest {
            protocol: 1,
            client_name: "payload-bench".to_owned(),
        };
        match link.call(Request::Hello(hello)) {
            Ok(Response::Hello(_)) => Ok(link),
            other => bail!("no greeting but {other:?}"),
        }
    }

    /// Asks, and waits for the answer. Notices in between are passed over.
    pub(crate) fn call(&mut self, request: Request) -> Result<Response, Trouble> {
        self.last_id += 1;
        let message = v1::ClientMessage {
            correlation_id: self.last_id,
            request: Some(request),
        };
        self.outgoing.clear();
        message.encode(&mut self.outgoing).expect("a vector grows as needed");
        self.socket.send(&self.outgoing, &[]).map_err(|_| Trouble::Broken)?;
        self.fds.clear();
        loop {
            let received = self.socket.recv(&mut self.incoming, &mut self.fds);
            let len = received.ok().flatten().ok_or(Trouble::Broken)?;
            let answer = v1::ServerMessage::decode(&self.incoming[..len]).map_err(|_| Trouble::Broken)?;
            if answer.correlation_id != self.last_id {
                continue;
            }
            return match answer.response {
                Some(Response::Failure(failure)) => Err(Trouble::Refused(status::from_failure(failure))),
                Some(response) => Ok(response),
                None => Err(Trouble::Broken),
            };
        }
    }

    /// Takes a lease on one payload.
    pub(crate) fn acquire(&mut self, payload: &str, inline_max: u32) -> Result<v1::Lease, Trouble> {
        let request = v1::AcquireRequest {
            payload_ids: vec![payload.to_owned()],
            inline_max,
            ..v1::AcquireRequest::default()
        };
        let Response::Acquire(answer) = self.call(Request::Acquire(request))? else {
            return Err(Trouble::Broken);
        };
        match answer.results.into_iter().next().and_then(|result| result.result) {
            Some(v1::acquire_result::Result::Lease(lease)) => Ok(lease),
            Some(v1::acquire_result::Result::Failure(failure)) => Err(Trouble::Refused(status::from_failure(failure))),
            None => Err(Trouble::Broken),
        }
    }

    /// Ends a lease.
    pub(crate) fn release(&mut self, lease_id: String) -> Result<(), Trouble> {
        let request = v1::ReleaseRequest {
            lease_ids: vec![lease_id],
        };
        let Response::Release(answer) = self.call(Request::Release(request))? else {
            return Err(Trouble::Broken);
        };
        match answer.results.into_iter().next() {
            Some(v1::ReleaseResult { failure: None }) => Ok(()),
            Some(v1::ReleaseResult { failure: Some(failure) }) => Err(Trouble::Refused(status::from_failure(failure))),
            None => Err(Trouble::Broken),
        }
    }

    /// Reserves room; none for no bytes.
    pub(crate) fn allocate(
        &mut self,
        request: v1::AllocateRequest,
    ) -> Result<(v1::AllocateResponse, Option<Room>), Trouble> {
        let Response::Allocate(allocation) = self.call(Request::Allocate(request))? else {
            return Err(Trouble::Broken);
        };
        let mut fd = allocation.fd.and_then(|_| self.fds.pop());
        let location = allocation.location.clone().unwrap_or_default();
        if location.shared {
            if let Some(fd) = fd.take() {
                self.stages.insert(location.container_id.clone(), fd);
            }
            let stage = self.stages.get(&location.container_id);
            fd = stage.and_then(|stage| stage.try_clone().ok());
        }
        Ok((allocation, fd.map(|fd| (fd, location.offset))))
    }

    /// The descriptor that came with the last answer.
    pub(crate) fn take_fd(&mut self) -> Result<OwnedFd> {
        self.fds.pop().context("the answer carried no descriptor")
    }
}

impl From<Trouble> for anyhow::Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(error) => anyhow!(error),
            Trouble::Broken => anyhow!("the connection broke"),
        }
    }
}
