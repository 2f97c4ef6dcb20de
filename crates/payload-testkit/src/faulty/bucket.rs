//! A bucket in memory, and one whose calls are counted and may fail.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use payload_core::port::{
    Content, ListedObject, ListedUpload, ObjectKey, ObjectStat, ObjectStore, PutObject, SignedRequest, Sink,
};
use payload_core::{Digest, Error, Reason, Result, Span, Timestamp};

use super::Switch;

/// A read gives pieces of this size, so that whoever takes only the first is found out.
const PIECE: usize = 100_000;

/// Objects in memory. It outlives every server that uses it.
#[derive(Debug, Default)]
pub struct MapBucket {
    objects: Mutex<BTreeMap<ObjectKey, Vec<u8>>>,
    /// Nobody gets an answer.
    down: AtomicBool,
}

impl MapBucket {
    /// The keys of all objects.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.objects().keys().cloned().collect()
    }

    /// Somebody else changes an object behind everybody's back, or removes it.
    pub fn tamper(&self, key: &ObjectKey, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => drop(self.objects().insert(key.clone(), bytes)),
            None => drop(self.objects().remove(key)),
        }
    }

    /// The object that a signed request is for.
    ///
    /// # Panics
    ///
    /// If it is not one of this bucket's.
    pub fn key_of(request: &SignedRequest) -> ObjectKey {
        let key = request.url.strip_prefix("map:").expect("it is of this bucket");
        key.parse().expect("it has a key")
    }

    /// From now on everything fails with 503, until it [comes back](Self::come_back).
    pub fn go_down(&self) {
        self.down.store(true, Ordering::SeqCst);
    }

    /// The end of that.
    pub fn come_back(&self) {
        self.down.store(false, Ordering::SeqCst);
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answering(&self) -> Result<MutexGuard<'_, BTreeMap<ObjectKey, Vec<u8>>>> {
        match self.down.load(Ordering::SeqCst) {
            false => Ok(self.objects()),
            true => Err(Error::new(Reason::ObjectStoreUnavailable, "503 on purpose")),
        }
    }
}

impl ObjectStore for MapBucket {
    fn put(&self, key: &ObjectKey, content: Content<'_>) -> Result<PutObject> {
        let bytes = match content {
            Content::Bytes(bytes) => bytes.to_vec(),
            Content::Source(source) => {
                let mut bytes = vec![0; usize::try_from(source.size).expect("a test's payload fits into memory")];
                let path = format!("/proc/self/fd/{}", source.fd.as_raw_fd());
                let file = std::fs::File::open(path).expect("a source is open");
                file.read_exact_at(&mut bytes, source.offset)
                    .map_err(|error| Error::new(Reason::BytesMissing, "the source is too short").source(error))?;
                bytes
            }
        };
        let digest = Digest::of(&bytes);
        let mut objects = self.answering()?;
        let there = objects.entry(key.clone()).or_insert_with(|| bytes.clone());
        if *there != bytes {
            return Err(Error::new(Reason::ObjectExists, "the key holds other bytes"));
        }
        Ok(PutObject { digest, etag: None })
    }

    fn read(&self, key: &ObjectKey, range: Range<u64>, sink: Sink<'_>) -> Result<()> {
        let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let objects = self.answering()?;
        let bytes = objects
            .get(key)
            .zip(bounds)
            .and_then(|(bytes, (start, end))| bytes.get(start..end));
        let bytes = bytes
            .ok_or_else(|| Error::new(Reason::BytesMissing, "there are no such bytes"))?
            .to_vec();
        drop(objects);
        let pieces: Vec<_> = bytes.chunks(PIECE).enumerate().collect();
        let mut last_first = pieces.iter().rev();
        last_first.try_for_each(|(number, piece)| sink((number * PIECE) as u64, piece))
    }

    fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        let objects = self.answering()?;
        Ok(objects.get(key).map(|bytes| ObjectStat {
            size: bytes.len() as u64,
            etag: None,
            modified_at: Timestamp::from_micros(0),
        }))
    }

    fn remove(&self, keys: &[ObjectKey]) -> Result<()> {
        let mut objects = self.answering()?;
        keys.iter().for_each(|key| drop(objects.remove(key)));
        Ok(())
    }

    fn sign_put(&self, key: &ObjectKey, _size: u64, valid: Span) -> Result<SignedRequest> {
        Ok(signed("PUT", key, Vec::new(), valid))
    }

    fn sign_get(&self, key: &ObjectKey, range: Option<Range<u64>>, valid: Span) -> Result<SignedRequest> {
        let headers = range.map(|range| ("range".to_owned(), format!("bytes={}-{}", range.start, range.end - 1)));
        Ok(signed("GET", key, headers.into_iter().collect(), valid))
    }

    fn list(&self, after: Option<&ObjectKey>, limit: u32) -> Result<Vec<ListedObject>> {
        let objects = self.answering()?;
        let rest = objects.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        let listed = rest.take(limit as usize).map(|(key, bytes)| ListedObject {
            key: key.clone(),
            size: bytes.len() as u64,
            modified_at: Timestamp::from_micros(0),
        });
        Ok(listed.collect())
    }

    fn uploads(&self, _of: Option<&ObjectKey>, _limit: u32) -> Result<Vec<ListedUpload>> {
        Ok(Vec::new())
    }

    fn abort(&self, _upload: &ListedUpload) -> Result<()> {
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.answering().map(drop)
    }
}

/// Nobody can send it; [`MapBucket::key_of`] tells what it is for.
fn signed(method: &'static str, key: &ObjectKey, headers: Vec<(String, String)>, valid: Span) -> SignedRequest {
    let url = format!("map:{key}");
    SignedRequest {
        method,
        url,
        headers,
        valid,
    }
}

/// Around any bucket.
pub struct FaultyBucket {
    inner: Arc<dyn ObjectStore>,
    switch: Arc<Switch>,
}

impl FaultyBucket {
    /// Lets calls through as the switch says.
    pub const fn new(inner: Arc<dyn ObjectStore>, switch: Arc<Switch>) -> Self {
        Self { inner, switch }
    }
}

impl std::fmt::Debug for FaultyBucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyBucket")
    }
}

impl ObjectStore for FaultyBucket {
    fn put(&self, key: &ObjectKey, content: Content<'_>) -> Result<PutObject> {
        self.switch.run("bucket.put", || self.inner.put(key, content))
    }

    fn read(&self, key: &ObjectKey, range: Range<u64>, sink: Sink<'_>) -> Result<()> {
        self.switch.run("bucket.read", || self.inner.read(key, range, sink))
    }

    fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        self.switch.run("bucket.stat", || self.inner.stat(key))
    }

    fn remove(&self, keys: &[ObjectKey]) -> Result<()> {
        self.switch.run("bucket.remove", || self.inner.remove(keys))
    }

    fn sign_put(&self, key: &ObjectKey, size: u64, valid: Span) -> Result<SignedRequest> {
        self.inner.sign_put(key, size, valid)
    }

    fn sign_get(&self, key: &ObjectKey, range: Option<Range<u64>>, valid: Span) -> Result<SignedRequest> {
        self.inner.sign_get(key, range, valid)
    }

    fn list(&self, after: Option<&ObjectKey>, limit: u32) -> Result<Vec<ListedObject>> {
        self.switch.run("bucket.list", || self.inner.list(after, limit))
    }

    fn uploads(&self, of: Option<&ObjectKey>, limit: u32) -> Result<Vec<ListedUpload>> {
        self.switch.run("bucket.uploads", || self.inner.uploads(of, limit))
    }

    fn abort(&self, upload: &ListedUpload) -> Result<()> {
        self.switch.run("bucket.abort", || self.inner.abort(upload))
    }

    fn check(&self) -> Result<()> {
        self.switch.run("bucket.check", || self.inner.check())
    }
}
