//! Uploads that were begun and not finished: S3 keeps their parts, and bills them, until somebody gives them up.

use http::Method;
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::signer::SignedUrlOptions;
use payload_core::port::ListedUpload;
use payload_core::{Error, Reason, Result, Span, Timestamp};

use super::BucketStore;
use super::credentials::time;
use super::fault::{fault, late};

/// How long the request that lists may take to arrive.
const SIGNED: Span = Span::from_secs(60);

impl BucketStore {
    /// The library has no call for it, so the request is signed as a URL and sent by its client.
    pub(super) async fn list_uploads(&self, limit: u32) -> Result<Vec<ListedUpload>> {
        let Some(http) = self.client.s3_http.as_ref() else {
            // Azure drops blocks by itself after a week; on GCS a rule of the bucket does.
            return Ok(Vec::new());
        };
        let mut query = vec![
            ("uploads", String::new()),
            ("max-uploads", limit.clamp(1, 1_000).to_string()),
        ];
        let prefix = self.options.prefix.trim_matches('/');
        if !prefix.is_empty() {
            query.push(("prefix", format!("{prefix}/")));
        }
        let options = SignedUrlOptions::default().with_query(query);
        let bucket = Path::default();
        let signed = self
            .client
            .signer
            .signed_url_opts(Method::GET, &bucket, SIGNED, &options);
        let url = self.request("sign a request", signed).await?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url
            .as_str()
            .parse()
            .map_err(|error| Error::new(Reason::Internal, "a signed URL is none").source(error))?;
        let answer = async {
            let response = http.execute(request).await?;
            let status = response.status();
            Ok::<_, object_store::client::HttpError>((status, response.into_body().bytes().await?))
        };
        let answer = match tokio::time::timeout(self.options.budget, answer).await {
            Ok(answer) => answer.map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            }),
            Err(_) => return Err(late("list uploads")),
        };
        match answer {
            Ok((status, body)) if status.is_success() => Ok(self.parse_uploads(&String::from_utf8_lossy(&body), limit)),
            Ok(_) => Err(late("list uploads")),
            Err(error) if super::is_unknown_request(&error) => Ok(Vec::new()),
            Err(error) => Err(fault("list uploads", error)),
        }
    }

    pub(super) async fn abort_upload(&self, path: &Path, id: &str) -> Result<()> {
        let id = id.to_owned();
        let aborted = self.client.parts.abort_multipart(path, &id);
        match tokio::time::timeout(self.options.budget, aborted).await {
            Ok(Ok(()) | Err(object_store::Error::NotFound { .. })) => Ok(()),
            Ok(Err(error)) => Err(fault("give an upload up", error).outcome_unknown()),
            Err(_) => Err(late("give an upload up").outcome_unknown()),
        }
    }

    fn parse_uploads(&self, answer: &str, limit: u32) -> Vec<ListedUpload> {
        let uploads = answer.split("<Upload>").skip(1).filter_map(|upload| {
            let key = self.key(between(upload, "Key")?)?;
            Some(ListedUpload {
                id: between(upload, "UploadId")?.into(),
                key: Some(key),
                begun_at: time(between(upload, "Initiated")?).unwrap_or(Timestamp::from_micros(i64::MAX)),
            })
        });
        uploads.take(limit as usize).collect()
    }
}

/// What an element without others in it contains.
fn between<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}
