//! The journal of doubts: a file to which is appended that an object may be without a row, and that it is gone.
//!
//! A suspicion is on the device before its caller goes on. The end of an object need not be: if that is forgotten, it is asked
//! about and removed once more. After a failed write or sync nothing is appended to the same file; the next record begins a new
//! one, with everything that is known.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use payload_core::{Digest, Error, ObjectId, Reason, Result};

const NAME: &str = "doubts";
const NEW: &str = "doubts.new";
/// A word, how long to wait, a checksum, an id.
const RECORD: usize = 24;
/// The longest wait that a record can hold, in seconds: half a year.
const WAIT_MAX: u32 = (1 << 24) - 1;
/// A file with so many records, of which less than half still matter, is written anew.
const REWRITE_MIN: usize = 1_024;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The object may be without a row.
    Suspected(Suspect),
    /// It is gone, and its id never comes back.
    Gone(ObjectId),
}

/// An object that may be without a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) id: ObjectId,
    /// For so many seconds requests that were signed for it may still come. A later start counts them anew: nobody knows when
    /// the server before it stopped.
    pub(super) wait: u32,
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    tail: Mutex<Option<Tail>>,
}

#[derive(Debug)]
struct Tail {
    file: File,
    records: usize,
}

impl Journal {
    /// Opens the journal in a directory, or begins one; returns what it says, in order. A record that was not written to its
    /// end was never acknowledged.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<Record>)> {
        std::fs::create_dir_all(dir).map_err(cannot("make the directory of the object tier"))?;
        let bytes = match std::fs::read(dir.join(NAME)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(cannot("read the journal of the object tier"))?,
        };
        let records = bytes.chunks_exact(RECORD).map_while(Record::read).collect();
        let journal = Self {
            dir: dir.to_owned(),
            tail: Mutex::new(None),
        };
        Ok((journal, records))
    }

    /// Appends records; suspicions are on the device when it returns. `suspects` gives all that there are, should the file
    /// have to be written anew; those of `records` are among them already.
    pub(super) fn append(&self, records: &[Record], suspects: impl Fn() -> Vec<Suspect>) -> Result<()> {
        let mut tail = self.tail.lock();
        let Some(mut open) = tail.take() else {
            *tail = Some(self.rewrite(&suspects())?);
            return Ok(());
        };
        let bytes: Vec<u8> = records.iter().flat_map(|record| record.bytes()).collect();
        open.file
            .write_all(&bytes)
            .map_err(cannot("write the journal of the object tier"))?;
        if records.iter().any(|record| matches!(record, Record::Suspected(_))) {
            open.file
                .sync_data()
                .map_err(cannot("sync the journal of the object tier"))?;
        }
        open.records += records.len();
        // Without a tail the next record begins a new file.
        *tail = (open.records < REWRITE_MIN || open.records / 2 < suspects().len()).then_some(open);
        Ok(())
    }

    fn rewrite(&self, suspects: &[Suspect]) -> Result<Tail> {
        let write = || -> std::io::Result<Tail> {
            let path = self.dir.join(NEW);
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
            let bytes: Vec<u8> = suspects
                .iter()
                .flat_map(|one| Record::Suspected(*one).bytes())
                .collect();
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&path, self.dir.join(NAME))?;
            File::open(&self.dir)?.sync_all()?;
            let records = suspects.len();
            Ok(Tail { file, records })
        };
        write().map_err(cannot("write the journal of the object tier anew"))
    }
}

impl Record {
    const fn parts(self) -> (u8, u32, ObjectId) {
        match self {
            Self::Suspected(Suspect { id, wait }) => (1, wait, id),
            Self::Gone(id) => (2, 0, id),
        }
    }

    fn bytes(self) -> [u8; RECORD] {
        let (word, wait, id) = self.parts();
        let mut bytes = [0; RECORD];
        bytes[..4].copy_from_slice(&wait.min(WAIT_MAX).to_be_bytes());
        bytes[0] = word;
        bytes[8..].copy_from_slice(id.as_bytes());
        let sum = checksum(&bytes);
        bytes[4..8].copy_from_slice(&sum);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; RECORD] = bytes.try_into().ok()?;
        let id = ObjectId::from_bytes(bytes[8..].try_into().ok()?)?;
        let record = match bytes[0] {
            1 => {
                let wait = u32::from_be_bytes([0, bytes[1], bytes[2], bytes[3]]);
                Self::Suspected(Suspect { id, wait })
            }
            2 => Self::Gone(id),
            _ => return None,
        };
        (record.bytes() == bytes).then_some(record)
    }
}

/// Over a record whose place for it is zero.
fn checksum(bytes: &[u8; RECORD]) -> [u8; 4] {
    let digest = Digest::of(bytes);
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

fn cannot(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| {
        let reason = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Reason::TierFull,
            _ => Reason::TierUnavailable,
        };
        Error::new(reason, format!("cannot {what}")).source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ObjectId {
        ObjectId::from_parts(u64::from(number), [number; 10])
    }

    fn suspect(number: u8) -> Suspect {
        Suspect {
            id: id(number),
            wait: u32::from(number) << 16,
        }
    }

    #[test]
    fn records_come_back_and_a_torn_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, records) = Journal::open(dir.path()).unwrap();
        assert_eq!(records, []);
        journal
            .append(&[Record::Suspected(suspect(1))], || vec![suspect(1)])
            .unwrap();
        let more = [Record::Suspected(suspect(2)), Record::Gone(id(1))];
        journal.append(&more, || vec![suspect(2)]).unwrap();
        let read = || Journal::open(dir.path()).unwrap().1;
        assert_eq!(read(), [Record::Suspected(suspect(1)), more[0], more[1]]);
        let path = dir.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        for len in [2 * RECORD + 1, 3 * RECORD - 1] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(read(), [Record::Suspected(suspect(1)), more[0]]);
        }
        let mut damaged = whole;
        damaged[RECORD + 9] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(read(), [Record::Suspected(suspect(1))]);
    }

    #[test]
    fn a_long_history_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        for round in 0..REWRITE_MIN / 2 + 10 {
            let one = suspect(u8::try_from(round % 250 + 1).unwrap());
            journal.append(&[Record::Suspected(one)], || vec![one]).unwrap();
            journal.append(&[Record::Gone(one.id)], Vec::new).unwrap();
        }
        assert!(Journal::open(dir.path()).unwrap().1.len() < REWRITE_MIN);
    }
}
