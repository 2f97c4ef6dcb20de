//! The digest that names a payload's content: XXH3-128.
//!
//! It finds accidents (bit rot, torn writes, software faults), at memory speed. It is not a defence against somebody
//! who makes up bytes on purpose; who may write at all is what protects against that (see ADR 3).

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::error::{Error, Reason};

/// 128 bits over the whole content, in the canonical (big-endian) form of the xxHash specification.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 16]);

impl Digest {
    /// Of bytes that are all there.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes).to_be_bytes())
    }

    /// From its canonical bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its canonical bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "xxh3:{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::invalid(
                Reason::BadDigest,
                "digest must be \"xxh3:\" and 32 lower-case hexadecimal digits",
            )
            .field("digest")
        };
        let hex = text.strip_prefix("xxh3:").ok_or_else(bad)?;
        if hex.len() != 32 || !hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad());
        }
        u128::from_str_radix(hex, 16)
            .map(|value| Self(value.to_be_bytes()))
            .map_err(|_| bad())
    }
}

/// Computes a digest over bytes that come in pieces.
#[derive(Clone, Default)]
pub struct Hasher(Xxh3);

impl Hasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added so far.
    pub fn digest(&self) -> Digest {
        Digest(self.0.digest128().to_be_bytes())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_value_for_the_empty_input() {
        // xxHash specification, XXH3_128bits("", seed 0).
        assert_eq!(Digest::of(b"").to_string(), "xxh3:99aa06d3014798d86001c324468d497f");
    }

    #[test]
    fn pieces_give_the_same_digest_as_the_whole() {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
        let mut hasher = Hasher::new();
        bytes.chunks(333).for_each(|piece| hasher.update(piece));
        assert_eq!(hasher.digest(), Digest::of(&bytes));
        assert_eq!(
            hasher.digest().to_string().parse::<Digest>().unwrap(),
            Digest::of(&bytes)
        );
    }
}
