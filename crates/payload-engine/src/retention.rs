//! Retention: the history goes when its time is over, a little at a time.

use payload_core::log::{LogFilter, LogQuery};
use payload_core::retention::History;
use payload_core::{Namespace, Result, Span};

use crate::engine::Engine;

/// How much goes in one transaction: short enough for everybody else to come in between.
const BATCH: u32 = 256;
/// The longest time between two looks.
const ROUND: Span = Span::from_secs(60);
/// Logs that are looked at in one read.
const LOGS: u32 = 256;

/// How long the parts of the history are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Events, from when they happened.
    pub events: Span,
    /// Revisions of metadata, from when a later one took their place.
    pub metadata: Span,
    /// Moves of names, from when a later one took their place or the name was taken away.
    pub names: Span,
    /// Payloads, from when they ended.
    pub tombstones: Span,
}

impl Engine {
    /// Removes some of what is older than it has to be, of each kind; tells whether there may be more.
    pub fn remove_history(&self) -> Result<bool> {
        let kept = self.settings.retention;
        let mut more = self.remove_events(kept.events)?;
        for (what, kept) in [
            (History::Metadata, kept.metadata),
            // Names that pointed at what goes are over with it.
            (History::Tombstones, kept.tombstones),
            (History::Names, kept.names),
        ] {
            more |= self.remove_part(&what, kept)?;
        }
        Ok(more)
    }

    /// How often it is looked whether something has grown too old: nothing stays much longer than it has to.
    pub(crate) fn history_round(&self) -> Span {
        let Retention {
            events,
            metadata,
            names,
            tombstones,
        } = self.settings.retention;
        let shortest = events.min(metadata).min(names).min(tombstones);
        (shortest / 10).min(ROUND)
    }

    /// Of every log that is old enough at its beginning.
    fn remove_events(&self, kept: Span) -> Result<bool> {
        let before = self.wall().before(kept);
        let (mut after, mut more) = (None, false);
        loop {
            let logs = self.repository().logs(after.as_ref(), LOGS)?;
            let Some(last) = logs.last().cloned() else {
                return Ok(more);
            };
            after = Some(last);
            for namespace in logs {
                let first = self.repository().log(&first_of(&namespace))?.events;
                if first.iter().any(|event| event.record.at < before) {
                    more |= self.remove_part(&History::Events(namespace), kept)?;
                }
            }
        }
    }

    fn remove_part(&self, what: &History, kept: Span) -> Result<bool> {
        let before = self.wall().before(kept);
        let removed = self.stop_if_fenced(self.repository().remove_history(what, before, BATCH))?;
        for id in removed.payloads {
            if let Some(entry) = self.table.get(id) {
                self.table.remove(&entry);
            }
        }
        self.metrics.removed(what, removed.count);
        Ok(removed.more)
    }
}

fn first_of(namespace: &Namespace) -> LogQuery {
    LogQuery {
        filter: LogFilter {
            namespace: namespace.clone(),
            payload: None,
            kinds: Vec::new(),
        },
        after: None,
        limit: 1,
    }
}
