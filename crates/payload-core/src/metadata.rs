//! Metadata: what people and programs say about a payload, revision after revision, opaque to the system.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Reason, Result};
use crate::limits;
use crate::name::Actor;
use crate::payload::Version;
use crate::time::Timestamp;

/// Counts the revisions of one payload's metadata, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The first that is set.
    pub const FIRST: Self = Self(1);

    /// From a row, or from the wire where zero means that there is none.
    pub const fn from_u64(value: u64) -> Option<Self> {
        if value == 0 { None } else { Some(Self(value)) }
    }

    /// For a row or the wire.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The one after `last`.
    pub const fn after(last: Option<Self>) -> Self {
        match last {
            None => Self::FIRST,
            Some(last) => Self(last.0 + 1),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What bytes are, in the words of RFC 9110: `type/subtype`, and parameters if somebody needs them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentType(Arc<str>);

impl ContentType {
    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From a row that this system wrote.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// `application/json`.
    pub fn json() -> Self {
        Self("application/json".into())
    }

    /// Whether bytes of this type are JSON, by RFC 8259 or as a structured suffix (RFC 6839).
    pub fn is_json(&self) -> bool {
        let essence = self
            .0
            .split(';')
            .next()
            .unwrap_or_default()
            .trim_end()
            .to_ascii_lowercase();
        essence == "application/json" || essence.ends_with("+json")
    }
}

impl Default for ContentType {
    /// Bytes of which nothing is known.
    fn default() -> Self {
        Self("application/octet-stream".into())
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContentType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim_end_matches(' ');
        let good = text.len() <= limits::CONTENT_TYPE_LEN_MAX
            && text.bytes().all(|c| matches!(c, b' '..=b'~'))
            && essence
                .split_once('/')
                .is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
        if !good {
            return Err(Error::invalid(
                Reason::BadName,
                "content type must be type/subtype in at most 127 printable ASCII characters",
            )
            .field("content_type"));
        }
        Ok(Self(text.into()))
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    !text.is_empty() && text.bytes().all(token)
}

/// Bytes with what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What the bytes are.
    pub content_type: ContentType,
    /// At most [`limits::DOCUMENT_SIZE_MAX`] of them.
    pub body: Bytes,
}

impl Document {
    /// Refuses what is too large.
    pub fn new(content_type: ContentType, body: Bytes) -> Result<Self> {
        if body.len() > limits::DOCUMENT_SIZE_MAX {
            return Err(Error::invalid(
                Reason::BadSize,
                format!(
                    "a document has at most {} bytes, not {}",
                    limits::DOCUMENT_SIZE_MAX,
                    body.len()
                ),
            )
            .field("body"));
        }
        Ok(Self { content_type, body })
    }
}

/// One revision of a payload's metadata. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataRevision {
    /// Which, and who made it.
    pub about: RevisionInfo,
    /// What it says.
    pub body: Bytes,
}

/// A revision without what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionInfo {
    /// Which.
    pub revision: Revision,
    /// The version of the payload that it came with.
    pub version: Version,
    /// What the bytes are.
    pub content_type: ContentType,
    /// How many bytes.
    pub size: u64,
    /// Who made it.
    pub actor: Actor,
    /// Why, in the words of whoever made it.
    pub reason: Option<Arc<str>>,
    /// When, by the wall clock.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_types() {
        for good in [
            "a/b",
            "application/json",
            "image/svg+xml; charset=utf-8",
            "x/y ;a=\"b c\"",
        ] {
            assert_eq!(good.parse::<ContentType>().unwrap().as_str(), good);
        }
        let long = format!("a/{}", "b".repeat(126));
        for bad in [
            "", "/", "a", "a/", "/b", "a/b/c", "a b/c", " a/b", "a/b\n", "a/b;ä", "a/b\0", &long,
        ] {
            assert_eq!(
                bad.parse::<ContentType>().unwrap_err().reason(),
                Reason::BadName,
                "{bad:?}"
            );
        }
        for (text, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/geo+json ;x=y", true),
            ("text/plain", false),
            ("application/jsonx", false),
            ("text/plain; a=+json", false),
        ] {
            assert_eq!(text.parse::<ContentType>().unwrap().is_json(), json, "{text}");
        }
    }

    #[test]
    fn documents_have_a_largest_size() {
        let document = |len: usize| Document::new(ContentType::default(), vec![0; len].into());
        assert!(document(limits::DOCUMENT_SIZE_MAX).is_ok());
        let error = document(limits::DOCUMENT_SIZE_MAX + 1).unwrap_err();
        assert_eq!((error.reason(), error.fault_field()), (Reason::BadSize, Some("body")));
    }

    #[test]
    fn revisions_count_from_one() {
        assert_eq!(Revision::from_u64(0), None);
        assert_eq!(Revision::after(None), Revision::FIRST);
        assert_eq!(Revision::after(Some(Revision::FIRST)).as_u64(), 2);
    }
}
