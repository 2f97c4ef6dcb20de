//! Names that clients choose, parsed once at the door; nothing inside checks them again.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use crate::error::{Error, Reason};
use crate::limits;

/// Tenant: the unit of isolation, quota and authorization.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    /// The namespace of callers that name none: `default`. All of them share one text.
    fn default() -> Self {
        static DEFAULT: LazyLock<Namespace> = LazyLock::new(|| Namespace("default".into()));
        DEFAULT.clone()
    }
}

impl FromStr for Namespace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let good = (1..=limits::NAMESPACE_LEN_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
            && !text.starts_with(['-', '_']);
        if !good {
            return Err(Error::invalid(
                Reason::BadName,
                "namespace must be 1 to 63 of a-z, 0-9, '-' and '_', and start with a letter or digit",
            )
            .field("namespace"));
        }
        Ok(Self(text.into()))
    }
}

/// Who calls: `uid:1000` over a unix socket, `loopback` over TCP. Authorization and caps are by principal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The user behind a unix socket, as the kernel told it.
    pub fn uid(uid: u32) -> Self {
        Self(format!("uid:{uid}").into())
    }

    /// Anybody who reaches the loopback listener.
    pub fn loopback() -> Self {
        Self("loopback".into())
    }

    /// From a row that this system wrote.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who caused an event: a principal, or a part of the server itself such as `expiry`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Actor(Arc<str>);

impl Actor {
    /// A part of the server that acts on its own.
    pub fn server(part: &'static str) -> Self {
        Self(format!("server:{part}").into())
    }

    /// From a row that this system wrote.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        Self(principal.0.clone())
    }
}

/// Chosen by a client for one mutation; a retry with the same id gets the first answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let good = (1..=limits::REQUEST_ID_LEN_MAX).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
        if !good {
            return Err(Error::invalid(
                Reason::BadName,
                "request id must be 1 to 64 printable ASCII characters without spaces",
            )
            .field("request_id"));
        }
        Ok(Self(text.into()))
    }
}

/// What an application calls a kind of its own events.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(Arc<str>);

impl EventType {
    /// From a row that this system wrote.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > limits::EVENT_TYPE_LEN_MAX || !is_key(text) {
            return Err(Error::invalid(
                Reason::BadName,
                "event type must be 1 to 63 of a-z, 0-9, '.', '_', '-' and '/', and start with a letter",
            )
            .field("event_type"));
        }
        Ok(Self(text.into()))
    }
}

macro_rules! text_name {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )*};
}
text_name!(Namespace, Principal, Actor, RequestId, EventType);

/// One label of a payload: a key and a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// 1 to 63 of `a-z 0-9 . _ - /`, starting with a letter.
    pub key: Arc<str>,
    /// At most 255 bytes of text without control or direction-changing characters.
    pub value: Arc<str>,
}

impl Label {
    /// Checks both halves.
    pub fn new(key: &str, value: &str) -> Result<Self, Error> {
        if key.len() > limits::LABEL_KEY_LEN_MAX || !is_key(key) {
            return Err(Error::invalid(
                Reason::BadName,
                "label key must be 1 to 63 of a-z, 0-9, '.', '_', '-' and '/', and start with a letter",
            )
            .field("labels"));
        }
        if value.len() > limits::LABEL_VALUE_LEN_MAX || value.chars().any(is_deceptive) {
            return Err(Error::invalid(
                Reason::BadName,
                "label value must be at most 255 bytes without control or bidirectional characters",
            )
            .field("labels"));
        }
        Ok(Self {
            key: key.into(),
            value: value.into(),
        })
    }
}

/// Checks a whole set of labels and puts it in order of keys.
pub fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<Label>, Error> {
    let mut labels = Vec::new();
    for (key, value) in pairs {
        if labels.len() == limits::LABELS_MAX {
            return Err(Error::invalid(Reason::BadName, "a payload has at most 32 labels").field("labels"));
        }
        labels.push(Label::new(key, value)?);
    }
    labels.sort();
    if labels.windows(2).any(|pair| pair[0].key == pair[1].key) {
        return Err(Error::invalid(Reason::BadName, "label keys must differ").field("labels"));
    }
    Ok(labels)
}

/// What labels and kinds of events are called: `a-z 0-9 . _ - /`, starting with a letter.
fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/'))
}

/// Checks the reason that a client gives for what it does; it is kept in the event.
pub fn reason(text: &str) -> Result<Arc<str>, Error> {
    if text.len() > limits::REASON_LEN_MAX || text.chars().any(is_deceptive) {
        return Err(Error::invalid(
            Reason::BadName,
            "reason must be at most 255 bytes without control or bidirectional characters",
        )
        .field("reason"));
    }
    Ok(text.into())
}

/// Control characters, and those that change the direction of the text around them (Unicode UAX #9).
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_cannot_become_paths_or_deceive() {
        for good in ["default", "a", "0x", "team-a_b", &"n".repeat(63)] {
            assert_eq!(good.parse::<Namespace>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "A",
            "a b",
            "-a",
            "_a",
            "a\0",
            "a\u{202e}b",
            "ä",
            &"n".repeat(64),
        ] {
            assert_eq!(
                bad.parse::<Namespace>().unwrap_err().reason(),
                Reason::BadName,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn labels_are_sorted_distinct_and_bounded() {
        let sorted = labels([("b", "2"), ("a", "")]).unwrap();
        assert_eq!(&*sorted[0].key, "a");
        assert!(labels([("a", "1"), ("a", "2")]).is_err());
        let keys: Vec<String> = (0..=limits::LABELS_MAX).map(|i| format!("k{i}")).collect();
        assert!(labels(keys.iter().map(|k| (k.as_str(), "v"))).is_err());
        assert!(labels(keys.iter().skip(1).map(|k| (k.as_str(), "v"))).is_ok());
        for bad in ["", "A", "1a", "a b", "a\0", &"k".repeat(64)] {
            assert!(Label::new(bad, "v").is_err(), "{bad:?}");
        }
        for bad in ["a\0b", "a\nb", "\u{202e}txt.exe", "\u{2066}x", &"v".repeat(256)] {
            assert!(Label::new("k", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn request_ids_are_short_printable_ascii() {
        assert!("b4c1/7".parse::<RequestId>().is_ok());
        for bad in ["", " ", "a b", "a\0", "é", &"r".repeat(65)] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad:?}");
        }
    }
}
