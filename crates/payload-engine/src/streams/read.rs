//! Read: a page of a stream's entries, from an offset or from a time, all of them or those that fit a filter.

use std::sync::Arc;

use payload_core::stream::{EntryRead, Offset, Start, Stream, StreamRef, StreamRefusal, Tag};
use payload_core::{Error, Label, Payload, Reason, Result, StreamId, Timestamp, limits, page};

use crate::engine::Engine;

/// How many entries are read at a time.
const CHUNK: u32 = 1_000;

/// What a reader asks for.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// Of which stream.
    pub stream: StreamRef,
    /// From where.
    pub start: Start,
    /// At most so many entries; the server's choice if 0.
    pub limit: u32,
    /// At most so many bytes of payloads together, but at least one entry.
    pub bytes_max: Option<u64>,
    /// Which of them.
    pub filter: EntryFilter,
}

/// What an entry must be like. Without anything, every one fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// It has all of these tags.
    pub tags: Vec<Tag>,
    /// Its payload has all of these labels.
    pub labels: Vec<Label>,
}

/// A part of a stream.
#[derive(Clone, Debug)]
pub struct ReadPage {
    /// Which incarnation.
    pub stream: StreamId,
    /// Where the stream begins.
    pub earliest: Offset,
    /// Where it ends: the offset of the entry to come.
    pub head: Offset,
    /// From where to read on.
    pub next: Offset,
    /// What was found, in order.
    pub entries: Vec<EntryRead>,
}

impl Engine {
    /// A page of entries. Never skips silently: what retention has taken is refused, naming what is there.
    pub fn read_stream(&self, request: &ReadRequest) -> Result<ReadPage> {
        let limit = page::page_size(request.limit)?;
        let stream = self.find_stream(&request.stream)?;
        let start = self.start_offset(&stream, request.start)?;
        self.read_from(&stream, start, limit, request)
    }

    /// The same for whoever must not wait: a page from an offset of an incarnation, if what it takes is at hand. What would
    /// be refused is not, so that only the one that may wait refuses.
    pub fn read_at_hand(&self, stream: StreamId, from: Offset, limit: u32, filter: &EntryFilter) -> Option<ReadPage> {
        if *filter != EntryFilter::default() {
            return None;
        }
        let (row, entries) = self.repository().at_hand(stream, from, limit)?;
        let is_here = !row.ended && (row.earliest..=row.head).contains(&from);
        let begins_here = entries.first().is_none_or(|read| read.entry.offset == from);
        (is_here && begins_here).then(|| {
            let next = from.plus(entries.len() as u64);
            ReadPage {
                stream,
                earliest: row.earliest,
                head: row.head,
                next,
                entries,
            }
            .ended()
        })
    }

    /// The offset that a start means now.
    pub fn start_offset(&self, stream: &Stream, start: Start) -> Result<Offset> {
        match start {
            Start::Earliest => Ok(stream.earliest),
            Start::Latest => Ok(stream.head),
            Start::Offset(offset) if offset > stream.head => Err(StreamRefusal::OffsetBeyondHead(stream.head).into()),
            Start::Offset(offset) if offset < stream.earliest => Err(behind(stream.earliest)),
            Start::Offset(offset) => Ok(offset),
            Start::Time(at) => self.offset_at(stream, at),
        }
    }

    /// The first entry that was appended at `at` or later. Times never go back along a stream, so halving finds it.
    fn offset_at(&self, stream: &Stream, at: Timestamp) -> Result<Offset> {
        self.first_that(stream, |read| read.entry.at >= at)
    }

    /// The first entry that fits a test that all entries behind it fit too; the head if none does.
    pub(crate) fn first_that(&self, stream: &Stream, fits: impl Fn(&EntryRead) -> bool) -> Result<Offset> {
        let (mut low, mut high) = (stream.earliest, stream.head);
        while low < high {
            let middle = low.plus(high.since(low) / 2);
            match self.repository().entries(stream.id, middle, 1)?.first() {
                // What retention takes meanwhile is not what is looked for.
                Some(read) if read.entry.offset > middle => low = read.entry.offset,
                Some(read) if fits(read) => high = middle,
                Some(_) => low = middle.plus(1),
                None => high = middle,
            }
        }
        Ok(low)
    }

    fn read_from(&self, stream: &Stream, start: Offset, limit: u32, request: &ReadRequest) -> Result<ReadPage> {
        let mut page = ReadPage {
            stream: stream.id,
            earliest: stream.earliest,
            head: stream.head,
            next: start,
            entries: Vec::new(),
        };
        let (mut scanned, mut bytes) = (0u32, 0u64);
        let plain = request.filter == EntryFilter::default();
        while scanned < limits::READ_SCAN_MAX {
            let wanted = limit - page.entries.len() as u32;
            let chunk = if plain { wanted } else { CHUNK };
            let found = self.repository().entries(stream.id, page.next, chunk)?;
            let read = found.len() as u32;
            for entry in found {
                if entry.entry.offset != page.next {
                    return Err(behind(entry.entry.offset));
                }
                if self.fits(&request.filter, stream, &entry)? {
                    bytes = bytes.saturating_add(entry.entry.size);
                    let too_large = request.bytes_max.is_some_and(|max| bytes > max);
                    if too_large && !page.entries.is_empty() {
                        return Ok(page.ended());
                    }
                    page.entries.push(entry);
                }
                page.next = page.next.plus(1);
                if page.entries.len() as u32 == limit {
                    return Ok(page.ended());
                }
            }
            scanned += read;
            if read < chunk {
                break;
            }
        }
        Ok(page.ended())
    }

    fn fits(&self, filter: &EntryFilter, stream: &Stream, read: &EntryRead) -> Result<bool> {
        if !filter.tags.iter().all(|tag| read.entry.tags.contains(tag)) {
            return Ok(false);
        }
        if filter.labels.is_empty() {
            return Ok(true);
        }
        match self.get(&stream.namespace, read.entry.payload) {
            Ok(row) => Ok(has_labels(&row, &filter.labels)),
            Err(error) if error.reason() == Reason::PayloadNotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl ReadPage {
    /// Entries may have come after the stream's own row was read.
    fn ended(mut self) -> Self {
        self.head = self.head.max(self.next);
        self
    }
}

fn has_labels(row: &Arc<Payload>, labels: &[Label]) -> bool {
    labels.iter().all(|label| row.labels.contains(label))
}

/// Says where the stream begins, to whoever wants to begin before that.
pub(crate) fn behind(earliest: Offset) -> Error {
    Error::new(
        Reason::OffsetBehindRetention,
        format!("retention has removed what was before offset {earliest}; the stream begins there"),
    )
    .field("start")
}
