//! Contents straight from the bucket and into it, with requests that the server has signed.

use std::os::fd::BorrowedFd;

use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use payload_core::{Error, Reason, Result, Span};
use payload_proto::v1;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::backoff::Backoff;
use crate::fetched::Fetched;
use crate::grant::nonsense;
use crate::transfer::{Outgoing, broken, connector, may_pass, named, receive};

/// Connections to a bucket. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    http: Client<HttpsConnector<HttpConnector>, Outgoing>,
    /// How long a broken transfer is tried again.
    patience: Span,
}

impl Bucket {
    /// Trusts whom this machine trusts.
    pub(crate) fn new(patience: Span) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        // Without any, buckets in the clear can be reached all the same.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(Reason::Internal, "cannot speak TLS").source(error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = connector();
        tcp.enforce_http(false);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = Client::builder(TokioExecutor::new()).build(https);
        Ok(Self { http, patience })
    }

    /// Brings what a lease is on, and compares it with its digest if there is one.
    pub(crate) async fn read(&self, signed: &v1::SignedRequest, size: u64, digest: &str) -> Result<Fetched> {
        let digest = named(digest)?;
        let mut backoff = Backoff::new(self.patience);
        loop {
            let fetched = async {
                let response = self.ask(signed, Outgoing::default()).await?;
                match response.status() {
                    StatusCode::OK | StatusCode::PARTIAL_CONTENT => check_etag(response.headers(), &signed.etag)?,
                    status => return Err(refused(status)),
                }
                receive(response.into_body(), size, digest).await
            };
            match fetched.await {
                Err(error) if may_pass(&error) && backoff.pause().await => {}
                result => return result,
            }
        }
    }

    /// Stores the first `size` bytes of `from`. If there is an object already, an earlier attempt may have been done: the
    /// commit looks at what it has.
    pub(crate) async fn store(&self, signed: &v1::SignedRequest, from: BorrowedFd<'_>, size: u64) -> Result<()> {
        let mut backoff = Backoff::new(self.patience);
        loop {
            let stored = match self.ask(signed, Outgoing::of(from, size)?).await {
                Ok(response) => match response.status() {
                    status if status.is_success() || status == StatusCode::PRECONDITION_FAILED => Ok(()),
                    status => Err(refused(status)),
                },
                Err(error) => Err(error),
            };
            match stored {
                Err(error) if may_pass(&error) && backoff.pause().await => {}
                result => return result,
            }
        }
    }

    async fn ask(&self, signed: &v1::SignedRequest, content: Outgoing) -> Result<Response<Incoming>> {
        let mut request = Request::builder().method(signed.method.as_str()).uri(&signed.url);
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(content)
            .map_err(|error| nonsense("a signed request that is none").source(error))?;
        self.http.request(request).await.map_err(broken)
    }
}

/// What the bucket answers is not what the lease is on, if it says so itself.
fn check_etag(headers: &HeaderMap, etag: &str) -> Result<()> {
    let answered = headers.get(header::ETAG).and_then(|value| value.to_str().ok());
    match answered {
        Some(answered) if !etag.is_empty() && answered != etag => {
            let message = format!("the bucket answers with object {answered}, and the lease is on {etag}");
            Err(Error::new(Reason::BytesCorrupt, message))
        }
        _ => Ok(()),
    }
}

/// What the bucket says of its reasons is for whoever keeps it; a client can only ask the server for another request.
fn refused(status: StatusCode) -> Error {
    let reason = match status {
        StatusCode::NOT_FOUND => Reason::BytesMissing,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => Reason::ObjectStoreDenied,
        // Another attempt at the same moment, or a server that is busy.
        _ => Reason::ObjectStoreUnavailable,
    };
    Error::new(reason, format!("the bucket answers {}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bucket_answers_says_what_to_do() {
        for (status, reason, passes) in [
            (403, Reason::ObjectStoreDenied, false),
            (404, Reason::BytesMissing, false),
            (409, Reason::ObjectStoreUnavailable, true),
            (503, Reason::ObjectStoreUnavailable, true),
        ] {
            let error = refused(StatusCode::from_u16(status).unwrap());
            assert_eq!((error.reason(), may_pass(&error)), (reason, passes), "{status}");
        }
    }

    #[test]
    fn fault_39_an_answer_of_another_object_is_not_taken() {
        let mut headers = HeaderMap::new();
        check_etag(&headers, "\"a\"").unwrap();
        headers.insert(header::ETAG, "\"b\"".parse().unwrap());
        check_etag(&headers, "").unwrap();
        check_etag(&headers, "\"b\"").unwrap();
        assert_eq!(
            check_etag(&headers, "\"a\"").unwrap_err().reason(),
            Reason::BytesCorrupt
        );
    }
}
