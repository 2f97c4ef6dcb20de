//! A bucket's objects: put once, read in ranges, and listed only to find what was left behind.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::Source;
use crate::digest::Digest;
use crate::error::{Error, Reason, Result};
use crate::limits;
use crate::time::{Span, Timestamp};

/// Stores objects. A trait of its own beside [`TierStore`](super::TierStore), because a bucket gives no descriptors.
///
/// The contract, proved by one suite for every adapter:
/// - what `put` acknowledged is there, whole and confirmed by the store, and never changes;
/// - a key that holds an object never gets other bytes, whoever puts at the same time;
/// - an error says what can be done about it: `OBJECT_STORE_UNAVAILABLE` passes by itself, `OBJECT_STORE_DENIED` needs
///   somebody who mends the credentials or the permissions, `BYTES_MISSING` and `BYTES_CORRUPT` mean that the object is
///   worth nothing;
/// - each call ends within the adapter's budget of time, whatever the store does.
pub trait ObjectStore: Send + Sync {
    /// Stores an object, and returns when the store has confirmed all of it. If the key holds other bytes, that is refused
    /// with `OBJECT_EXISTS`; the same bytes are as good as stored, because then an earlier answer was lost.
    ///
    /// After an error whose [`outcome`](Error::outcome) is unknown the object may be there, now or later. Parts that were
    /// uploaded and never became an object may stay: see [`uploads`](Self::uploads).
    fn put(&self, key: &ObjectKey, content: Content<'_>) -> Result<PutObject>;

    /// Gives the bytes of a range to `sink`, piece by piece, each with its distance from the start of the range. They come
    /// in any order, each byte once, and on the calling thread. All are of the same object, or it fails with `BYTES_CORRUPT`; with
    /// `BYTES_MISSING` if there is no object, or one that ends before the range.
    fn read(&self, key: &ObjectKey, range: Range<u64>, sink: Sink<'_>) -> Result<()>;

    /// What the store says about an object; nothing if there is none.
    fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>>;

    /// Removes objects, many in one request where the store can. What is not there is fine.
    fn remove(&self, keys: &[ObjectKey]) -> Result<()>;

    /// A request with which anybody can store an object under a key that holds none, until `valid` is over or the store's
    /// credentials are. A `size` that no single request stores is refused with `BAD_SIZE`; how much is sent in the end is for
    /// the caller to check. Stores that cannot sign refuse with `OBJECT_URLS_UNSUPPORTED`, and so do those whose signature
    /// could not keep an object from being replaced.
    fn sign_put(&self, key: &ObjectKey, size: u64, valid: Span) -> Result<SignedRequest>;

    /// A request with which anybody can read an object, or nothing but a range of it, until `valid` is over or the store's
    /// credentials are. Stores that cannot sign refuse with `OBJECT_URLS_UNSUPPORTED`, and so do those whose signature could
    /// not keep to the range.
    fn sign_get(&self, key: &ObjectKey, range: Option<Range<u64>>, valid: Span) -> Result<SignedRequest>;

    /// At most `limit` objects in order of their keys, after `after`. It may be out of date: what is missing may be there and
    /// what is named may be gone, so nothing that matters rests on it alone.
    fn list(&self, after: Option<&ObjectKey>, limit: u32) -> Result<Vec<ListedObject>>;

    /// At most `limit` uploads, of one object or of any, that were begun and not finished, also those that go on. Stores that drop
    /// them by themselves, and those that do not say, name none.
    fn uploads(&self, of: Option<&ObjectKey>, limit: u32) -> Result<Vec<ListedUpload>>;

    /// Gives an unfinished upload up, with its parts. What is already gone is fine.
    fn abort(&self, upload: &ListedUpload) -> Result<()>;

    /// Whether reads and writes work now, by as little as tells it.
    fn check(&self) -> Result<()>;
}

/// Takes bytes, and how far from the start of the range they begin.
pub type Sink<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<()>;

/// Names an object below the adapter's prefix. Whoever makes one up puts a new id into it, so that it is never used again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Box<str>);

impl ObjectKey {
    /// From the 16 bytes of an id. Their last one goes in front, so that keys made one after the other spread over the
    /// store's partitions.
    pub fn of(id: &[u8; 16]) -> Self {
        Self(format!("{:02x}/{}", id[15], uuid::Uuid::from_bytes(*id)).into())
    }

    /// The id that it was made from, if it was made so.
    pub fn id(&self) -> Option<[u8; 16]> {
        let (_, leaf) = self.0.split_once('/')?;
        let id = uuid::Uuid::try_parse(leaf).ok()?.into_bytes();
        (Self::of(&id) == *self).then_some(id)
    }

    /// As text: words of `a-z`, `0-9`, `.`, `_` and `-`, none of them beginning with a dot, with slashes between.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_word = |word: &str| {
            !word.is_empty()
                && !word.starts_with('.')
                && word
                    .bytes()
                    .all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
        };
        if text.len() > limits::OBJECT_KEY_LEN_MAX || !text.split('/').all(is_word) {
            return Err(Error::invalid(
                Reason::BadName,
                format!("{text:?} is not the key of an object"),
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({})", self.0)
    }
}

/// What is to be stored.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Bytes in hand.
    Bytes(&'a [u8]),
    /// Immutable bytes of another tier.
    Source(Source<'a>),
}

impl Content<'_> {
    /// How many bytes.
    pub const fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Source(source) => source.size,
        }
    }
}

/// An object that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutObject {
    /// Of all its bytes, computed on the way.
    pub digest: Digest,
    /// Changes with the bytes; absent if the store gives none.
    pub etag: Option<Box<str>>,
}

