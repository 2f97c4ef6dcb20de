//! Events: what happened in a namespace, or to one payload, in pages.

use payload_core::log::{self, LogFilter, LogQuery};
use payload_core::{LoggedEvent, Result, page};

use crate::engine::Engine;

/// A page of a log.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<LoggedEvent>,
    /// Goes on from here, also at the end of the log.
    pub cursor: String,
    /// Whether there is more to look at now. A page may be empty all the same, if few events fit the filter.
    pub more: bool,
}

impl Engine {
    /// The events that come after `cursor`; from the earliest that is kept, if it is empty.
    pub fn events(&self, filter: &LogFilter, size: u32, cursor: &str) -> Result<EventPage> {
        let limit = page::page_size(size)?;
        let after = match cursor {
            "" => None,
            cursor => Some(log::decode_cursor(filter, cursor)?),
        };
        self.check_log(filter)?;
        let query = LogQuery {
            filter: filter.clone(),
            after,
            limit,
        };
        let page = self.repository().log(&query)?;
        Ok(EventPage {
            cursor: log::encode_cursor(filter, page.through),
            events: page.events,
            more: page.more,
        })
    }

    /// Whether there is what somebody asks the history of. What a namespace had that is gone is read by its ids.
    pub(crate) fn check_log(&self, filter: &LogFilter) -> Result<()> {
        match filter.payload {
            Some(id) => self.get(&filter.namespace, id).map(drop),
            None => self.check_namespace(&filter.namespace),
        }
    }
}
