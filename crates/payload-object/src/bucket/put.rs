//! Stores objects: whole or in parts, and never over others.

use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use payload_core::digest::Hasher;
use payload_core::port::{Content, ObjectKey, PutObject};
use payload_core::{Digest, Error, Reason, Result};
use tokio::task::JoinSet;

use super::BucketStore;
use super::fault::{Doubt, doubt, late, unstored};
use super::options::Place;
use crate::content::Pieces;

/// The most parts that an object of S3 has.
const PARTS_MAX: u64 = 10_000;

/// How often an object is sent again that is not there after all; the library has its own attempts for what failed clearly.
const ATTEMPTS: u32 = 3;

/// What is under a key.
#[derive(Debug)]
enum Found {
    Nothing,
    /// The bytes that were to be stored.
    Same(PutObject),
    Other,
}

impl BucketStore {
    /// What is larger than a part goes in parts.
    pub(super) async fn put_sized(&self, key: &ObjectKey, content: Content<'_>, part_size: u64) -> Result<PutObject> {
        let pieces = Pieces::new(content);
        if content.size() <= part_size {
            return self.put_whole(key, pieces).await;
        }
        self.put_parts(key, content.size(), part_size, pieces).await
    }

    /// Whether an object of many parts can be kept from replacing another by the store itself.
    pub(super) const fn has_conditional_multipart(&self) -> bool {
        matches!(self.options.place, Place::S3 { .. })
    }

    async fn put_whole(&self, key: &ObjectKey, mut pieces: Pieces<'_>) -> Result<PutObject> {
        // Before the bytes are in memory.
        let mut permit = self.permits.acquire().await;
        let bytes = Bytes::from(pieces.next(usize::MAX)?);
        let (path, size, digest) = (self.path(key), bytes.len() as u64, pieces.digest());
        let mode = || PutOptions::from(PutMode::Create);
        let mut more = 1..ATTEMPTS;
        loop {
            let put = self
                .client
                .objects
                .put_opts(&path, PutPayload::from(bytes.clone()), mode());
            let (error, doubt) = match tokio::time::timeout(self.options.budget, put).await {
                Ok(Ok(put)) => {
                    return Ok(PutObject {
                        digest,
                        etag: put.e_tag.map(Into::into),
                    });
                }
                Ok(Err(error)) => {
                    let doubt = doubt(&error);
                    (unstored(format_args!("store {key}"), error), doubt)
                }
                Err(_) => (late(format_args!("store {key}")), Doubt::Unknown),
            };
            drop(permit);
            if doubt == Doubt::None {
                return Err(error);
            }
            match self.resolve(key, size, digest, error).await? {
                Ok(put) => return Ok(put),
                // Nothing is there: it did not happen, or what was there has gone meanwhile.
                Err(_) if more.next().is_some() => permit = self.permits.acquire().await,
                Err(error) => return Err(error.outcome_unknown()),
            }
        }
    }

    /// Finds out after an error whether the object is there all the same. The inner error is the one that stays, if nothing
    /// is there.
    async fn resolve(&self, key: &ObjectKey, size: u64, digest: Digest, error: Error) -> Result<Result<PutObject>> {
        match self.find(key, size, digest).await {
            Ok(Found::Same(put)) => Ok(Ok(put)),
            Ok(Found::Other) => Err(Error::new(Reason::ObjectExists, format!("{key} holds other bytes"))),
            Ok(Found::Nothing) => Ok(Err(error)),
            Err(_) => Err(error.outcome_unknown()),
        }
    }

    /// Compares what is under a key by its bytes: an ETag is a digest of them on some stores only.
    async fn find(&self, key: &ObjectKey, size: u64, digest: Digest) -> Result<Found> {
        let Some(stat) = self.head(key).await? else {
            return Ok(Found::Nothing);
        };
        if stat.size != size {
            return Ok(Found::Other);
        }
        let path = self.path(key);
        let mut hasher = Hasher::new();
        let mut at = 0;
        while at < size {
            let end = size.min(at + self.options.part_size);
            let permit = self.permits.acquire().await;
            let range = self.client.objects.get_range(&path, at..end);
            let bytes = self.request("read an object", range).await?;
            drop(permit);
            hasher.update(&bytes);
            at = end;
        }
        Ok(if hasher.digest() == digest {
            let etag = stat.etag;
            Found::Same(PutObject { digest, etag })
        } else {
            Found::Other
        })
    }

