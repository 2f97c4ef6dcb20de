//! Remembers which places of a shared container were given up, so that giving one up twice counts once.

use parking_lot::Mutex;

use crate::ALIGN;

/// One bit for each aligned offset, as far as the highest that was given up.
#[derive(Debug, Default)]
pub(crate) struct Freed(Mutex<Vec<u64>>);

impl Freed {
    /// Notes that the place at `offset` is given up; false if it was already.
    pub(crate) fn mark(&self, offset: u64) -> bool {
        let unit = crate::index(offset / ALIGN);
        let (word, bit) = (unit / 64, 1 << (unit % 64));
        let mut words = self.0.lock();
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        let fresh = words[word] & bit == 0;
        words[word] |= bit;
        fresh
    }

    /// Whether anything was given up.
    pub(crate) fn any(&self) -> bool {
        !self.0.lock().is_empty()
    }
}
