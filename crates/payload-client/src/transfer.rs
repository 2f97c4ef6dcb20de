//! Contents over HTTP, for a client that cannot be handed descriptors: up into an allocation, down under a lease.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Builder;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use payload_core::digest::{Digest, Hasher};
use payload_core::{Error, LeaseId, Reason, Result, Span};
use serde::Deserialize;
use tokio::time::timeout;

use crate::backoff::{Backoff, is_passing};
use crate::fetched::{Fetched, memory};
use crate::grant::nonsense;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nothing may move before a transfer counts as broken; the server is no more patient.
const STALL: Duration = Duration::from_secs(30);
/// Below the server's patience with silent connections, so that a connection is not used while it closes.
const IDLE: Duration = Duration::from_secs(10);
/// What is sent at once.
const PIECE: usize = 256 << 10;
/// The longest refusal that is read to its end.
const REFUSAL_SIZE_MAX: usize = 64 << 10;

/// Connections to the byte endpoints of servers. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Transfers {
    http: Client<HttpConnector, Outgoing>,
    /// How long a broken transfer is tried again.
    patience: Span,
}

/// What the server says when it does not serve a request.
#[derive(Debug, Deserialize)]
struct Refusal {
    reason: String,
    message: String,
}

impl Transfers {
    pub(crate) fn new(patience: Span) -> Self {
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector());
        Self { http, patience }
    }

    /// Fills an allocation with the first `size` bytes of `from`.
    pub(crate) async fn upload(
        &self,
        url: &str,
        token: &str,
        from: BorrowedFd<'_>,
        size: u64,
        digest: Option<Digest>,
    ) -> Result<()> {
        let mut backoff = Backoff::new(self.patience);
        loop {
            let mut request = Request::put(url).header("Payload-Allocation", token);
            if let Some(digest) = digest {
                request = request.header("Payload-Digest", digest.to_string());
            }
            match self.ask(request, Outgoing::of(from, size)?).await {
                Err(error) if may_pass(&error) && backoff.pause().await => {}
                result => return result.map(drop),
            }
        }
    }

    /// Brings the content that a lease is on, and compares it with its digest if there is one.
    pub(crate) async fn fetch(&self, url: &str, lease: LeaseId, size: u64, digest: &str) -> Result<Fetched> {
        let digest = named(digest)?;
        let mut backoff = Backoff::new(self.patience);
        loop {
            match self.fetch_once(url, lease, size, digest).await {
                Err(error) if may_pass(&error) && backoff.pause().await => {}
                result => return result,
            }
        }
    }

    async fn fetch_once(&self, url: &str, lease: LeaseId, size: u64, digest: Option<Digest>) -> Result<Fetched> {
        let request = Request::get(url).header("Payload-Lease", lease.to_string());
        let response = self.ask(request, Outgoing::default()).await?;
        receive(response.into_body(), size, digest).await
    }

    async fn ask(&self, request: Builder, content: Outgoing) -> Result<Response<Incoming>> {
        let request = request
            .body(content)
            .map_err(|error| nonsense("an address that is none").source(error))?;
        let response = self.http.request(request).await.map_err(broken)?;
        match response.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(response),
            status => Err(refusal(status, response.into_body()).await),
        }
    }
}

/// Gives a connection up that does not come about, or on which nothing moves.
pub(crate) fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_tcp_user_timeout(Some(STALL));
    connector
}

/// The digest that the server names, if it does.
pub(crate) fn named(digest: &str) -> Result<Option<Digest>> {
    match digest {
        "" => Ok(None),
        digest => digest.parse().map(Some),
    }
}

/// Whether it broke off, or the server comes or goes, or has too much to do.
pub(crate) fn may_pass(error: &Error) -> bool {
    is_passing(error.reason()) || matches!(error.reason(), Reason::Overloaded | Reason::ObjectStoreUnavailable)
}

pub(crate) async fn receive(mut body: Incoming, size: u64, digest: Option<Digest>) -> Result<Fetched> {
    let room = memory(size)?;
    let mut hasher = digest.map(|_| Hasher::new());
    let mut at = 0;
    while let Some(frame) = timeout(STALL, body.frame()).await.map_err(broken)? {
        let Ok(piece) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        if piece.len() as u64 > size - at {
            return Err(nonsense("more content than the payload has"));
        }
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece);
        }
        write_all(&room, &piece, at)?;
        at += piece.len() as u64;
    }
    if at < size {
        return Err(broken("the content ended early"));
    }
    match (digest, hasher.map(|hasher| hasher.digest())) {
        (Some(named), Some(found)) if named != found => Err(Error::new(
            Reason::BytesCorrupt,
            format!("the bytes that came have digest {found}, and the payload has {named}"),
        )),
        _ => Fetched::new(room, size),
    }
}

fn write_all(room: &OwnedFd, mut piece: &[u8], mut at: u64) -> Result<()> {
    while !piece.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(room, piece, at)).map_err(|error| {
            Error::new(Reason::Internal, format!("cannot keep the content here: {error}"))
                .source(std::io::Error::from(error))
        })?;
        piece = &piece[written..];
        at += written as u64;
    }
    Ok(())
}

