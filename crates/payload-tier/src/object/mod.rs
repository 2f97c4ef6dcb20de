//! The object tier: replicas in a bucket, which every server of the catalog can read and free.
//!
//! Every object is written once, under a key with an id of its own, so that nobody ever overwrites anything. What is in the
//! bucket and not in a row is known by [doubts](doubts), which are on this host's device before the bucket hears of the
//! object; the sweep asks the rows about each and frees what none names. Listings are for what no server remembers.
//!
//! There are no descriptors here: bytes come in from another tier and go out to one, or with requests that clients send
//! themselves (`urls.rs`). A bucket that does not answer is left
//! alone for a while (`breaker.rs`), so that nobody waits for it again and again.

mod breaker;
mod doubts;
mod journal;
mod pack;
mod urls;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use payload_core::digest::Hasher;
use payload_core::port::{
    Claim, Clock, Content, Ids, Left, ObjectKey, ObjectStat, ObjectStore, Placed, PutObject, Receiver, Sealed, Sender,
    SignedRead, SignedRequest, Source, TierStore, TierUsage,
};
use payload_core::{
    Container, Digest, Error, Location, Namespace, ObjectId, Outcome, Reason, Result, SessionId, Span, Tier,
};

use self::breaker::Guarded;
use self::doubts::Doubts;
use crate::budget::Budget;
use crate::fault::{foreign, in_use, missing};
use crate::index;
use crate::source::gather;

/// How much of the bucket to use.
#[derive(Clone, Copy, Debug)]
pub struct ObjectOptions {
    /// Bytes that the tier may take up.
    pub capacity: u64,
    /// What the rows say that replicas in this tier are charged.
    pub charged: u64,
    /// An upload whose answer was lost may still become an object for so long: longer than any request takes.
    pub late: Span,
    /// The longest that a request lasts which is signed for a client; zero if none is.
    pub url_term: Span,
}

/// Bytes in a bucket.
pub struct ObjectTier {
    bucket: Guarded,
    clock: Arc<dyn Clock>,
    ids: Ids,
    budget: Budget,
    doubts: Doubts,
    late: Span,
    url_term: Span,
}

impl std::fmt::Debug for ObjectTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectTier")
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl ObjectTier {
    /// Opens the tier; `dir` is for what it notes on this host's device, and belongs to it alone.
    pub fn open(
        dir: &Path,
        options: ObjectOptions,
        bucket: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        ids: Ids,
    ) -> Result<Self> {
        let doubts = Doubts::open(dir, clock.now())?;
        Ok(Self {
            bucket: Guarded::new(bucket, Arc::clone(&clock)),
            clock,
            ids,
            budget: Budget::new(options.capacity, options.charged),
            doubts,
            late: options.late,
            url_term: options.url_term,
        })
    }

    /// An object of its own.
    fn put(&self, content: Content<'_>) -> Result<(Placed, Digest)> {
        let (id, size) = (self.ids.object(), content.size());
        let hold = self.budget.take(size)?;
        // From here on the sweep frees whatever comes of it, should this fail or the server die.
        let claim = self.doubts.claim(id)?;
        let put = self.put_into(id, content)?;
        hold.keep();
        self.doubts.charge(id, size);
        let placed = Placed {
            location: Location::Object(id),
            charged: size,
            claim,
        };
        Ok((placed, put.digest))
    }

    /// Puts an object into the bucket. One that may be there all the same, now or later, is removed only when it cannot come
    /// any more.
    fn put_into(&self, id: ObjectId, content: Content<'_>) -> Result<PutObject> {
        let put = self.bucket.call(|bucket| bucket.put(&key(id), content));
        if matches!(&put, Err(error) if error.outcome() == Outcome::Unknown) {
            self.budget.add(content.size());
            self.doubts.charge(id, content.size());
            self.doubts.linger(id, self.clock.now().after(self.late));
        }
        if put.is_ok() {
            self.doubts.finished(id);
        }
        put
    }

    /// Gives parts up that were uploaded and never became an object.
    fn abort_uploads(&self, id: ObjectId) -> Result<()> {
        let key = key(id);
        let uploads = self.bucket.call(|bucket| bucket.uploads(Some(&key), UPLOADS_MAX))?;
        for upload in &uploads {
            self.bucket.call(|bucket| bucket.abort(upload))?;
        }
        Ok(())
    }

    /// What the bucket says of the object, if it is one that can hold the bytes.
    fn look(&self, location: &Location, size: u64) -> Result<ObjectStat> {
        let id = object_of(location)?;
        let key = key(id);
        let stat = match self.bucket.call(|bucket| bucket.stat(&key))? {
            Some(stat) => stat,
            // The answer to such a question has no body, which alone tells a missing object from a missing bucket.
            None => {
                self.bucket.call(|bucket| bucket.read(&key, 0..1, &mut |_, _| Ok(())))?;
                let message = "the bucket does not know yet what it has";
                return Err(Error::new(Reason::ObjectStoreUnavailable, message));
            }
        };
        let there = location.offset().checked_add(size).is_some_and(|end| end <= stat.size);
        let whole = location.is_shared() || stat.size == size;
        match there && whole {
            true => Ok(stat),
            false => Err(missing("the object is not as long as its row says")),
        }
    }

    fn get(&self, location: &Location, from: u64, size: u64, to: Receiver<'_>) -> Result<()> {
        let (id, start) = (object_of(location)?, location.offset() + from);
        if size == 0 {
            return Ok(());
        }
        self.bucket
            .call(|bucket| bucket.read(&key(id), start..start + size, to))
    }
}

