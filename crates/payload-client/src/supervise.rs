//! Keeps a client connected: notices that the connection broke, finds the server again, takes up what was held.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use payload_core::{Error, Reason, Result};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::server_message::Response;
use payload_socket::Seqpacket;
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::grant::nonsense;
use crate::intake::{Answer, Expect};
use crate::link::Link;
use crate::lookout;
use crate::reclaim;
use crate::remote::Remote;
use crate::session::{Route, Session};

/// The version of the local socket's rules that this client speaks.
const PROTOCOL: u32 = 1;

/// Which server this client talks to, and what that server calls it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    session_id: String,
    node_id: String,
    epoch: u64,
}

/// The first connection. Its reader comes back if it is a local one; a remote one looks after itself. A server that has
/// died without a word is given the time of a reconnect to come back.
pub(crate) async fn first(session: &Arc<Session>) -> Result<Option<JoinHandle<()>>> {
    let mut backoff = Backoff::new(session.options.reconnect_max);
    loop {
        match connect(session).await {
            Err(error)
                if error.reason() == Reason::ConnectionLost
                    && session.endpoint.is_published()
                    && backoff.pause().await => {}
            result => return result,
        }
    }
}

async fn connect(session: &Arc<Session>) -> Result<Option<JoinHandle<()>>> {
    let addresses = session.endpoint.addresses()?;
    let local = match &addresses.socket {
        Some(path) => match dial(path).await {
            Ok(socket) => return greet(session, socket).await.map(Some),
            Err(error) => Some(format!("{}: {error}", path.display())),
        },
        None => None,
    };
    // The socket may be out of this process's reach, in another container for instance, and the server still alive.
    match Remote::connect(session.endpoint.clone(), &session.options).await {
        Ok(remote) => {
            session.route.send_replace(Route::Remote(Arc::new(remote)));
            Ok(None)
        }
        Err(error) => Err(match local {
            Some(local) => Error::new(Reason::ConnectionLost, format!("no server at {local}")).source(error),
            None => error,
        }),
    }
}

/// Reconnects whenever the connection breaks.
pub(crate) async fn run(session: Arc<Session>, mut reader: JoinHandle<()>) {
    loop {
        // How the reader ended does not matter: without it there is no connection.
        let _ = reader.await;
        reader = loop {
            match reconnect(&session).await {
                Ok(reader) => break reader,
                Err(error) => {
                    session.registry.lose_leases(|_| true);
                    let why = format!("no server at {}: {error}", session.endpoint);
                    session.route.send_replace(Route::Down(error.reason(), why));
                }
            }
            session.wanted.notified().await;
        };
    }
}

/// Tries until it works or the time is over.
async fn reconnect(session: &Arc<Session>) -> Result<JoinHandle<()>> {
    let mut backoff = Backoff::new(session.options.reconnect_max);
    session.route.send_replace(Route::Connecting);
    loop {
        match attempt(session).await {
            Ok(reader) => return Ok(reader),
            Err(error) if !backoff.pause().await => return Err(error),
            Err(_) => {}
        }
    }
}

async fn attempt(session: &Arc<Session>) -> Result<JoinHandle<()>> {
    let addresses = session.endpoint.addresses()?;
    let path = addresses
        .socket
        .ok_or_else(|| Error::new(Reason::ConnectionLost, "the server has no local socket"))?;
    let socket = dial(&path).await.map_err(|error| {
        Error::new(
            Reason::ConnectionLost,
            format!("cannot connect to {}: {error}", path.display()),
        )
        .source(error)
    })?;
    greet(session, socket).await
}

async fn dial(path: &Path) -> std::io::Result<Seqpacket> {
    let path = PathBuf::from(path);
    // Connecting waits while the server's backlog is full.
    tokio::task::spawn_blocking(move || Seqpacket::connect(&path))
        .await
        .map_err(std::io::Error::other)?
}

/// Opens a session on a fresh connection, takes up what was held, and lets requests through.
async fn greet(session: &Arc<Session>, socket: Seqpacket) -> Result<JoinHandle<()>> {
    let link = Link::new(socket, session.options.patience)
        .map_err(|error| Error::new(Reason::Internal, format!("cannot watch the socket: {error}")).source(error))?;
    let reader = tokio::spawn(lookout::watch(Arc::clone(&link), Arc::clone(session)));
    // Whatever goes wrong, or if this call is dropped: a connection that was not greeted must not stay open.
    let unfinished = CloseOnDrop(Some(Arc::clone(&link)));
    let identity = hello(session, &link).await?;
    session.cache.forgets_are_void();
    session.stages.clear();
    session.set_epoch(identity.epoch);
    let earlier = session.identity.lock().clone();
    match earlier {
        Some(earlier) if earlier.node_id == identity.node_id => {
            reclaim::run(session, &link, &earlier.session_id, identity.epoch).await?;
        }
        Some(_) => session.registry.lose_leases(|_| true),
        None => {}
    }
    // Only now: if the connection broke during the reclaim, the next one goes on for the same earlier session.
    *session.identity.lock() = Some(identity);
    session.route.send_replace(Route::Local(link));
    unfinished.finish();
    Ok(reader)
}

async fn hello(session: &Session, link: &Link) -> Result<Identity> {
    let request = v1::HelloRequest {
        protocol: PROTOCOL,
        client_name: client_name(session),
    };
    let mut message = v1::ClientMessage {
        correlation_id: 0,
        request: Some(Request::Hello(request)),
    };
    match link.call(session, &mut message, Expect::Message).await {
        Ok(Ok(Answer::Message(Response::Hello(hello)))) => Ok(Identity {
            session_id: hello.session_id,
            node_id: hello.node_id,
            epoch: hello.epoch,
        }),
        Ok(Ok(_)) => Err(nonsense("no greeting")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::new(Reason::ConnectionLost, "the server closed the connection")),
    }
}

fn client_name(session: &Session) -> String {
    if !session.options.name.is_empty() {
        return session.options.name.clone();
    }
    let program = std::env::args_os().next().map(PathBuf::from);
    let name = program.as_deref().and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Closes a connection unless it was put to use.
struct CloseOnDrop(Option<Arc<Link>>);

impl CloseOnDrop {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.close();
        }
    }
}
