//! Bytes that anybody can make again who knows their seed, and the dice that seeds come from.

use payload_core::digest::Digest;
use serde::{Deserialize, Serialize};

/// Names bytes without holding them.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Content {
    pub(crate) seed: u64,
    pub(crate) size: u64,
}

/// Pseudo-random numbers (splitmix64): the same ones for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Content {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut dice = Dice::new(self.seed);
        let size = self.size as usize;
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            bytes.extend_from_slice(&dice.roll().to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }

    pub(crate) fn digest(self) -> Digest {
        Digest::of(&self.bytes())
    }
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is above zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_bytes() {
        let content = Content { seed: 7, size: 13 };
        assert_eq!(content.bytes().len(), 13);
        assert_eq!(content.bytes(), content.bytes());
        assert_ne!(content.digest(), Content { seed: 8, size: 13 }.digest());
        assert!((0..100).all(|_| Dice::new(3).below(5) < 5));
    }
}
