//! Listings in SQLite: candidates out of its indexes, looked at where they are.

use payload_core::listing::{Count, Filter, ListPage, ListQuery};
use payload_core::{Label, Namespace, Payload, PayloadId};
use rusqlite::{Connection, ToSql, params};

use super::fault::Fault;
use super::row::int;
use super::{read, row, sql};
use crate::listing::{self, Candidate, Columns, Index, Lives, MANY, Source, Window};

/// See the port.
pub(super) fn page(conn: &Connection, query: &ListQuery) -> Result<ListPage, Fault> {
    listing::page(&Rows::new(conn, &query.namespace, &query.filter), query)
}

/// See the port.
pub(super) fn count(conn: &Connection, namespace: &Namespace, filter: &Filter) -> Result<Count, Fault> {
    listing::count(&Rows::new(conn, namespace, filter), filter)
}

/// The rows of a snapshot, with a filter.
struct Rows<'a> {
    conn: &'a Connection,
    namespace: &'a str,
    columns: Columns,
    labels: &'a [Label],
}

impl<'a> Rows<'a> {
    fn new(conn: &'a Connection, namespace: &'a Namespace, filter: &'a Filter) -> Self {
        Self {
            conn,
            namespace: namespace.as_str(),
            columns: Columns::new(filter),
            labels: &filter.labels,
        }
    }

    /// Whether a payload has all labels but the one by which it was found.
    fn has_labels(&self, id: PayloadId, source: Source<'_>) -> Result<bool, Fault> {
        let mut statement = self.conn.prepare_cached(sql::HAS_LABEL)?;
        for label in self.labels.iter().filter(|label| !source.is_of(label)) {
            if !statement.exists(params![id.as_bytes(), label.key, label.value])? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Index for Rows<'_> {
    type Error = Fault;

    fn candidates(&self, source: Source<'_>, window: &Window, limit: usize) -> Result<Vec<Candidate>, Fault> {
        let columns = &self.columns;
        let ((low_size, low), (high_size, high)) = (window.low, window.high);
        let (low_size, high_size, limit) = (int(low_size), int(high_size), int(limit as u64));
        let mut params: Vec<&dyn ToSql> = vec![
            &self.namespace,
            &low,
            &high,
            &limit,
            &columns.size.0,
            &columns.size.1,
            &columns.created.0,
            &columns.created.1,
            &columns.committed.0,
            &columns.committed.1,
            &columns.tier,
        ];
        match &source {
            Source::States(None) => {}
            Source::States(Some(_)) => params.push(&columns.state),
            Source::Label(label, lives) => {
                params.extend([&columns.state as &dyn ToSql, &label.key, &label.value]);
                match lives {
                    Lives::Both => {}
                    Lives::Live => params.push(&false),
                    Lives::Ended => params.push(&true),
                }
            }
            Source::Sizes => params.extend([&low_size as &dyn ToSql, &high_size]),
        }
        read::all(self.conn, statement(source, window), &*params, |found| {
            let id = row::payload_id(found)?;
            Ok(Candidate {
                id,
                size: row::uint(found, 1, "size")?,
                fits: found.get(2)? && self.has_labels(id, source)?,
            })
        })
    }

    fn count_label(&self, label: &Label, lives: Lives) -> Result<u64, Fault> {
        let (first, last) = lives.range();
        let params = params![self.namespace, label.key, label.value, first, last, int(MANY)];
        let count = read::one(self.conn, sql::COUNT_LABEL, params, |found| {
            row::uint(found, 0, "count")
        });
        Ok(count?.unwrap_or_default())
    }

    fn count_sizes(&self, window: &Window) -> Result<u64, Fault> {
        let params = params![self.namespace, int(window.low.0), int(window.high.0), int(MANY)];
        let count = read::one(self.conn, sql::COUNT_SIZES, params, |found| {
            row::uint(found, 0, "count")
        });
        Ok(count?.unwrap_or_default())
    }

    fn payloads(&self, ids: &[PayloadId]) -> Result<Vec<Payload>, Fault> {
        read::payloads(self.conn, ids)
    }
}

fn statement(source: Source<'_>, window: &Window) -> &'static str {
    let [ascending, descending] = match source {
        Source::States(None) => [sql::STATES_OLDEST_FIRST, sql::STATES_NEWEST_FIRST],
        Source::States(Some(_)) => [sql::STATE_OLDEST_FIRST, sql::STATE_NEWEST_FIRST],
        Source::Label(_, Lives::Both) => [sql::LABELS_OLDEST_FIRST, sql::LABELS_NEWEST_FIRST],
        Source::Label(_, Lives::Live | Lives::Ended) => [sql::LABEL_OLDEST_FIRST, sql::LABEL_NEWEST_FIRST],
        Source::Sizes => [sql::SMALLEST_FIRST, sql::LARGEST_FIRST],
    };
    if window.order.is_ascending() {
        ascending
    } else {
        descending
    }
}
