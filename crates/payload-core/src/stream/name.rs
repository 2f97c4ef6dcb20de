//! The names of streams, groups and producers, and the tags of entries.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Reason};
use crate::limits;

/// Cannot become a path, an option of a command, or deceive a reader.
fn is_good(text: &str, len_max: usize) -> bool {
    (1..=len_max).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text
            .bytes()
            .all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

macro_rules! stream_name {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $field:literal, $max:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// From a row that this system wrote.
            pub fn from_stored(text: &str) -> Self {
                Self(text.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                if !is_good(text, limits::$max) {
                    let message = format!(
                        "{} must be 1 to {} of a-z, 0-9, '.', '_' and '-', and start with a letter or digit",
                        $what, limits::$max
                    );
                    return Err(Error::invalid(Reason::BadName, message).field($field));
                }
                Ok(Self(text.into()))
            }
        }

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
stream_name! {
    /// What people call a stream.
    StreamName, "stream name", "stream", STREAM_NAME_LEN_MAX;
    /// What people call those who share a position in a stream.
    GroupName, "group name", "group", STREAM_NAME_LEN_MAX;
    /// What a producer calls itself, over all its lives.
    ProducerName, "producer name", "producer", STREAM_NAME_LEN_MAX;
    /// A word on an entry, for readers who want a part of a stream.
    Tag, "tag", "tags", TAG_LEN_MAX;
}

/// Checks the tags of one entry, puts them in order and drops repetitions.
pub fn tags<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Vec<Tag>, Error> {
    let mut tags = words.into_iter().map(str::parse).collect::<Result<Vec<Tag>, Error>>()?;
    tags.sort();
    tags.dedup();
    if tags.len() > limits::ENTRY_TAGS_MAX {
        let message = format!("an entry has at most {} tags", limits::ENTRY_TAGS_MAX);
        return Err(Error::invalid(Reason::BadName, message).field("tags"));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_paths_or_options_or_deceive() {
        for good in ["a", "0", "camera.left_raw-7", &"n".repeat(limits::STREAM_NAME_LEN_MAX)] {
            assert_eq!(good.parse::<StreamName>().unwrap().as_str(), good);
        }
        let long = "n".repeat(limits::STREAM_NAME_LEN_MAX + 1);
        for bad in [
            "",
            ".",
            "..",
            "-n",
            "_x",
            "A",
            "a/b",
            "a b",
            "a\0",
            "ä",
            "a\u{202e}b",
            &long,
        ] {
            assert_eq!(
                bad.parse::<StreamName>().unwrap_err().reason(),
                Reason::BadName,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn tags_are_a_small_ordered_set() {
        let sorted = tags(["b", "a", "b"]).unwrap();
        assert_eq!(sorted.iter().map(Tag::as_str).collect::<Vec<_>>(), ["a", "b"]);
        let many: Vec<String> = (0..=limits::ENTRY_TAGS_MAX).map(|i| format!("t{i}")).collect();
        assert!(tags(many.iter().map(String::as_str)).is_err());
        assert!(tags(many.iter().skip(1).map(String::as_str)).is_ok());
        assert!(tags(["a b"]).is_err());
    }
}