impl TierStore for ObjectTier {
    fn tier(&self) -> Tier {
        Tier::Object
    }

    fn reserve(&self, _namespace: &Namespace, size: u64, _producer: Option<SessionId>) -> Result<Placed> {
        self.reserve_object(size)
    }

    fn writer(&self, location: &Location) -> Result<OwnedFd> {
        object_of(location)?;
        Err(no_descriptor())
    }

    fn seal(&self, _namespace: &Namespace, location: &Location, size: u64) -> Result<Sealed> {
        self.check_filled(location, size)?;
        Ok(Sealed::InPlace { charged: size })
    }

    fn forget_producer(&self, _producer: SessionId) {}

    fn store(&self, _namespace: &Namespace, bytes: &[u8]) -> Result<Placed> {
        Ok(self.put(Content::Bytes(bytes))?.0)
    }

    fn store_all(&self, _namespace: &Namespace, payloads: &[&[u8]]) -> Vec<Result<Placed>> {
        self.pack(payloads)
    }

    fn copy_in(&self, _namespace: &Namespace, source: Source<'_>) -> Result<(Placed, Digest)> {
        self.put(Content::Source(source))
    }

    fn receive(&self, namespace: &Namespace, size: u64, from: Sender<'_>) -> Result<(Placed, Digest)> {
        let mut bytes = vec![0; index(size)];
        let digest = gather(&mut bytes, from)?;
        Ok((self.store(namespace, &bytes)?, digest))
    }

    fn send(&self, location: &Location, size: u64, to: Receiver<'_>) -> Result<()> {
        self.get(location, 0, size, to)
    }

    fn check(&self, location: &Location, size: u64) -> Result<()> {
        self.look(location, size).map(drop)
    }

    fn read(&self, location: &Location, size: u64, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.resize(start + index(size), 0);
        let read = gather(&mut out[start..], &|to| self.send(location, size, to));
        if read.is_err() {
            out.truncate(start);
        }
        read.map(drop)
    }

    fn read_all(&self, wanted: &[(Location, u64)]) -> Vec<Result<Vec<u8>>> {
        self.read_together(wanted)
    }

