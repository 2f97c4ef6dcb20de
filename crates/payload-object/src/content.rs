//! Reads what is to be stored, in order, and digests it on the way.

use payload_core::digest::Hasher;
use payload_core::port::{Content, Source};
use payload_core::{Digest, Error, Reason, Result};

/// Gives the bytes in pieces.
pub(crate) struct Pieces<'a> {
    content: Content<'a>,
    hasher: Hasher,
    done: u64,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(content: Content<'a>) -> Self {
        Self {
            content,
            hasher: Hasher::new(),
            done: 0,
        }
    }

    /// The next bytes, at most `max`; none at the end.
    pub(crate) fn next(&mut self, max: usize) -> Result<Vec<u8>> {
        let left = self.content.size() - self.done;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(max);
        let mut piece = vec![0; len];
        match self.content {
            Content::Bytes(bytes) => {
                let start = bytes.len() - usize::try_from(left).unwrap_or(usize::MAX);
                piece.copy_from_slice(&bytes[start..start + len]);
            }
            Content::Source(source) => read_exact(source, self.done, &mut piece)?,
        }
        self.hasher.update(&piece);
        self.done += len as u64;
        Ok(piece)
    }

    /// The digest of all that was given.
    pub(crate) fn digest(&self) -> Digest {
        self.hasher.digest()
    }
}

/// The other tier's descriptor may be of sealed memory or of a file; reading it reports a bad device as an error.
fn read_exact(source: Source<'_>, from: u64, target: &mut [u8]) -> Result<()> {
    let mut done = 0;
    while done < target.len() {
        let at = source.offset + from + done as u64;
        match rustix::io::retry_on_intr(|| rustix::io::pread(source.fd, &mut target[done..], at)) {
            Ok(0) => return Err(crate::fault::missing("the source is shorter than its row says")),
            Ok(count) => done += count,
            Err(errno) => {
                let message = "cannot read the bytes to be stored";
                return Err(Error::new(Reason::TierUnavailable, message).source(std::io::Error::from(errno)));
            }
        }
    }
    Ok(())
}
