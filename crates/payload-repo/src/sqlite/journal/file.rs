//! The journal's file: numbered entries in two halves that take turns.
//!
//! ```text
//! first page   "PMCOMMIT", version, catalog, size of a half, checksum of these
//! first half   entry, entry, …
//! second half  entry, entry, …
//! entry        length (4 bytes), checksum (8), number (8), content; numbers are little-endian
//! ```
//!
//! What an entry carries may be nowhere else yet, so a half also waits for that.
//!
//! The file has its full size from the start, so that an entry costs no change of the file's metadata and `fdatasync`
//! writes its data alone. A half begins anew once the tables hold all that is in it, on the disk. What it held before
//! stays behind its new entries: numbers only ever grow, so an old entry is never taken for the next one. Checksums
//! are over the session too, so that nothing of an earlier one is valid, torn or whole.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use payload_core::digest::Hasher;

const PAGE: u64 = 4 << 10;
const MAGIC: [u8; 8] = *b"PMCOMMIT";
const VERSION: u32 = 1;
const HEADER: usize = 44;
const ENTRY_HEAD: usize = 20;

/// An open journal that no other process has.
pub(super) struct JournalFile {
    file: File,
    /// What one half holds.
    room: u64,
    /// The half that is written to, and how full it is.
    half: usize,
    end: u64,
    /// The number of the next entry.
    next: u64,
    /// The last number in each half.
    last: [u64; 2],
    /// The tables hold everything up to this number, on the disk.
    durable: u64,
    /// The first entry whose contents may not be in their places on the device, and the last that has any.
    unsettled: Option<u64>,
    carried: u64,
    session: u64,
    buffer: Vec<u8>,
}

/// How far the tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sqlite) struct Mark {
    /// Whose journal it is.
    pub(in crate::sqlite) catalog: [u8; 16],
    /// Which opening of the catalog wrote to the file last.
    pub(in crate::sqlite) session: u64,
    /// The tables hold every entry up to this one.
    pub(in crate::sqlite) applied: u64,
    /// What the next opening is called: a number that was never used before, also not by a catalog that was put back
    /// from a copy since.
    pub(in crate::sqlite) next_session: u64,
}

/// What was found in a file.
pub(in crate::sqlite) struct Found {
    /// Entries that the tables hold, as far as the file still has them: what they carry may not be in its place.
    pub(in crate::sqlite) earlier: Vec<Vec<u8>>,
    /// Entries that the tables do not hold yet, in order, each with its number.
    pub(in crate::sqlite) entries: Vec<(u64, Vec<u8>)>,
    /// How many entries lie behind a gap and are lost: they were never acknowledged as being on the disk.
    pub(in crate::sqlite) cut_off: usize,
}

/// Why a file cannot be the journal.
#[derive(Debug)]
pub(in crate::sqlite) enum Unusable {
    /// Another process has it.
    InUse,
    /// It is another catalog's, or something else altogether.
    Foreign,
    Io(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where the journal of a catalog is.
pub(in crate::sqlite) fn path(catalog: &Path) -> PathBuf {
    let mut path = catalog.as_os_str().to_owned();
    path.push("-commits");
    path.into()
}

/// Opens the file and keeps every other process out of it, before anything is known of the catalog.
pub(in crate::sqlite) fn lock(path: &Path) -> Result<File, Unusable> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Unusable::InUse),
        Err(TryLockError::Error(error)) => Err(Unusable::Io(error)),
    }
}

