//! Catalogs with more in them than one would want to wait for: written by the repository itself, before the server starts.

use std::path::Path;

use anyhow::{Result, ensure};
use payload_client::StreamName;
use payload_core::port::Repository;
use payload_core::stream::{Append, EntryDraft, Hold, StreamChange, StreamRef, StreamSettings};
use payload_core::{ChangeSet, Durability, Namespace, PayloadId, StreamId, Timestamp};

use crate::rows;

/// Rows in one transaction.
const BATCH: u64 = 1_000;
const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

/// Makes a catalog with so many streams and a payload to append.
pub(super) fn streams(data: &Path, count: u64) -> Result<PayloadId> {
    let (repository, payload) = open(data)?;
    for first in (0..count).step_by(BATCH as usize) {
        let create = |number| create(number, name(number), Hold::Payload);
        commit(&repository, (first..count.min(first + BATCH)).map(create).collect())?;
    }
    Ok(payload)
}

/// Makes a catalog with one stream of so many entries.
pub(super) fn entries(data: &Path, name: &StreamName, count: u64) -> Result<()> {
    let (repository, payload) = open(data)?;
    commit(&repository, vec![create(0, name.clone(), Hold::Nothing)])?;
    let stream = StreamRef {
        namespace: Namespace::default(),
        name: name.clone(),
        incarnation: None,
    };
    for first in (0..count).step_by(BATCH as usize) {
        let draft = EntryDraft {
            payload,
            tags: Vec::new(),
        };
        let append = Append {
            stream: stream.clone(),
            entries: vec![draft; (count - first).min(BATCH) as usize],
            expected: None,
            producer: None,
            at: NOW,
        };
        commit(&repository, vec![StreamChange::Append(append)])?;
    }
    Ok(())
}

/// The name of one of many streams.
pub(super) fn name(number: u64) -> StreamName {
    format!("s{number}").parse().expect("it is a good name")
}

/// A new catalog where a server will look for it, with a payload.
fn open(data: &Path) -> Result<(impl Repository + use<>, PayloadId)> {
    std::fs::create_dir_all(data)?;
    let repository = rows::open(&data.join("catalog.db"))?;
    rows::claim(&repository)?;
    let created = rows::created(0, Vec::new());
    let payload = created.after.id;
    let outcome = repository.commit(ChangeSet::new(vec![created], Durability::Volatile))?;
    ensure!(outcome.is_applied(), "the payload was not written: {outcome:?}");
    Ok((repository, payload))
}

fn create(number: u64, name: StreamName, hold: Hold) -> StreamChange {
    let mut random = [0; 10];
    // Behind the bits that say which kind of id it is.
    random[2..].copy_from_slice(&number.to_be_bytes());
    StreamChange::Create {
        id: StreamId::from_parts(1_790_000_000_000, random),
        namespace: Namespace::default(),
        name,
        settings: StreamSettings {
            hold,
            ..StreamSettings::default()
        },
        at: NOW,
    }
}

fn commit(repository: &impl Repository, streams: Vec<StreamChange>) -> Result<()> {
    let set = ChangeSet {
        streams,
        ..ChangeSet::new(Vec::new(), Durability::Volatile)
    };
    let outcome = repository.commit(set)?;
    ensure!(outcome.is_applied(), "a set was not applied: {outcome:?}");
    Ok(())
}