    fn digest(&self, location: &Location, size: u64) -> Result<Digest> {
        let mut hasher = Hasher::new();
        let mut piece = Vec::new();
        let mut done = 0;
        while done < size {
            let len = DIGESTED.min(size - done);
            piece.resize(index(len), 0);
            gather(&mut piece, &|to| self.get(location, done, len, to))?;
            hasher.update(&piece);
            done += len;
        }
        Ok(hasher.digest())
    }

    fn open(&self, location: &Location) -> Result<OwnedFd> {
        object_of(location)?;
        Err(no_descriptor())
    }

    fn remove(&self, location: &Location, charged: u64) -> Result<()> {
        let id = object_of(location)?;
        if !location.is_shared() && self.doubts.keep_charged(id, charged, self.clock.now()) {
            // The sweep is told of it in time.
            return Ok(());
        }
        self.budget.give(charged);
        self.doubts.given_back(id, charged);
        if location.is_shared() {
            return Ok(());
        }
        self.delete(id)
    }

    fn sweepable(&self) -> Result<Vec<Container>> {
        Ok(self
            .doubts
            .tell(self.clock.now())
            .into_iter()
            .map(Container::Object)
            .collect())
    }

    fn hollow(&self, _share: u8, _count: &dyn Fn(Container) -> Result<u64>) -> Result<Vec<Container>> {
        // What is unused in a pack takes up room in the bucket, which is not short, until the last payload in it is gone.
        Ok(Vec::new())
    }

    fn suspect(&self, container: Container, left: Left) -> Result<Claim> {
        let wait = self.wait_for(left);
        self.doubts.suspect(object_in(container)?, left, wait, self.clock.now())
    }

    fn sign_read(&self, location: &Location, size: u64, valid: Span) -> Result<SignedRead> {
        self.signed_read(location, size, valid)
    }

    fn sign_write(&self, location: &Location, size: u64, valid: Span) -> Result<SignedRequest> {
        self.signed_write(location, size, valid)
    }

    fn trust(&self, container: Container) -> Result<()> {
        self.doubts.trust(object_in(container)?);
        Ok(())
    }

    fn drop_container(&self, container: Container) -> Result<()> {
        let id = object_in(container)?;
        if self.doubts.is_claimed(id) {
            return Err(in_use());
        }
        if self.doubts.is_waiting(id, self.clock.now()) {
            return self.leave_alone(id);
        }
        if self.doubts.is_unfinished(id) {
            self.abort_uploads(id)?;
        }
        self.delete(id)
    }

    fn prepare(&self) -> Result<bool> {
        Ok(false)
    }

    fn was_drawn_on(&self) -> bool {
        false
    }

    fn memory_node(&self, _location: &Location) -> Option<u32> {
        None
    }

    fn usage(&self) -> TierUsage {
        TierUsage {
            unavailable: self.bucket.is_open(),
            zombie: self.doubts.lingering(),
            waiting: self.doubts.waiting(self.clock.now()),
            ..self.budget.usage(0)
        }
    }
}

/// So many unfinished uploads of one object are given up at a time; there is one, as its id is used once.
const UPLOADS_MAX: u32 = 10;

/// Bytes that are digested where they are come in pieces of this size.
const DIGESTED: u64 = 8 << 20;

impl ObjectTier {
    /// A doubt stays until the bucket has said that the object is gone.
    fn delete(&self, id: ObjectId) -> Result<()> {
        self.bucket.call(|bucket| bucket.remove(&[key(id)]))?;
        let charged = self.doubts.settle(id)?;
        self.budget.give(charged);
        Ok(())
    }
}

fn key(id: ObjectId) -> ObjectKey {
    ObjectKey::of(id.as_bytes())
}

fn object_of(location: &Location) -> Result<ObjectId> {
    object_in(location.container())
}

fn object_in(container: Container) -> Result<ObjectId> {
    match container {
        Container::Object(id) => Ok(id),
        Container::Segment(_) | Container::File(_) => Err(foreign()),
    }
}

fn no_descriptor() -> Error {
    Error::new(Reason::Internal, "what is in the object tier has no descriptor")
}