impl JournalFile {
    /// Reads what the last session wrote and the tables do not hold; makes the file, with room for so many bytes in each
    /// half, if it is new. Before anything is appended, the tables must hold all that was found and know of the next
    /// session.
    pub(super) fn open(file: File, path: &Path, mark: Mark, room: u64) -> Result<(Self, Found), Unusable> {
        let applied = mark.applied;
        let mut all = BTreeMap::new();
        let room = match read_header(&file, mark.catalog)? {
            Some(room) => {
                for half in 0..2 {
                    read_half(&file, start(half, room), room, mark.session, &mut all)?;
                }
                room
            }
            None => {
                make(&file, path, &header(mark.catalog, room), room)?;
                room
            }
        };
        let last_seen = all.last_key_value().map_or(0, |(number, _)| *number);
        let mut beyond = all.split_off(&(applied + 1));
        let mut entries = Vec::new();
        while let Some(content) = beyond.remove(&(applied + 1 + entries.len() as u64)) {
            entries.push((applied + 1 + entries.len() as u64, content));
        }
        let found = Found {
            earlier: all.into_values().collect(),
            entries,
            cut_off: beyond.len(),
        };
        let next = applied.max(last_seen) + 1;
        let journal = Self {
            file,
            room,
            half: 0,
            end: 0,
            next,
            last: [0; 2],
            durable: next - 1,
            unsettled: None,
            carried: 0,
            session: mark.next_session,
            buffer: Vec::new(),
        };
        Ok((journal, found))
    }

    /// What the tables are to know before the first entry is appended.
    pub(super) const fn mark(&self, mark: Mark) -> Mark {
        Mark {
            session: self.session,
            applied: self.last(),
            ..mark
        }
    }

