//! Reading the catalog: one payload, a page of them.

use std::sync::Arc;

use payload_core::page::{self, ListQuery};
use payload_core::{Namespace, Payload, PayloadId, Result, StateKind};

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
        match self.table.get(id).filter(|entry| self.is_known(entry)) {
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
}
