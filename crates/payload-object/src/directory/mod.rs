//! A directory that stands for a bucket: a file for each object, on the device before it is acknowledged.

mod root;

use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;

use payload_core::digest::Hasher;
use payload_core::port::{
    Content, ListedObject, ListedUpload, ObjectKey, ObjectStat, ObjectStore, PutObject, SignedRequest, Sink,
};
use payload_core::{Digest, Error, Reason, Result, Span, Timestamp};
use rustix::fs::Stat;
use rustix::io::Errno;

use self::root::{Root, TMP};
use crate::content::Pieces;
use crate::fault::{Doing, missing};

/// Bytes are copied in pieces of this size, which stay in the second-level cache.
const PIECE: usize = 1 << 20;

/// Objects in files below one directory, which several hosts may share.
#[derive(Debug)]
pub struct DirectoryStore {
    root: Root,
}

impl DirectoryStore {
    /// Makes the directory if it is not there.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self { root: Root::open(dir)? })
    }

    /// Stores under a temporary name, then gives the file its own, which the file system does for one of many at most.
    fn put_new(&self, key: &ObjectKey, pieces: &mut Pieces<'_>) -> Result<PutOutcome> {
        let draft = self.root.draft(key)?;
        let mut done = 0;
        loop {
            let piece = pieces.next(PIECE)?;
            if piece.is_empty() {
                break;
            }
            draft.write(&piece, done)?;
            done += piece.len() as u64;
        }
        draft.sync()?;
        draft.publish(key)
    }

    fn digest(&self, key: &ObjectKey, size: u64) -> Result<Digest> {
        let mut hasher = Hasher::new();
        self.read(key, 0..size, &mut |_, bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        Ok(hasher.digest())
    }
}

/// What became of a name that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PutOutcome {
    Stored,
    Exists,
}

impl ObjectStore for DirectoryStore {
    fn put(&self, key: &ObjectKey, content: Content<'_>) -> Result<PutObject> {
        let mut pieces = Pieces::new(content);
        let outcome = self.put_new(key, &mut pieces)?;
        let digest = pieces.digest();
        let stat = self
            .stat(key)?
            .ok_or_else(|| missing(format!("{key} is gone as soon as it was stored")))?;
        let is_same = || Ok::<_, Error>(stat.size == content.size() && self.digest(key, stat.size)? == digest);
        if outcome == PutOutcome::Exists && !is_same()? {
            return Err(Error::new(Reason::ObjectExists, format!("{key} holds other bytes")));
        }
        Ok(PutObject {
            digest,
            etag: stat.etag,
        })
    }

    fn read(&self, key: &ObjectKey, range: Range<u64>, sink: Sink<'_>) -> Result<()> {
        let fd = self.root.open_object(key)?;
        let size = rustix::fs::fstat(&fd)
            .doing("look at the object")?
            .st_size
            .cast_unsigned();
        if range.end > size {
            return Err(missing(format!("{key} has {size} bytes, {} are asked for", range.end)));
        }
        let mut piece = vec![0; PIECE];
        let mut at = range.start;
        while at < range.end {
            let len = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(PIECE);
            let count = rustix::io::retry_on_intr(|| rustix::io::pread(fd.as_fd(), &mut piece[..len], at))
                .doing("read the object")?;
            if count == 0 {
                return Err(missing(format!("{key} became shorter")));
            }
            sink(at - range.start, &piece[..count])?;
            at += count as u64;
        }
        Ok(())
    }

    fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        let fd = match self.root.open_object(key) {
            Err(error) if error.reason() == Reason::BytesMissing => return Ok(None),
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&fd).doing("look at the object")?;
        Ok(Some(ObjectStat {
            size: stat.st_size.cast_unsigned(),
            etag: Some(format!("{:x}-{:x}", stat.st_ino, modified_at(&stat).as_micros()).into()),
            modified_at: modified_at(&stat),
        }))
    }

    fn remove(&self, keys: &[ObjectKey]) -> Result<()> {
        keys.iter().try_for_each(|key| self.root.unlink(key.as_str()))
    }

    fn sign_put(&self, _: &ObjectKey, _: u64, _: Span) -> Result<SignedRequest> {
        Err(no_urls())
    }

    fn sign_get(&self, _: &ObjectKey, _: Option<Range<u64>>, _: Span) -> Result<SignedRequest> {
        Err(no_urls())
    }

    fn list(&self, after: Option<&ObjectKey>, limit: u32) -> Result<Vec<ListedObject>> {
        let mut found = Vec::new();
        for (path, stat) in self.root.walk()? {
            if let Ok(key) = path.parse::<ObjectKey>()
                && after.is_none_or(|after| *after < key)
            {
                found.push(ListedObject {
                    key,
                    size: stat.st_size.cast_unsigned(),
                    modified_at: modified_at(&stat),
                });
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        found.truncate(limit as usize);
        Ok(found)
    }

    fn uploads(&self, of: Option<&ObjectKey>, limit: u32) -> Result<Vec<ListedUpload>> {
        let drafts = self.root.drafts()?.into_iter();
        let wanted = drafts.filter(|(name, _)| of.is_none() || root::key_of(name).as_ref() == of);
        let uploads = wanted.take(limit as usize).map(|(name, stat)| ListedUpload {
            key: root::key_of(&name),
            id: name.into(),
            begun_at: modified_at(&stat),
        });
        Ok(uploads.collect())
    }

    fn abort(&self, upload: &ListedUpload) -> Result<()> {
        // The name comes back from outside: nothing but a draft's may lead to a file.
        if root::key_of(&upload.id).is_none() {
            return Err(Error::new(Reason::BadName, format!("{:?} is no upload", upload.id)));
        }
        self.root.unlink(&format!("{TMP}/{}", upload.id))
    }

    fn check(&self) -> Result<()> {
        self.root.check()
    }
}

fn no_urls() -> Error {
    Error::new(Reason::ObjectUrlsUnsupported, "a directory has no URLs")
}

fn modified_at(stat: &Stat) -> Timestamp {
    let micros = stat.st_mtime.saturating_mul(1_000_000);
    Timestamp::from_micros(micros.saturating_add(i64::try_from(stat.st_mtime_nsec / 1_000).unwrap_or(0)))
}

/// Whether a name was taken already.
fn outcome(linked: rustix::io::Result<()>) -> Result<PutOutcome> {
    match linked {
        Ok(()) => Ok(PutOutcome::Stored),
        Err(Errno::EXIST) => Ok(PutOutcome::Exists),
        Err(errno) => Err(errno).doing("name the object"),
    }
}
