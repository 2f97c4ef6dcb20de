//! Uploads that were begun and not finished: S3 keeps their parts, and bills them, until somebody gives them up.

use http::Method;
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::signer::SignedUrlOptions;
use payload_core::port::{ListedUpload, ObjectKey};
use payload_core::{Error, Reason, Result, Span, Timestamp};

use super::BucketStore;
use super::credentials::time;
use super::fault::{fault, late};

/// How long the request that lists may take to arrive.
const SIGNED: Span = Span::from_secs(60);

/// The most that S3 names in one answer.
const PAGE: u32 = 1_000;

/// A store that never comes to an end is left.
const PAGES_MAX: u32 = 1_000;

impl BucketStore {
    /// As many pages as it takes.
    pub(super) async fn list_uploads(&self, of: Option<&ObjectKey>, limit: u32) -> Result<Vec<ListedUpload>> {
        let Some(http) = self.client.s3_http.as_ref() else {
            // Azure drops blocks by itself after a week; on GCS a rule of the bucket does.
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            let Some(page) = self.ask_for_uploads(http, of, left, after).await? else {
                return Ok(found);
            };
            let uploads = self.parse_uploads(&page);
            found.extend(uploads.filter(|upload| of.is_none() || upload.key.as_ref() == of));
            found.truncate(limit as usize);
            after = markers(&page);
            if after.is_none() || found.len() == limit as usize {
                break;
            }
        }
        Ok(found)
    }

    /// One page; none from a store that does not know the question. The library has no call for it, so the request is signed as a
    /// URL and sent by its client.
    async fn ask_for_uploads(
        &self,
        http: &HttpClient,
        of: Option<&ObjectKey>,
        limit: u32,
        after: Option<Markers>,
    ) -> Result<Option<String>> {
        let mut query = vec![
            ("uploads", String::new()),
            ("max-uploads", limit.clamp(1, PAGE).to_string()),
        ];
        let prefix = self.options.prefix.trim_matches('/');
        match of {
            Some(key) => query.push(("prefix", self.path(key).to_string())),
            None if !prefix.is_empty() => query.push(("prefix", format!("{prefix}/"))),
            None => {}
        }
        if let Some(Markers { key, upload }) = after {
            query.extend([("key-marker", key), ("upload-id-marker", upload)]);
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
            Ok((status, body)) if status.is_success() => Ok(Some(String::from_utf8_lossy(&body).into_owned())),
            Ok(_) => Err(late("list uploads")),
            Err(error) if super::is_unknown_request(&error) => Ok(None),
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

    fn parse_uploads<'a>(&'a self, page: &'a str) -> impl Iterator<Item = ListedUpload> + 'a {
        page.split("<Upload>").skip(1).filter_map(|upload| {
            let key = self.key(between(upload, "Key")?)?;
            Some(ListedUpload {
                id: between(upload, "UploadId")?.into(),
                key: Some(key),
                begun_at: time(between(upload, "Initiated")?).unwrap_or(Timestamp::from_micros(i64::MAX)),
            })
        })
    }
}

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Markers {
    key: String,
    upload: String,
}

/// None after the last page.
fn markers(page: &str) -> Option<Markers> {
    let more = between(page, "IsTruncated")? == "true";
    let key = between(page, "NextKeyMarker").filter(|_| more)?.to_owned();
    let upload = between(page, "NextUploadIdMarker").unwrap_or_default().to_owned();
    Some(Markers { key, upload })
}

/// What an element without others in it contains.
fn between<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        let page = |truncated: &str| {
            format!(
                "<IsTruncated>{truncated}</IsTruncated><NextKeyMarker>a/b</NextKeyMarker>\
                 <NextUploadIdMarker>7</NextUploadIdMarker>"
            )
        };
        let next = Markers {
            key: "a/b".to_owned(),
            upload: "7".to_owned(),
        };
        assert_eq!(markers(&page("true")), Some(next));
        assert_eq!(markers(&page("false")), None);
        for odd in ["", "<IsTruncated>true</IsTruncated>"] {
            assert_eq!(markers(odd), None, "or the same page would come for ever");
        }
    }
}
