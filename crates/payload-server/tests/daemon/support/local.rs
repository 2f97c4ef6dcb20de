//! A client of the local socket that speaks the raw protocol.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use payload_core::limits::MESSAGE_SIZE_MAX;
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::notice::Notice;
use payload_proto::v1::server_message::Response;
use payload_socket::Seqpacket;
use prost::Message;

use super::refusal::{Answer, Refusal, lease};

/// A connection, greeted or not.
pub(crate) struct Local {
    pub(crate) socket: Seqpacket,
    next: Cell<u64>,
    notices: RefCell<VecDeque<(Notice, Vec<OwnedFd>)>>,
    /// The stages of this session, of which each descriptor comes once.
    stages: RefCell<HashMap<String, OwnedFd>>,
}

/// A message from the server with its descriptors and its size.
pub(crate) struct Received {
    pub(crate) message: v1::ServerMessage,
    pub(crate) fds: Vec<OwnedFd>,
    pub(crate) size: usize,
}

/// A lease with the descriptor that came with it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) lease: v1::Lease,
    pub(crate) fd: Option<OwnedFd>,
}

impl Local {
    pub(crate) fn connect(socket: &Path) -> Self {
        Self {
            socket: Seqpacket::connect(socket).unwrap(),
            next: Cell::new(1),
            notices: RefCell::default(),
            stages: RefCell::default(),
        }
    }

    pub(crate) fn open(socket: &Path) -> Self {
        let local = Self::connect(socket);
        local.hello().unwrap();
        local
    }

    pub(crate) fn hello(&self) -> Answer<v1::HelloResponse> {
        self.greet(1)
    }

