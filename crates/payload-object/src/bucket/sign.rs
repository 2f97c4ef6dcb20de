//! Requests that anybody may send for a while.

use std::ops::Range;

use http::header::{HeaderValue, IF_NONE_MATCH, RANGE};
use http::{HeaderName, Method};
use object_store::signer::SignedUrlOptions;
use payload_core::port::{ObjectKey, SignedRequest};
use payload_core::{Error, Reason, Result, Span};

use super::BucketStore;
use super::credentials::{ROLE_TERM, SIGNED_MAX};
use super::options::{Credentials, Place};

/// The largest object that one request stores, on all stores: 5 GiB.
const PUT_MAX: u64 = 5 << 30;

impl BucketStore {
    /// The condition is part of what is signed: without it, the store refuses the request.
    pub(super) async fn signed_put(&self, key: &ObjectKey, size: u64, valid: Span) -> Result<SignedRequest> {
        let (name, value) = match &self.options.place {
            Place::S3 { .. } => (IF_NONE_MATCH, "*"),
            Place::Gcs { .. } => (HeaderName::from_static("x-goog-if-generation-match"), "0"),
            Place::Azure { .. } | Place::Directory(_) => {
                let message = "the store's signature could not keep an object from being replaced";
                return Err(Error::new(Reason::ObjectUrlsUnsupported, message));
            }
        };
        if size > PUT_MAX {
            let message = format!("one request stores at most {PUT_MAX} bytes");
            return Err(Error::invalid(Reason::BadSize, message));
        }
        let options = SignedUrlOptions::default().with_signed_header(name.clone(), HeaderValue::from_static(value));
        let headers = vec![(name.to_string(), value.to_owned())];
        self.sign(Method::PUT, key, valid, options, headers).await
    }

    /// The range is part of what is signed: the store refuses the request with another one, or with none.
    pub(super) async fn signed_get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        valid: Span,
    ) -> Result<SignedRequest> {
        let mut options = SignedUrlOptions::default();
        let mut headers = Vec::new();
        if let Some(range) = range {
            if matches!(self.options.place, Place::Azure { .. }) {
                let message = "the store's signature could not keep a reader from what else is in the object";
                return Err(Error::new(Reason::ObjectUrlsUnsupported, message));
            }
            let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            let value = HeaderValue::try_from(&bytes)
                .map_err(|error| Error::new(Reason::Internal, "a range is no header").source(error))?;
            options = options.with_signed_header(RANGE, value);
            headers.push((RANGE.to_string(), bytes));
        }
        self.sign(Method::GET, key, valid, options, headers).await
    }

    async fn sign(
        &self,
        method: Method,
        key: &ObjectKey,
        valid: Span,
        options: SignedUrlOptions,
        headers: Vec<(String, String)>,
    ) -> Result<SignedRequest> {
        let valid = Span::from_secs(self.term(valid)?.as_secs());
        if valid.is_zero() {
            let message = "the credentials end before anything could be signed with them";
            return Err(Error::new(Reason::ObjectStoreDenied, message));
        }
        let name = if method == Method::PUT { "PUT" } else { "GET" };
        let path = self.path(key);
        let signed = self.client.signer.signed_url_opts(method, &path, valid, &options);
        let url = self.request("sign a request", signed).await?;
        Ok(SignedRequest {
            method: name,
            url: url.into(),
            headers,
            valid,
        })
    }

    /// As long as the credentials are sure to last.
    fn term(&self, valid: Span) -> Result<Span> {
        let valid = valid.min(SIGNED_MAX);
        if let Some(keys) = &self.client.keys {
            return keys.term(valid, self.clock.wall());
        }
        let is_set = |name: &str| std::env::var_os(name).is_some();
        let lasts = match (&self.options.credentials, &self.options.place) {
            (Credentials::File(_), _) => true,
            (Credentials::Environment, Place::S3 { .. }) => is_set("AWS_ACCESS_KEY_ID") && !is_set("AWS_SESSION_TOKEN"),
            (Credentials::Environment | Credentials::InstanceRole, _) => false,
        };
        Ok(if lasts { valid } else { valid.min(ROLE_TERM) })
    }
}
