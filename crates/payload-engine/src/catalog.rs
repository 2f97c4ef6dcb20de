//! Reading the catalog: one payload, a page of them, the history of one.

use std::sync::Arc;

use payload_core::page::{self, ListQuery};
use payload_core::{Error, EventRecord, Namespace, Payload, PayloadId, Reason, Result, StateKind, Version};

use crate::engine::{Engine, not_found};

/// A page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// In order of creation.
    pub rows: Vec<Payload>,
    /// Lists on from here; absent on the last page.
    pub next_token: Option<String>,
}

impl Engine {
    /// One payload, tombstones too.
    pub fn get(&self, namespace: &Namespace, id: PayloadId) -> Result<Arc<Payload>> {
        match self.table.get(id) {
            Some(entry) => Some(entry.row()),
            None => self.repository().get(id)?.map(Arc::new),
        }
        .filter(|row| row.namespace == *namespace)
        .ok_or_else(not_found)
    }

    /// A page of payloads.
    pub fn list(&self, namespace: &Namespace, state: Option<StateKind>, size: u32, token: &str) -> Result<Page> {
        let limit = page::page_size(size)?;
        self.check_namespace(namespace)?;
        let words = ["list", namespace.as_str(), state.map_or("", StateKind::as_str)];
        let query = ListQuery {
            namespace: namespace.clone(),
            state,
            after: page::position(token, &words)?,
            limit: limit + 1,
        };
        let (rows, more) = page::page_of(self.repository().list(&query)?, limit);
        let next_token = rows.last().filter(|_| more).map(|last| page::token(last.id, &words));
        Ok(Page { rows, next_token })
    }

    /// What happened to a payload, oldest first.
    pub fn events(&self, namespace: &Namespace, id: PayloadId) -> Result<Vec<(Version, EventRecord)>> {
        self.get(namespace, id)?;
        let events = self.repository().events(id)?;
        if events.is_empty() {
            return Err(Error::new(Reason::Internal, "a payload has no events"));
        }
        Ok(events)
    }
}
