//! What streams keep in columns of their own making, the same in every database: tags as a text, batches as bytes.

use payload_core::Digest;
use payload_core::stream::{Offset, PastBatch, Tag};

/// Tags as a text. They have no spaces in them.
pub(crate) fn tags_text(tags: &[Tag]) -> String {
    let words: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    words.join(" ")
}

/// The tags of a text.
pub(crate) fn tags(text: &str) -> Vec<Tag> {
    text.split_ascii_whitespace().map(Tag::from_stored).collect()
}

/// Sequence, count, first offset and fingerprint, numbers in big-endian form.
const BATCH_LEN: usize = 8 + 4 + 8 + 16;

/// Batches as bytes.
pub(crate) fn batches_bytes(batches: &[PastBatch]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(batches.len() * BATCH_LEN);
    for batch in batches {
        bytes.extend(batch.sequence.to_be_bytes());
        bytes.extend(batch.count.to_be_bytes());
        bytes.extend(batch.first.as_u64().to_be_bytes());
        bytes.extend(batch.fingerprint.as_bytes());
    }
    bytes
}

/// The batches of bytes; absent if this system cannot have written them.
pub(crate) fn batches(bytes: &[u8]) -> Option<Vec<PastBatch>> {
    let whole = bytes.chunks_exact(BATCH_LEN);
    whole.remainder().is_empty().then(|| whole.map(batch).collect())?
}

fn batch(bytes: &[u8]) -> Option<PastBatch> {
    let (sequence, rest) = bytes.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    Some(PastBatch {
        sequence: u64::from_be_bytes(*sequence),
        count: u32::from_be_bytes(*count),
        first: Offset::from_u64(u64::from_be_bytes(*first)),
        fingerprint: Digest::from_bytes(rest.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_batches_come_back() {
        let some = payload_core::stream::tags(["left", "a.b-c"]).unwrap();
        assert_eq!(tags(&tags_text(&some)), some);
        assert_eq!(tags(&tags_text(&[])), []);
        let past: Vec<PastBatch> = (1..=3u64)
            .map(|number| PastBatch {
                sequence: u64::MAX - number,
                count: 7,
                first: Offset::from_u64(number << 40),
                fingerprint: Digest::of(&number.to_le_bytes()),
            })
            .collect();
        let mut bytes = batches_bytes(&past);
        assert_eq!(batches(&bytes), Some(past));
        assert_eq!(batches(&[]), Some(Vec::new()));
        bytes.pop();
        assert_eq!(batches(&bytes), None);
    }
}
