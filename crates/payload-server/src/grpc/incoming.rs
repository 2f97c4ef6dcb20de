//! Accepting connections for gRPC: without a busy loop when the process has no descriptor to spare.

use std::io;
use std::time::Duration;

use payload_socket::out_of_descriptors;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// With no descriptor left, accepting pauses: the waiting connection would be announced again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener of either family.
pub(super) trait Listener: Send + 'static {
    type Connection: Send + 'static;
    fn accept(&self) -> impl Future<Output = io::Result<Self::Connection>> + Send;
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (connection, _) = Self::accept(self).await?;
        // Answers are small and wanted at once.
        connection.set_nodelay(true)?;
        Ok(connection)
    }
}

impl Listener for UnixListener {
    type Connection = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
    }
}

/// Connections until `stop`, accepted in a task of their own that ends with it.
pub(super) fn connections<L: Listener + Sync>(
    listener: L,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<L::Connection>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        // Ends too when nobody serves any more: then nothing can be sent.
        let accepting = accept_all(listener, sender);
        stop.run_until_cancelled(accepting).await;
    });
    ReceiverStream::new(receiver)
}

async fn accept_all<L: Listener>(listener: L, sender: mpsc::Sender<io::Result<L::Connection>>) {
    // A place to hand it to first: a connection that nobody takes stays in the kernel's queue.
    while let Ok(place) = sender.reserve().await {
        match listener.accept().await {
            Ok(connection) => place.send(Ok(connection)),
            Err(error) => {
                let short = out_of_descriptors(&error);
                tracing::warn!(%error, short_of_descriptors = short, "cannot accept a gRPC connection; pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