async fn refusal(status: StatusCode, body: Incoming) -> Error {
    let text = match timeout(STALL, Limited::new(body, REFUSAL_SIZE_MAX).collect()).await {
        Ok(Ok(text)) => text.to_bytes(),
        Ok(Err(error)) => return broken(error),
        Err(error) => return broken(error),
    };
    match serde_json::from_slice::<Refusal>(&text) {
        Ok(Refusal { reason, message }) => Error::new(reason.parse().unwrap_or(Reason::Internal), message),
        Err(_) => nonsense("an answer to a transfer that cannot be understood").source(format!("status {status}")),
    }
}

pub(crate) fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Reason::ConnectionLost, "the transfer of the content broke off").source(error)
}

/// A request's body: bytes of a file, read as they are sent.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Absent if there is nothing to send.
    from: Option<OwnedFd>,
    at: u64,
    size: u64,
}

impl Outgoing {
    pub(crate) fn of(from: BorrowedFd<'_>, size: u64) -> Result<Self> {
        let from = from.as_fd().try_clone_to_owned();
        Ok(Self {
            from: Some(from.map_err(|error| {
                Error::new(Reason::Internal, format!("cannot duplicate the descriptor: {error}")).source(error)
            })?),
            at: 0,
            size,
        })
    }

    fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        let Some(from) = self.from.as_ref().filter(|_| self.at < self.size) else {
            return Ok(None);
        };
        let length = usize::try_from(self.size - self.at).map_or(PIECE, |left| left.min(PIECE));
        let mut piece = BytesMut::zeroed(length);
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(from, &mut piece[..], self.at))?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        self.at += read as u64;
        Ok(Some(piece.freeze()))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.next().transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.size
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size - self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Serves one connection for each text, which is sent whatever is asked, and returns what was asked.
    fn serve(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/content", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let answer = |text: String| {
                let (mut connection, _) = listener.accept().unwrap();
                let mut asked = Vec::new();
                let mut piece = [0; 1 << 16];
                while !asked.ends_with(b"\r\n\r\n") && !asked.ends_with(b"the end") {
                    match connection.read(&mut piece).unwrap() {
                        0 => break,
                        read => asked.extend_from_slice(&piece[..read]),
                    }
                }
                connection.write_all(text.as_bytes()).unwrap();
                String::from_utf8(asked).unwrap()
            };
            answers.into_iter().map(answer).collect()
        });
        (url, serving)
    }

    fn ok(length: usize, body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    fn refused(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    fn transfers() -> Transfers {
        Transfers::new(Span::from_secs(60))
    }

    fn lease() -> LeaseId {
        LeaseId::from_bytes([7; 24])
    }

    #[tokio::test]
    async fn a_fetch_that_breaks_off_is_begun_again() {
        let busy = r#"{"reason":"OVERLOADED","message":"later"}"#;
        let (url, serving) = serve(vec![
            ok(10, "half "),
            String::new(),
            refused("503 Service Unavailable", busy),
            ok(10, "half again"),
        ]);
        let digest = Digest::of(b"half again").to_string();
        let fetched = transfers().fetch(&url, lease(), 10, &digest).await.unwrap();
        assert_eq!(fetched.bytes(), b"half again");
        let asked = serving.join().unwrap();
        assert_eq!(asked.len(), 4);
        let named = format!("payload-lease: {}\r\n", lease());
        assert!(
            asked.iter().all(|asked| asked.to_lowercase().contains(&named)),
            "{asked:?}"
        );
    }

    #[tokio::test]
    async fn fault_10_what_is_not_the_content_is_never_taken_for_it() {
        let gone = r#"{"reason":"PAYLOAD_DELETED","message":"it was deleted"}"#;
        let cases = [
            (ok(10, "other text"), Reason::BytesCorrupt),
            (ok(11, "right bytes"), Reason::Internal),
            (refused("410 Gone", gone), Reason::PayloadDeleted),
            (refused("502 Bad Gateway", "<html>"), Reason::Internal),
        ];
        let digest = Digest::of(b"right byte").to_string();
        for (answer, reason) in cases {
            let (url, serving) = serve(vec![answer]);
            let error = transfers().fetch(&url, lease(), 10, &digest).await.unwrap_err();
            assert_eq!(error.reason(), reason, "{error}");
            serving.join().unwrap();
        }
    }

    #[tokio::test]
    async fn an_upload_is_sent_anew_from_its_first_byte() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content, and the end, and more").unwrap();
        let taken = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned();
        let (url, serving) = serve(vec![String::new(), taken]);
        let digest = Digest::of(b"content, and the end");
        transfers()
            .upload(&url, "token", file.as_fd(), 20, Some(digest))
            .await
            .unwrap();
        for asked in serving.join().unwrap() {
            let asked = asked.to_lowercase();
            assert!(asked.contains("payload-allocation: token\r\n"), "{asked}");
            assert!(asked.contains(&format!("payload-digest: {digest}\r\n")), "{asked}");
            assert!(asked.contains("content-length: 20\r\n"), "{asked}");
            assert!(asked.ends_with("\r\n\r\ncontent, and the end"), "{asked}");
        }
    }
}
