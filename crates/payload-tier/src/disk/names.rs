//! Turns ids into file names and back: nothing that a client sends becomes part of a path.

use payload_core::FileId;

/// Whole files, in 256 directories by the last byte of their ids, which is random.
pub(super) const FILES: &str = "files";
/// Packs; few, so one directory.
pub(super) const PACKS: &str = "packs";
/// Files in the making, where they need a name.
pub(super) const TMP: &str = "tmp";

/// The directory of a whole file.
pub(super) fn shard(id: FileId) -> String {
    shard_of(id.as_bytes()[15])
}

/// The directory of all files whose ids end like this.
pub(super) fn shard_of(last: u8) -> String {
    format!("{FILES}/{last:02x}")
}

/// An id's own name; anything else in the directory is not ours.
pub(super) fn parse(name: &[u8]) -> Option<FileId> {
    let text = std::str::from_utf8(name).ok()?;
    let id = text.parse::<FileId>().ok()?;
    (id.to_string() == text).then_some(id)
}
