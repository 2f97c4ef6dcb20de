//! Reads ranges of objects, in parts that come side by side.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use payload_core::port::{ObjectKey, Sink};
use payload_core::{Error, Reason, Result, Span};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::BucketStore;
use super::fault::{fault, late};
use crate::fault::missing;

/// Pieces that wait for the caller; a piece is what came in one read from the network. Few, so that a slow caller holds up
/// the network and not the memory.
const PIECES: usize = 8;

/// Parts of one read that are under way: those that wait for a slow caller have given their places up, and would let ever more
/// begin.
const PARTS: usize = 8;

/// Attempts to get a part whose bytes ended too early; the library has its own for what fails before.
const ATTEMPTS: usize = 3;

/// What arrives from a part.
type Arrived = Result<(u64, Bytes)>;

impl BucketStore {
    /// The requests run on the store's threads and the sink on the caller's, where it may wait for whatever it likes: a part that
    /// waits for it leaves its place to others.
    pub(super) fn read_range(&self, key: &ObjectKey, range: Range<u64>, sink: Sink<'_>) -> Result<()> {
        if range.is_empty() {
            return match self.handle.block_on(self.head(key))? {
                Some(stat) if range.end <= stat.size => Ok(()),
                _ => Err(missing(format!("{key} does not reach to {}", range.end))),
            };
        }
        let (to, mut from) = mpsc::channel(PIECES);
        let part = Part {
            objects: Arc::clone(&self.client.objects),
            budget: self.options.budget,
            path: self.path(key),
            start: range.start,
            etag: parking_lot::Mutex::default(),
            permits: Arc::clone(&self.permits),
            to,
        };
        // Dropped at the end, whatever it is, and with it what is still on its way.
        let mut fetching = JoinSet::new();
        let fetch = fetch_parts(Arc::new(part), range.clone(), self.options.part_size);
        fetching.spawn_on(fetch, &self.handle);
        let mut left = range.end - range.start;
        while let Some(arrived) = from.blocking_recv() {
            let (at, bytes) = arrived?;
            sink(at, &bytes)?;
            left -= bytes.len() as u64;
        }
        if left > 0 {
            return Err(Error::new(
                Reason::Internal,
                format!("{left} bytes of {key} did not arrive"),
            ));
        }
        Ok(())
    }
}

/// Begins a part whenever there is a place for one, so that a large object keeps nobody else's parts waiting behind all of its own.
async fn fetch_parts(part: Arc<Part>, range: Range<u64>, part_size: u64) {
    let mut parts = JoinSet::new();
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + part_size);
        let place = part.place().await;
        let part = Arc::clone(&part);
        parts.spawn(async move { part.fetch(at..end, place).await });
        while parts.try_join_next().is_some() {}
        if parts.len() == PARTS {
            parts.join_next().await;
        }
        at = end;
    }
    while parts.join_next().await.is_some() {}
}

/// What all parts of one read have in common.
struct Part {
    objects: Arc<dyn ObjectStore>,
    budget: Span,
    path: Path,
    start: u64,
    /// Of the object that the first answer was from.
    etag: parking_lot::Mutex<Option<String>>,
    permits: Arc<Semaphore>,
    to: mpsc::Sender<Arrived>,
}

/// A place among the requests of all callers; none once the store ends.
type Place = Option<OwnedSemaphorePermit>;

impl Part {
    async fn place(&self) -> Place {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    async fn fetch(&self, range: Range<u64>, place: Place) {
        if let Err(error) = self.send(range, place).await {
            // Nobody is there any more if another part has failed before.
            let _sent = self.to.send(Err(error)).await;
        }
    }

    /// Goes on after what has arrived, if an answer ends too early.
    async fn send(&self, range: Range<u64>, mut place: Place) -> Result<()> {
        let mut at = range.start;
        let mut more = 1..ATTEMPTS;
        loop {
            match self.get(at..range.end, &mut at, &mut place).await {
                Ok(()) if at == range.end => return Ok(()),
                Ok(()) if more.next().is_some() => {}
                Ok(()) => return Err(late("read an object")),
                Err(error) if error.reason() == Reason::ObjectStoreUnavailable && more.next().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn get(&self, range: Range<u64>, at: &mut u64, place: &mut Place) -> Result<()> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let answer = tokio::time::timeout(self.budget, self.objects.get_opts(&self.path, options)).await;
        let answer = match answer {
            Ok(answer) => answer.map_err(|error| fault("read an object", error))?,
            Err(_) => return Err(late("read an object")),
        };
        if answer.range != range {
            return Err(missing(format!(
                "{} has {} bytes, {} are asked for",
                self.path, answer.meta.size, range.end
            )));
        }
        self.compare(answer.meta.e_tag.as_ref())?;
        let mut bytes = answer.into_stream();
        loop {
            match tokio::time::timeout(self.budget, bytes.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Ok(piece))) => {
                    let offset = *at - self.start;
                    *at += piece.len() as u64;
                    if *at > range.end {
                        return Err(Error::new(
                            Reason::BytesCorrupt,
                            "the store sends more than was asked for",
                        ));
                    }
                    if !self.give((offset, piece), place).await {
                        return Ok(());
                    }
                }
                Ok(Some(Err(error))) => return Err(fault("read an object", error)),
                Err(_) => return Err(late("read an object")),
            }
        }
    }

    /// Gives a piece to the caller; false if it wants no more. The place is left to others while it takes none.
    async fn give(&self, piece: (u64, Bytes), place: &mut Place) -> bool {
        match self.to.try_send(Ok(piece)) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(piece)) => {
                *place = None;
                let taken = self.to.send(piece).await.is_ok();
                *place = self.place().await;
                taken
            }
        }
    }

    /// All parts are of one object, though nobody should replace one.
    fn compare(&self, etag: Option<&String>) -> Result<()> {
        let mut first = self.etag.lock();
        match (&*first, etag) {
            (Some(first), Some(etag)) if first != etag => Err(Error::new(
                Reason::BytesCorrupt,
                format!("{} changes while it is read", self.path),
            )),
            _ => {
                *first = first.take().or_else(|| etag.cloned());
                Ok(())
            }
        }
    }
}