    pub(crate) fn greet(&self, protocol: u32) -> Answer<v1::HelloResponse> {
        let request = v1::HelloRequest {
            protocol,
            client_name: "test".to_owned(),
        };
        match self.call(Request::Hello(request))?.0 {
            Response::Hello(hello) => Ok(hello),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a request without waiting for its answer.
    pub(crate) fn send(&self, request: Request) -> u64 {
        let correlation_id = self.next.get();
        self.next.set(correlation_id + 1);
        let message = v1::ClientMessage {
            correlation_id,
            request: Some(request),
        };
        self.socket.send(&message.encode_to_vec(), &[]).unwrap();
        correlation_id
    }

    pub(crate) fn send_raw(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        self.socket.send(bytes, fds).unwrap();
    }

    /// The next message of any kind; `None` at the end of the connection.
    pub(crate) fn receive(&self) -> Option<Received> {
        let (mut buffer, mut fds) = (vec![0; MESSAGE_SIZE_MAX + 1], Vec::new());
        let size = self.socket.recv(&mut buffer, &mut fds).unwrap()?;
        let message = v1::ServerMessage::decode(&buffer[..size]).unwrap();
        Some(Received { message, fds, size })
    }

    /// The next answer; notices before it are kept.
    pub(crate) fn answer(&self) -> Received {
        loop {
            let received = self.receive().expect("the server has closed the session");
            match received.message.response {
                Some(Response::Notice(notice)) => {
                    let mut notices = self.notices.borrow_mut();
                    notices.push_back((notice.notice.unwrap(), received.fds));
                }
                _ => return received,
            }
        }
    }

    /// The answer to one request, while no other is under way.
    pub(crate) fn await_answer(&self, correlation_id: u64) -> Answer<(Response, Vec<OwnedFd>)> {
        let Received { message, fds, .. } = self.answer();
        assert_eq!(message.correlation_id, correlation_id);
        match message.response.unwrap() {
            Response::Failure(failure) => Err(Refusal::from(failure)),
            response => Ok((response, fds)),
        }
    }

    pub(crate) fn call(&self, request: Request) -> Answer<(Response, Vec<OwnedFd>)> {
        let correlation_id = self.send(request);
        self.await_answer(correlation_id)
    }

    /// The next notice, which may have come before.
    pub(crate) fn notice(&self) -> Notice {
        self.notice_with_fds().0
    }

    /// The same with its descriptors.
    pub(crate) fn notice_with_fds(&self) -> (Notice, Vec<OwnedFd>) {
        if let Some(notice) = self.notices.borrow_mut().pop_front() {
            return notice;
        }
        let received = self.receive().unwrap();
        match received.message.response {
            Some(Response::Notice(notice)) => (notice.notice.unwrap(), received.fds),
            other => panic!("not a notice: {other:?}"),
        }
    }

    /// Forgets the notices that came before the last answer; says how many there were.
    pub(crate) fn discard_notices(&self) -> usize {
        self.notices.borrow_mut().drain(..).count()
    }

    /// Sends what has no answer.
    pub(crate) fn acknowledge(&self, subscription: u64, offset: u64) {
        self.send(Request::Acknowledge(v1::Acknowledge {
            subscription,
            ack: Some(v1::SubscribeAck { offset }),
        }));
    }

    /// Waits until the server has closed the connection.
    pub(crate) fn await_end(&self) {
        while self.receive().is_some() {}
    }

    /// An allocation with what to write to: what came with it, or with an earlier one in the same stage.
    pub(crate) fn allocate(&self, request: v1::AllocateRequest) -> Answer<(v1::AllocateResponse, Option<OwnedFd>)> {
        match self.call(Request::Allocate(request))? {
            (Response::Allocate(response), mut fds) => {
                let mut fd = response.fd.map(|position| fds.swap_remove(position as usize));
                if let Some(location) = response.location.as_ref().filter(|location| location.shared) {
                    let mut stages = self.stages.borrow_mut();
                    match &fd {
                        Some(fd) => drop(stages.insert(location.container_id.clone(), fd.try_clone().unwrap())),
                        None => fd = stages.get(&location.container_id).map(|fd| fd.try_clone().unwrap()),
                    }
                }
                Ok((response, fd))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Leases and failures with their descriptors, in the order of the request.
    pub(crate) fn acquire(&self, request: v1::AcquireRequest) -> Answer<Vec<Answer<Held>>> {
        match self.call(Request::Acquire(request))? {
            (Response::Acquire(response), fds) => Ok(held(response, fds)),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn reclaim(&self, request: v1::ReclaimRequest) -> Answer<(v1::ReclaimResponse, Vec<OwnedFd>)> {
        match self.call(Request::Reclaim(request))? {
            (Response::Reclaim(response), fds) => Ok((response, fds)),
            other => panic!("{other:?}"),
        }
    }
}

/// The results of an acquire, each with its descriptor.
pub(crate) fn held(response: v1::AcquireResponse, fds: Vec<OwnedFd>) -> Vec<Answer<Held>> {
    with_fds(response.results, fds)
}

/// Leases and failures, each with its descriptor.
pub(crate) fn with_fds(results: Vec<v1::AcquireResult>, fds: Vec<OwnedFd>) -> Vec<Answer<Held>> {
    let mut fds: Vec<Option<OwnedFd>> = fds.into_iter().map(Some).collect();
    let mut item = |result| {
        let lease = lease(result)?;
        let fd = lease.fd.map(|position| fds[position as usize].take().unwrap());
        Ok(Held { lease, fd })
    };
    results.into_iter().map(&mut item).collect()
}

/// Calls whose answers carry no descriptors.
macro_rules! calls {
    ($($name:ident: $variant:ident($request:ident) -> $response:ident;)*) => {
        impl Local {$(
            pub(crate) fn $name(&self, request: v1::$request) -> Answer<v1::$response> {
                match self.call(Request::$variant(request))?.0 {
                    Response::$variant(response) => Ok(response),
                    other => panic!("{other:?}"),
                }
            }
        )*}
    };
}
calls! {
    commit: Commit(CommitRequest) -> CommitResponse;
    abort: Abort(AbortRequest) -> AbortResponse;
    put: Put(PutRequest) -> PutResponse;
    renew: Renew(RenewRequest) -> RenewResponse;
    release: Release(ReleaseRequest) -> ReleaseResponse;
    forget: Forget(ForgetRequest) -> ForgetResponse;
    open_subscription: OpenSubscription(OpenSubscriptionRequest) -> OpenSubscriptionResponse;
    close_subscription: CloseSubscription(CloseSubscriptionRequest) -> CloseSubscriptionResponse;
}