    /// A handle that is good for syncing.
    pub(super) fn for_sync(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The number of the last entry.
    pub(super) const fn last(&self) -> u64 {
        self.next - 1
    }

    /// Adds an entry and returns its number; `None` if there is no room before the tables have caught up.
    pub(super) fn append(&mut self, content: &[u8]) -> io::Result<Option<u64>> {
        let size = (ENTRY_HEAD + content.len()) as u64;
        let (mut half, mut end) = (self.half, self.end);
        if end + size > self.room {
            (half, end) = (1 - half, 0);
            if self.holds(half) || size > self.room {
                return Ok(None);
            }
        }
        let number = self.next;
        self.buffer.clear();
        self.buffer.extend_from_slice(&(content.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&checksum(self.session, number, content));
        self.buffer.extend_from_slice(&number.to_le_bytes());
        self.buffer.extend_from_slice(content);
        self.file.write_all_at(&self.buffer, start(half, self.room) + end)?;
        (self.half, self.end) = (half, end + size);
        self.last[half] = number;
        self.next += 1;
        Ok(Some(number))
    }

    /// Whether a half has something that is nowhere else on the disk.
    fn holds(&self, half: usize) -> bool {
        let last = self.last[half];
        last > self.durable || self.unsettled.is_some_and(|first| first <= last)
    }

    /// The entry that was appended last has contents.
    pub(super) fn carries(&mut self) {
        self.carried = self.last();
        self.unsettled.get_or_insert(self.carried);
    }

    /// Whether contents must be settled for the half that is not written to to be free again.
    pub(super) fn wants_settled(&self) -> bool {
        self.unsettled.is_some_and(|first| first <= self.last[1 - self.half])
    }

    /// The contents of everything up to this entry are in their places, on the device.
    pub(super) fn settled(&mut self, number: u64) {
        self.unsettled = (self.carried > number).then_some(number + 1);
    }

    /// Whether any contents may not be in their places.
    pub(super) const fn has_unsettled(&self) -> bool {
        self.unsettled.is_some()
    }

    /// Whether this session has appended anything.
    pub(super) const fn has_entries(&self) -> bool {
        self.last[0] > 0
    }

    /// Up to which entry the tables must be on the disk for the half that is not written to to be free again.
    pub(super) fn wants_durable(&self) -> Option<u64> {
        let other = self.last[1 - self.half];
        (other > self.durable).then_some(other)
    }

    /// Everything up to this entry is in the tables, on the disk.
    pub(super) fn durable(&mut self, number: u64) {
        self.durable = self.durable.max(number);
    }
}

const fn start(half: usize, room: u64) -> u64 {
    PAGE + half as u64 * room
}

/// An entry is valid in its session and under its number alone.
fn checksum(session: u64, number: u64, content: &[u8]) -> [u8; 8] {
    let mut hasher = Hasher::new();
    hasher.update(&session.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(content);
    let digest = hasher.digest();
    *digest.as_bytes().first_chunk().expect("a digest has 16 bytes")
}

fn header(catalog: [u8; 16], room: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..28].copy_from_slice(&catalog);
    header[28..36].copy_from_slice(&room.to_le_bytes());
    let sum = checksum(0, 0, &header[..36]);
    header[36..].copy_from_slice(&sum);
    header
}

/// How much room each half has. A file without a header was being made when its maker died: nothing was ever written
/// to it.
fn read_header(file: &File, catalog: [u8; 16]) -> Result<Option<u64>, Unusable> {
    let mut found = [0; HEADER];
    match file.read_exact_at(&mut found, 0) {
        Ok(()) if found == [0; HEADER] => return Ok(None),
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let room = u64::from_le_bytes(*found[28..36].first_chunk().expect("these are eight bytes"));
    match found == header(catalog, room) {
        true => Ok(Some(room)),
        false => Err(Unusable::Foreign),
    }
}

/// Zeros first, the header last: with the header there, the room is there.
fn make(file: &File, path: &Path, header: &[u8; HEADER], room: u64) -> Result<(), Unusable> {
    let zeros = vec![0; 1 << 20];
    let size = start(2, room);
    for offset in (0..size).step_by(zeros.len()) {
        let len = zeros.len().min((size - offset) as usize);
        file.write_all_at(&zeros[..len], offset)?;
    }
    file.sync_all()?;
    file.write_all_at(header, 0)?;
    file.sync_all()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

/// Takes every valid entry of a half up to the first that is none, or older than the one before it.
fn read_half(
    file: &File,
    start: u64,
    room: u64,
    session: u64,
    all: &mut BTreeMap<u64, Vec<u8>>,
) -> Result<(), Unusable> {
    let mut bytes = vec![0; room as usize];
    file.read_exact_at(&mut bytes, start)?;
    let (mut rest, mut before) = (&bytes[..], None);
    while let Some((number, content, after)) = entry(session, rest) {
        if before.is_some_and(|before| number != before + 1) {
            break;
        }
        all.insert(number, content.to_vec());
        (before, rest) = (Some(number), after);
    }
    Ok(())
}

fn entry(session: u64, bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (content, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let number = u64::from_le_bytes(*number);
    (number > 0 && *sum == checksum(session, number, content)).then_some((number, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: [u8; 16] = [7; 16];
    const ROOM: u64 = 1 << 20;

    struct World {
        dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().unwrap(),
            }
        }

        fn path(&self) -> PathBuf {
            path(&self.dir.path().join("catalog.db"))
        }

        fn open(&self, session: u64, applied: u64) -> (JournalFile, Found) {
            let mark = Mark {
                catalog: CATALOG,
                session,
                applied,
                next_session: session + 1,
            };
            JournalFile::open(lock(&self.path()).unwrap(), &self.path(), mark, ROOM).unwrap()
        }

        fn found(&self, session: u64, applied: u64) -> Vec<u64> {
            let (_, found) = self.open(session, applied);
            found.entries.iter().map(|(number, _)| *number).collect()
        }
    }

    #[test]
    fn entries_come_back_in_order_from_where_the_tables_end() {
        let world = World::new();
        let (mut journal, found) = world.open(0, 0);
        assert!(found.entries.is_empty());
        for content in [&b"one"[..], b"", b"three"] {
            journal.append(content).unwrap().unwrap();
        }
        drop(journal);
        let (_, found) = world.open(1, 0);
        let all = [(1, b"one".to_vec()), (2, Vec::new()), (3, b"three".to_vec())];
        assert_eq!((found.entries, found.cut_off), (all.to_vec(), 0));
        assert_eq!(world.found(1, 2), [3]);
        assert_eq!(world.found(1, 3), [0; 0]);
    }

    #[test]
    fn a_half_is_used_again_only_when_the_tables_hold_it() {
        let world = World::new();
        let (mut journal, _) = world.open(0, 0);
        let content = vec![1; 100_000];
        let fill = |journal: &mut JournalFile| {
            let mut last = 0;
            while let Some(number) = journal.append(&content).unwrap() {
                last = number;
            }
            last
        };
        let full = fill(&mut journal);
        assert_eq!(journal.wants_durable(), Some(full / 2));
        journal.durable(full / 2 - 1);
        assert_eq!(journal.append(&content).unwrap(), None);
        journal.durable(full / 2);
        assert_eq!(journal.wants_durable(), None);
        let again = fill(&mut journal);
        assert_eq!(again, full + full / 2);
        drop(journal);
        assert_eq!(world.found(1, full / 2), (full / 2 + 1..=again).collect::<Vec<_>>());
    }

    #[test]
    fn a_half_is_used_again_only_when_what_it_carries_is_settled() {
        let world = World::new();
        let (mut journal, _) = world.open(0, 0);
        let content = vec![1; 100_000];
        let fill = |journal: &mut JournalFile| while journal.append(&content).unwrap().is_some() {};
        journal.append(&content).unwrap().unwrap();
        journal.carries();
        fill(&mut journal);
        let full = journal.last();
        journal.durable(full);
        assert!(journal.wants_settled());
        assert_eq!(journal.append(&content).unwrap(), None);
        journal.settled(full);
        assert!(!journal.wants_settled());

        // What was carried since is not settled with it.
        journal.append(&content).unwrap().unwrap();
        journal.carries();
        journal.settled(full);
        fill(&mut journal);
        journal.durable(journal.last());
        assert_eq!(journal.append(&content).unwrap(), None);
        journal.settled(journal.last());
        assert_eq!(journal.append(&content).unwrap(), Some(journal.last()));
    }

    #[test]
    fn a_shorter_lap_leaves_nothing_old_behind_it() {
        let world = World::new();
        let (mut journal, _) = world.open(0, 0);
        while journal.append(&[1; 100_000]).unwrap().is_some() {}
        let last = journal.last();
        journal.durable(last);
        // As long as an old entry, so that the next old one follows at once.
        assert_eq!(journal.append(&[2; 100_000]).unwrap(), Some(last + 1));
        drop(journal);
        assert_eq!(world.found(1, last), [last + 1]);
    }

    #[test]
    fn a_torn_entry_ends_the_journal_and_what_lies_behind_it_is_counted() {
        let world = World::new();
        let (mut journal, _) = world.open(0, 0);
        while journal.half == 0 {
            journal.append(&[1; 100_000]).unwrap().unwrap();
        }
        let (last, size) = (journal.last(), ENTRY_HEAD as u64 + 100_000);
        journal.file.write_all_at(b"!", PAGE + 2 * size - 1).unwrap();
        drop(journal);
        let (mut journal, found) = world.open(1, 0);
        assert_eq!((found.entries.len(), found.cut_off), (1, 1));
        assert_eq!(journal.last(), last);
        // What lay behind the torn entry is of another session, wherever the new ones end.
        journal.append(&[3; 100_000]).unwrap().unwrap();
        journal.append(&[3; 100_000]).unwrap().unwrap();
        drop(journal);
        assert_eq!(world.found(2, last), [last + 1, last + 2]);
    }

    #[test]
    fn a_file_of_another_catalog_or_in_use_is_refused() {
        let world = World::new();
        let (journal, _) = world.open(0, 0);
        assert!(matches!(lock(&world.path()), Err(Unusable::InUse)));
        drop(journal);
        let open = |catalog| {
            let mark = Mark {
                catalog,
                session: 1,
                applied: 0,
                next_session: 2,
            };
            JournalFile::open(lock(&world.path()).unwrap(), &world.path(), mark, ROOM).err()
        };
        assert!(matches!(open([8; 16]), Some(Unusable::Foreign)));
        std::fs::write(world.path(), [0xa5; 5_000]).unwrap();
        assert!(matches!(open(CATALOG), Some(Unusable::Foreign)));
    }

    #[test]
    fn a_file_whose_maker_died_is_made_anew() {
        let world = World::new();
        std::fs::write(world.path(), vec![0; 1 << 20]).unwrap();
        let (mut journal, _) = world.open(0, 9);
        assert_eq!(journal.append(b"first").unwrap(), Some(10));
        assert_eq!(std::fs::metadata(world.path()).unwrap().len(), start(2, ROOM));
    }
}