/// What a store says about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStat {
    /// How many bytes.
    pub size: u64,
    /// Changes with the bytes; absent if the store gives none.
    pub etag: Option<Box<str>>,
    /// When it was stored, by the store's clock.
    pub modified_at: Timestamp,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: ObjectKey,
    /// How many bytes.
    pub size: u64,
    /// When it was stored, by the store's clock.
    pub modified_at: Timestamp,
}

/// An upload that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUpload {
    /// The store's name for it.
    pub id: Box<str>,
    /// Where the object would be; absent if the store does not say.
    pub key: Option<ObjectKey>,
    /// When it was begun, by the store's clock.
    pub begun_at: Timestamp,
}

/// A request over HTTP that carries its permission with it. Its URL is a secret until it has expired.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// `GET` or `PUT`.
    pub method: &'static str,
    /// With the signature in it.
    pub url: String,
    /// Headers that must be sent with exactly these values.
    pub headers: Vec<(String, String)>,
    /// How long the store takes it.
    pub valid: Span,
}

impl fmt::Debug for SignedRequest {
    /// Without the signature, which must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.url.split('?').next().unwrap_or_default();
        write!(f, "SignedRequest({} {address}?…, {:?})", self.method, self.valid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_from_ids_and_lead_back() {
        let id = std::array::from_fn(|i| i as u8);
        let key = ObjectKey::of(&id);
        assert_eq!(key.as_str(), "0f/00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(key.id(), Some(id));
        assert_eq!(key.as_str().parse::<ObjectKey>().unwrap(), key);
        for other in ["probe/x", "0e/00010203-0405-0607-0809-0a0b0c0d0e0f", "0f"] {
            assert_eq!(other.parse::<ObjectKey>().unwrap().id(), None, "{other}");
        }
    }

    #[test]
    fn nothing_that_could_lead_elsewhere_is_a_key() {
        let long = "a".repeat(limits::OBJECT_KEY_LEN_MAX + 1);
        for bad in [
            "", "/", "a/", "/a", "a//b", "..", "a/../b", ".tmp/a", "A", "a b", "a\0", "é", "a?b", &long,
        ] {
            assert_eq!(
                bad.parse::<ObjectKey>().unwrap_err().reason(),
                Reason::BadName,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_signature_stays_out_of_logs() {
        let request = SignedRequest {
            method: "GET",
            url: "https://bucket/key?X-Amz-Signature=secret".to_owned(),
            headers: Vec::new(),
            valid: Span::from_secs(1),
        };
        assert!(!format!("{request:?}").contains("secret"));
    }
}
