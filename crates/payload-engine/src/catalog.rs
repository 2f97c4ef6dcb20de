//! Reading the catalog: one payload, a page of them.

use std::fmt::Display;
use std::sync::Arc;

use payload_core::listing::{Between, Count, Filter, ListQuery, Order};
use payload_core::page;
use payload_core::{Namespace, Payload, PayloadId, Result, StateKind, Tier, Timestamp};

use crate::engine::{Engine, not_found};

/// Which payloads somebody wants to see.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Of which tenant.
    pub namespace: Namespace,
    /// What else must be true of them.
    pub filter: Filter,
    /// Which of them comes first.
    pub order: Order,
    /// How many on a page; the default if zero.
    pub page_size: u32,
    /// Where the page before ended.
    pub page_token: String,
    /// Whether to say how many there are altogether.
    pub count: bool,
}

impl ListRequest {
    /// The first payloads of a namespace in order of creation.
    pub fn all(namespace: Namespace) -> Self {
        Self {
            namespace,
            filter: Filter::default(),
            order: Order::default(),
            page_size: 0,
            page_token: String::new(),
            count: false,
        }
    }

    /// All that a page token is bound to.
    fn words(&self) -> Vec<String> {
        let filter = &self.filter;
        let times = |range: Between<Timestamp>| words(range, Timestamp::as_micros);
        let labels = filter.labels.iter().flat_map(|label| [&label.key, &label.value]);
        let mut all = vec![
            "list".to_owned(),
            self.namespace.to_string(),
            self.order.as_str().to_owned(),
            filter.state.map_or("", StateKind::as_str).to_owned(),
            filter.tier.map_or("", Tier::as_str).to_owned(),
            words(filter.size, |size| size),
            times(filter.created),
            times(filter.committed),
        ];
        all.extend(labels.map(ToString::to_string));
        all
    }
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order that was asked for.
    pub rows: Vec<Payload>,
    /// Lists on from here; absent on the last page.
    pub next_token: Option<String>,
    /// How many there are, if that was asked.
    pub count: Option<Count>,
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
    pub fn list(&self, request: &ListRequest) -> Result<Page> {
        let limit = page::page_size(request.page_size)?;
        request.filter.check(request.order)?;
        self.check_namespace(&request.namespace)?;
        let words = request.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let page = self.repository().list(&ListQuery {
            namespace: request.namespace.clone(),
            filter: request.filter.clone(),
            order: request.order,
            after: page::position(&request.page_token, &words)?,
            limit,
        })?;
        let count = || self.repository().count(&request.namespace, &request.filter);
        Ok(Page {
            rows: page.rows,
            next_token: page.next.map(|next| page::token(next, &words)),
            count: request.count.then(count).transpose()?,
        })
    }
}

fn words<T, U: Display>(range: Between<T>, plain: impl Fn(T) -> U) -> String {
    let end = |end: Option<T>| end.map(|end| plain(end).to_string()).unwrap_or_default();
    format!("{}..{}", end(range.min), end(range.max))
}
