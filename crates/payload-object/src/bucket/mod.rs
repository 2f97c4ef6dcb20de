//! A bucket of S3, of what speaks S3, of GCS or of Azure.

mod build;
mod credentials;
mod fault;
mod options;
mod probe;
mod put;
mod read;
mod sign;
mod uploads;
mod wire;

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use payload_core::port::{
    Clock, Content, ListedObject, ListedUpload, ObjectKey, ObjectStat, ObjectStore, PutObject, SignedRequest, Sink,
};
use payload_core::{Error, Reason, Result, Span, Timestamp};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;

use self::build::Client;
use self::fault::{fault, late, refused};
pub use self::options::{Addressing, BucketOptions, Credentials, Place};
pub use self::probe::{Finding, Step};
use self::wire::Connector;

/// Requests that only wait take no thread; these send and receive.
const THREADS: usize = 2;

/// Objects in a bucket. Calls block; the requests run on threads of the store's own, so many at a time for all callers.
pub struct BucketStore {
    client: Client,
    connector: Connector,
    permits: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    options: BucketOptions,
    handle: Handle,
    /// Taken when the store ends.
    runtime: Option<Runtime>,
}

impl BucketStore {
    /// Makes the client; nothing is sent yet.
    pub fn open(options: BucketOptions, clock: Arc<dyn Clock>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("object")
            .enable_all()
            .build()
            .map_err(|error| Error::new(Reason::Internal, "cannot start the object store's threads").source(error))?;
        let connector = Connector::new(options.budget);
        let client = {
            let _entered = runtime.enter();
            Client::new(&options, &connector)?
        };
        Ok(Self {
            client,
            connector,
            permits: Arc::new(Semaphore::new(options.concurrency.max(1))),
            clock,
            options,
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Requests sent so far, attempts counted.
    pub fn requests(&self) -> u64 {
        self.connector.seen.requests()
    }

    fn path(&self, key: &ObjectKey) -> Path {
        let prefix = self.options.prefix.trim_matches('/');
        if prefix.is_empty() {
            return Path::from(key.as_str());
        }
        Path::from(format!("{prefix}/{key}"))
    }

    /// The key of a path below the prefix; other things that lie there have none.
    fn key(&self, path: &str) -> Option<ObjectKey> {
        let prefix = self.options.prefix.trim_matches('/');
        let below = path.strip_prefix(prefix)?;
        let below = if prefix.is_empty() {
            below
        } else {
            below.strip_prefix('/')?
        };
        below.parse().ok()
    }

    /// Waits for one request with all its attempts.
    async fn request<T>(&self, doing: &str, request: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.options.budget, request).await {
            Ok(answer) => answer.map_err(|error| fault(doing, error)),
            Err(_) => Err(late(doing)),
        }
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        let path = self.path(key);
        match self.request("look at an object", self.client.objects.head(&path)).await {
            Ok(meta) => Ok(Some(ObjectStat {
                size: meta.size,
                etag: meta.e_tag.map(Into::into),
                modified_at: Timestamp::from_micros(meta.last_modified.timestamp_micros()),
            })),
            Err(error) if error.reason() == Reason::BytesMissing => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl ObjectStore for BucketStore {
    fn put(&self, key: &ObjectKey, content: Content<'_>) -> Result<PutObject> {
        self.handle
            .block_on(self.put_sized(key, content, self.options.part_size))
    }

    fn read(&self, key: &ObjectKey, range: Range<u64>, sink: Sink<'_>) -> Result<()> {
        self.read_range(key, range, sink)
    }

    fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        self.handle.block_on(self.head(key))
    }

    fn remove(&self, keys: &[ObjectKey]) -> Result<()> {
        let paths: Vec<_> = keys.iter().map(|key| Ok(self.path(key))).collect();
        self.handle.block_on(async {
            let mut removed = self
                .client
                .objects
                .delete_stream(futures_util::stream::iter(paths).boxed());
            loop {
                match tokio::time::timeout(self.options.budget, removed.next()).await {
                    Ok(None) => return Ok(()),
                    Ok(Some(Ok(_) | Err(object_store::Error::NotFound { .. }))) => {}
                    // It may be gone; removing it again is fine.
                    Ok(Some(Err(error))) => return Err(fault("remove objects", error).outcome_unknown()),
                    Err(_) => return Err(late("remove objects").outcome_unknown()),
                }
            }
        })
    }

    fn sign_put(&self, key: &ObjectKey, size: u64, valid: Span) -> Result<SignedRequest> {
        self.handle.block_on(self.signed_put(key, size, valid))
    }

    fn sign_get(&self, key: &ObjectKey, range: Option<Range<u64>>, valid: Span) -> Result<SignedRequest> {
        self.handle.block_on(self.signed_get(key, range, valid))
    }

    fn list(&self, after: Option<&ObjectKey>, limit: u32) -> Result<Vec<ListedObject>> {
        let prefix = Path::from(self.options.prefix.as_str());
        let prefix = Some(&prefix).filter(|prefix| !prefix.as_ref().is_empty());
        let all = match after {
            Some(after) => self.client.objects.list_with_offset(prefix, &self.path(after)),
            None => self.client.objects.list(prefix),
        };
        let known = all.try_filter_map(|meta| async move {
            Ok(self.key(meta.location.as_ref()).map(|key| ListedObject {
                key,
                size: meta.size,
                modified_at: Timestamp::from_micros(meta.last_modified.timestamp_micros()),
            }))
        });
        let page = known.take(limit as usize).try_collect();
        self.handle.block_on(self.request("list objects", page))
    }

    fn uploads(&self, of: Option<&ObjectKey>, limit: u32) -> Result<Vec<ListedUpload>> {
        self.handle.block_on(self.list_uploads(of, limit))
    }

    fn abort(&self, upload: &ListedUpload) -> Result<()> {
        let Some(key) = &upload.key else {
            return Err(Error::new(
                Reason::BadName,
                format!("the upload {:?} has no key", upload.id),
            ));
        };
        self.handle.block_on(self.abort_upload(&self.path(key), &upload.id))
    }

    fn check(&self) -> Result<()> {
        let path = self.path(&"probe/nothing".parse()?);
        // Not a HEAD: its refusal has no body, which alone tells that even the bucket is not there.
        let get = self.client.objects.get_range(&path, 0..1);
        match self.handle.block_on(self.request("reach the bucket", get)) {
            Err(error) if error.reason() != Reason::BytesMissing => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for BucketStore {
    /// Waits for nobody, as the last owner may be a task that must not.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BucketStore({:?})", self.options.place)
    }
}

/// Whether a store says that it does not know a request.
fn is_unknown_request(error: &object_store::Error) -> bool {
    refused(error).is_some_and(|refused| matches!(refused.status.as_u16(), 400 | 405 | 501))
}
