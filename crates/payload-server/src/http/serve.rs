//! Accepts connections, each bounded in header size, time and number, and lets them end when the server stops.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::readiness::Readiness;
use super::routes::router;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 128;
/// The largest head of a request, in bytes, and the most headers in it.
const HEAD_SIZE_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// How long a client may take for the head of its next request, idle time included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may be used at all, so that a client that does not read its answers holds nothing for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a connection that is told to end may take to do so.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait after the kernel had no descriptor left for a new connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A bound listener that does not serve yet.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
    head_timeout: Duration,
}

impl HttpServer {
    /// On a listener that does not block.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            head_timeout: HEAD_TIMEOUT,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Another time for the head of a request than the usual 15 seconds.
    pub fn head_timeout(mut self, head_timeout: Duration) -> Self {
        self.head_timeout = head_timeout;
        self
    }

    /// Serves until `stop` is cancelled; then finishes the requests that are under way.
    pub async fn run(self, readiness: Arc<Readiness>, metrics: Registry, stop: CancellationToken) {
        let router = router(self.address, readiness, metrics);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let connections = TaskTracker::new();
        let accept = async {
            loop {
                let place = Arc::clone(&places)
                    .acquire_owned()
                    .await
                    .expect("the semaphore is never closed");
                let stream = self.accept().await;
                let connection = serve(stream, router.clone(), self.head_timeout, stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
        };
        stop.run_until_cancelled(accept).await;
        connections.close();
        connections.wait().await;
    }

    async fn accept(&self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router, head_timeout: Duration, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_SIZE_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        result = connection.as_mut() => result,
        () = async { stop.run_until_cancelled(sleep(CONNECTION_TIMEOUT)).await; } => {
            connection.as_mut().graceful_shutdown();
            timeout(END_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "HTTP connection ended");
    }
}