    async fn put_parts(&self, key: &ObjectKey, size: u64, part_size: u64, mut pieces: Pieces<'_>) -> Result<PutObject> {
        let path = self.path(key);
        if !self.has_conditional_multipart() && self.head(key).await?.is_some() {
            // These stores have no condition for an object of many parts. What protects is that keys are used once.
            while !pieces.next(1 << 20)?.is_empty() {}
            let error = Error::new(Reason::ObjectExists, format!("{key} is there"));
            return self.resolve(key, size, pieces.digest(), error).await?;
        }
        let begun = self.client.parts.create_multipart(&path);
        let id = self.request("begin an upload", begun).await?;
        let parts = match self
            .send_parts(&path, &id, part_size.max(size.div_ceil(PARTS_MAX)), &mut pieces)
            .await
        {
            Ok(parts) => parts,
            Err(error) => {
                self.give_up(&path, &id).await;
                return Err(error);
            }
        };
        let digest = pieces.digest();
        let completed = self.client.parts.complete_multipart(&path, &id, parts);
        let error = match tokio::time::timeout(self.options.budget, completed).await {
            Ok(Ok(put)) => {
                return Ok(PutObject {
                    digest,
                    etag: put.e_tag.map(Into::into),
                });
            }
            Ok(Err(error)) => unstored(format_args!("finish the upload of {key}"), error),
            Err(_) => late(format_args!("finish the upload of {key}")),
        };
        let found = self.resolve(key, size, digest, error).await;
        match &found {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => self.give_up(&path, &id).await,
        }
        found?.map_err(Error::outcome_unknown)
    }

    /// Reads the parts on this thread, one after the other, while earlier ones are on their way.
    async fn send_parts(&self, path: &Path, id: &str, part_size: u64, pieces: &mut Pieces<'_>) -> Result<Vec<PartId>> {
        let part_size = usize::try_from(part_size).unwrap_or(usize::MAX);
        let mut sending = JoinSet::new();
        let mut sent: Vec<(usize, PartId)> = Vec::new();
        for index in 0.. {
            let permit = self.permits.clone().acquire_owned().await;
            while let Some(part) = sending.try_join_next() {
                sent.push(joined(part)?);
            }
            let bytes = pieces.next(part_size)?;
            if bytes.is_empty() {
                break;
            }
            let (client, path, id) = (self.client.parts.clone(), path.clone(), id.to_owned());
            let budget = self.options.budget;
            let send = async move {
                let put = client.put_part(&path, &id, index, PutPayload::from(Bytes::from(bytes)));
                let put = tokio::time::timeout(budget, put).await;
                drop(permit);
                match put {
                    Ok(Ok(part)) => Ok((index, part)),
                    Ok(Err(error)) => Err(unstored(format_args!("store part {index}"), error)),
                    Err(_) => Err(late(format_args!("store part {index}"))),
                }
            };
            sending.spawn(send);
        }
        while let Some(part) = sending.join_next().await {
            sent.push(joined(part)?);
        }
        sent.sort_by_key(|(index, _)| *index);
        Ok(sent.into_iter().map(|(_, part)| part).collect())
    }

    /// Should that fail, the upload is listed among those that were not finished.
    async fn give_up(&self, path: &Path, id: &str) {
        let _given_up = self.abort_upload(path, id).await;
    }
}

fn joined(part: Result<Result<(usize, PartId)>, tokio::task::JoinError>) -> Result<(usize, PartId)> {
    part.unwrap_or_else(|error| Err(Error::new(Reason::Internal, "sending a part has failed").source(error)))
}
