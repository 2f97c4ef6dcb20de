//! Retention: entries that are too many, too old or too large leave, a few at a time, and let their payloads go.

use payload_core::stream::{Offset, Stream, StreamChange, Trim};
use payload_core::{Result, Span, StreamId};

use crate::engine::Engine;

/// Entries that leave in one transaction: short enough for appends to come in between.
const BATCH: u64 = 256;
/// Streams that are looked at in one read.
const PAGE: u32 = 256;
/// Entries grow old without anybody doing anything; all streams with limits are looked at so often.
const ROUND: Span = Span::from_secs(60);

impl Engine {
    /// Looks at the streams that have grown since the last look, and now and then at all from which something may have
    /// to leave. Returns how long the worker may sleep.
    pub fn trim_streams(&self) -> Result<Option<Span>> {
        let now = self.now();
        let mut next_round = self.streams.next_round.lock();
        if next_round.is_none_or(|at| at <= now) {
            self.trim_all()?;
            *next_round = Some(now.after(ROUND));
        }
        loop {
            let Some(id) = self.streams.grown.lock().pop_first() else {
                return Ok(next_round.map(|at| at.since(now)));
            };
            let trimmed = match self.repository().incarnation(id) {
                Ok(Some(stream)) => self.trim(&stream),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = trimmed {
                self.streams.grown.lock().insert(id);
                return Err(error);
            }
        }
    }

    fn trim_all(&self) -> Result<()> {
        let mut after: Option<StreamId> = None;
        loop {
            let page = self.repository().streams_to_trim(after, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for stream in page {
                self.trim(&stream)?;
            }
        }
    }

    fn trim(&self, stream: &Stream) -> Result<()> {
        let until = self.keeps_from(stream)?;
        let mut next = stream.earliest;
        while next < until {
            let first = next;
            next = next.plus(BATCH).min(until);
            let trim = Trim {
                stream: stream.id,
                until: next,
            };
            self.change_streams(vec![StreamChange::Trim(trim)], None)?;
            self.metrics.trimmed(next.since(first));
        }
        if stream.ended {
            self.change_streams(vec![StreamChange::Drop(stream.id)], None)?;
        }
        if until > stream.earliest {
            // Payloads that were held may be past their time.
            self.expiry.signal.raise();
        }
        Ok(())
    }

    /// The first entry that may stay.
    fn keeps_from(&self, stream: &Stream) -> Result<Offset> {
        if stream.ended {
            return Ok(stream.head);
        }
        let retention = stream.settings.retention;
        let mut from = stream.earliest;
        if let Some(entries) = retention.entries {
            from = from.max(Offset::from_u64(stream.head.as_u64().saturating_sub(entries)));
        }
        if let Some(bytes) = retention.bytes
            && stream.bytes - stream.bytes_trimmed > bytes
        {
            let too_much = stream.bytes - bytes;
            from = from.max(self.first_that(stream, |read| read.entry.bytes_through - read.entry.size >= too_much)?);
        }
        if let Some(age) = retention.age {
            let oldest = self.wall().before(age);
            from = from.max(self.first_that(stream, |read| read.entry.at >= oldest)?);
        }
        Ok(from)
    }
}
