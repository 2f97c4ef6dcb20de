//! Sits between the library and the network: adds a condition that the library does not know, reads what it drops, and gives
//! up waiting early enough for another attempt.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use async_trait::async_trait;
use http::header::{DATE, HeaderValue, IF_NONE_MATCH, RANGE};
use http::{Method, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use payload_core::Span;

/// The longest answer to a refused request that is looked at.
const REFUSAL_MAX: usize = 64 << 10;

/// A request that changes nothing is given up after this part of its budget of time, and sent again: its connection may be dead.
const ATTEMPTS: u32 = 3;

/// What the store's words for it say is no fault of the request: it was damaged or held up on its way.
pub(super) const DAMAGED: [&str; 5] = [
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "IncompleteBody",
    "RequestTimeout",
    "Md5Mismatch",
];

/// This file's word for an answer with the whole object to a question for a part of it.
pub(super) const RANGE_IGNORED: &str = "RangeIgnored";

/// Makes the library's connections.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) seen: Arc<Seen>,
    patience: Span,
}

impl Connector {
    pub(super) fn new(budget: Span) -> Self {
        Self {
            seen: Arc::default(),
            patience: budget / ATTEMPTS,
        }
    }
}

/// What the store's answers told by the way.
#[derive(Debug, Default)]
pub(super) struct Seen {
    requests: AtomicU64,
    /// Seconds since 1970 by the store's clock, at its last answer; zero before.
    date: AtomicI64,
}

impl Seen {
    /// Requests sent so far, attempts counted.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The store's clock at its last answer.
    pub(super) fn date(&self) -> Option<i64> {
        Some(self.date.load(Ordering::Relaxed)).filter(|date| *date != 0)
    }
}

/// A refusal that the library would pass on as text.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// The store's word for it, such as `NoSuchBucket`; empty if it gave none.
    pub(super) code: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answers {} {}", self.status.as_u16(), self.code)
    }
}

impl std::error::Error for Refused {}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Wire {
            inner: ReqwestConnector::default().connect(options)?,
            seen: Arc::clone(&self.seen),
            patience: self.patience,
        }))
    }
}

#[derive(Debug)]
struct Wire {
    inner: HttpClient,
    seen: Arc<Seen>,
    patience: Span,
}

/// What a request is for, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// A part of an object.
    Range,
    /// What is there.
    Look,
    /// To make an object of parts.
    Complete,
    /// To remove many objects.
    Remove,
    /// To change something else.
    Change,
}

impl Asked {
    fn of(request: &HttpRequest) -> Self {
        let query = request.uri().query().unwrap_or_default();
        match *request.method() {
            Method::GET if request.headers().contains_key(RANGE) => Self::Range,
            Method::GET | Method::HEAD => Self::Look,
            // S3 alone finishes an upload so, and takes the condition without a signature over it.
            Method::POST if query.starts_with("uploadId=") => Self::Complete,
            Method::POST if query == "delete" => Self::Remove,
            _ => Self::Change,
        }
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let asked = Asked::of(&request);
        if asked == Asked::Complete {
            request
                .headers_mut()
                .insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        self.seen.requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.inner.execute(request);
        let response = match asked {
            Asked::Range | Asked::Look => match tokio::time::timeout(self.patience, answer).await {
                Ok(answer) => answer?,
                Err(late) => return Err(HttpError::new(HttpErrorKind::Timeout, late)),
            },
            Asked::Complete | Asked::Remove | Asked::Change => answer.await?,
        };
        if let Some(date) = date_of(&response) {
            self.seen.date.store(date, Ordering::Relaxed);
        }
        match response.status() {
            StatusCode::OK if asked == Asked::Remove => removed(response).await,
            status @ StatusCode::OK if asked == Asked::Range => {
                let code = RANGE_IGNORED.to_owned();
                Err(HttpError::new(HttpErrorKind::Decode, Refused { status, code }))
            }
            StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::RANGE_NOT_SATISFIABLE
            | StatusCode::NOT_IMPLEMENTED => Err(refusal(response).await),
            StatusCode::NOT_FOUND => not_found(response).await,
            _ => Ok(response),
        }
    }
}

fn date_of(response: &HttpResponse) -> Option<i64> {
    let text = response.headers().get(DATE)?.to_str().ok()?;
    let since = httpdate::parse_http_date(text).ok()?;
    let since = since.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

async fn refusal(response: HttpResponse) -> HttpError {
    let (parts, body) = response.into_parts();
    let code = body.bytes().await.map(|body| code_in(&body)).unwrap_or_default();
    // Bytes that were damaged on their way are worth sending again; nothing else gets better by it.
    let kind = match DAMAGED.contains(&&*code) {
        true => HttpErrorKind::Interrupted,
        false => HttpErrorKind::Decode,
    };
    let status = parts.status;
    HttpError::new(kind, Refused { status, code })
}

/// That an object could not be removed stands in the answer of one who did it all the same, and the library does not tell why.
async fn removed(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let body = body.bytes().await?;
    let code = code_in(&body);
    if code == "AccessDenied" {
        let status = StatusCode::FORBIDDEN;
        return Err(HttpError::new(HttpErrorKind::Decode, Refused { status, code }));
    }
    Ok(with_body(parts, &body))
}

/// There is no object, which the library understands, or not even a bucket, which it takes for the same.
async fn not_found(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let body = body.bytes().await?;
    let code = code_in(&body);
    if matches!(&*code, "NoSuchBucket" | "ContainerNotFound") {
        let status = parts.status;
        return Err(HttpError::new(HttpErrorKind::Decode, Refused { status, code }));
    }
    Ok(with_body(parts, &body))
}

fn with_body(parts: http::response::Parts, body: &[u8]) -> HttpResponse {
    HttpResponse::from_parts(parts, String::from_utf8_lossy(body).into_owned().into())
}

/// What stands in `<Code>…</Code>`, as S3, GCS and Azure all have it.
fn code_in(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(REFUSAL_MAX)]);
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or("", |(code, _)| code);
    code.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_and_nothing_else_is_taken_for_one() {
        let body = b"<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>no</Message></Error>";
        assert_eq!(code_in(body), "NoSuchBucket");
        assert_eq!(code_in(b"<Code>a b\n</Code>"), "ab");
        for body in [&b""[..], b"<Code>", b"</Code><Code>", b"not xml"] {
            assert_eq!(code_in(body), "", "{body:?}");
        }
    }
}
