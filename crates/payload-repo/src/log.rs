//! What the logs of all engines have in common: how a page is filled, and who is told of new events.

use std::collections::BTreeSet;
use std::fmt;

use parking_lot::RwLock;
use payload_core::port::EventListener;
use payload_core::{ChangeSet, LogPage, LogPosition, LogQuery, LoggedEvent, Namespace, Result, limits, log};

/// Fills one page, event after event.
pub(crate) struct Pager {
    after: LogPosition,
    limit: usize,
    looked_at: u32,
    weight: usize,
    page: LogPage,
}

impl Pager {
    /// For a log of which everything up to `start` was removed and that ends at `end`; refuses what cannot be gone on
    /// from.
    pub(crate) fn new(query: &LogQuery, start: LogPosition, end: LogPosition) -> Result<Self> {
        let after = query.after.unwrap_or(start);
        if after > end {
            return Err(log::foreign_cursor());
        }
        if after < start {
            return Err(log::trimmed(&query.filter, start));
        }
        Ok(Self {
            after,
            limit: query.limit as usize,
            looked_at: 0,
            weight: 0,
            page: LogPage {
                events: Vec::new(),
                through: after,
                more: false,
            },
        })
    }

    /// Where the page begins.
    pub(crate) const fn after(&self) -> LogPosition {
        self.after
    }

    /// Goes on to the next event; false if this one is for the next page.
    pub(crate) fn look_at(&mut self, position: LogPosition) -> bool {
        let full = self.page.events.len() == self.limit || self.weight >= limits::LOG_PAGE_BYTES_MAX;
        if full || self.looked_at == limits::LOG_SCAN_MAX {
            self.page.more = true;
            return false;
        }
        self.looked_at += 1;
        self.page.through = position;
        true
    }

    /// Takes the event that was looked at last.
    pub(crate) fn add(&mut self, event: LoggedEvent) {
        self.weight += event.weight();
        self.page.events.push(event);
    }

    /// The page. One that has nothing after it goes through to the end of the log, whatever its filter.
    pub(crate) fn finish(mut self, end: LogPosition) -> LogPage {
        if !self.page.more {
            self.page.through = end;
        }
        self.page
    }
}

/// Who wants to hear of new events.
#[derive(Default)]
pub(crate) struct Listener(RwLock<Option<EventListener>>);

impl Listener {
    pub(crate) fn set(&self, listener: EventListener) {
        *self.0.write() = Some(listener);
    }

    /// Tells of sets that were applied, each namespace once.
    pub(crate) fn tell<'a>(&self, sets: impl IntoIterator<Item = &'a ChangeSet>) {
        logs_of(sets).into_iter().for_each(|namespace| self.tell_of(namespace));
    }

    /// Tells of one namespace.
    pub(crate) fn tell_of(&self, namespace: &Namespace) {
        if let Some(listener) = &*self.0.read() {
            listener(namespace);
        }
    }
}

/// Those to whose logs some sets add.
pub(crate) fn logs_of<'a>(sets: impl IntoIterator<Item = &'a ChangeSet>) -> BTreeSet<&'a Namespace> {
    let changes = sets.into_iter().flat_map(|set| &set.changes);
    changes.map(|change| &change.after.namespace).collect()
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
