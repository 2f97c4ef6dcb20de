//! Listings in PostgreSQL: candidates out of its indexes, some at a time.

use payload_core::listing::{Count, Filter, ListPage, ListQuery};
use payload_core::{Label, Namespace, Payload, PayloadId, StateKind};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::connect::{Conn, Params, Session};
use super::fault::Fault;
use super::row::{int, uuid};
use super::{row, sql};
use crate::listing::{self, Candidate, Columns, Index, Lives, MANY, Source, Window};

/// See the port.
pub(super) fn page(conn: &Conn, query: &ListQuery) -> Result<ListPage, Fault> {
    listing::page(&Rows::new(conn, &query.namespace, &query.filter), query)
}

/// See the port.
pub(super) fn count(conn: &Conn, namespace: &Namespace, filter: &Filter) -> Result<Count, Fault> {
    listing::count(&Rows::new(conn, namespace, filter), filter)
}

/// The rows of a snapshot, with a filter.
struct Rows<'a> {
    conn: &'a Conn,
    namespace: &'a str,
    columns: Columns,
    labels: &'a [Label],
}

impl<'a> Rows<'a> {
    fn new(conn: &'a Conn, namespace: &'a Namespace, filter: &'a Filter) -> Self {
        Self {
            conn,
            namespace: namespace.as_str(),
            columns: Columns::new(filter),
            labels: &filter.labels,
        }
    }

    fn one_count(&self, sql: &'static str, params: Params<'_>) -> Result<u64, Fault> {
        let count = self
            .conn
            .run(async |session: &Session| session.one(sql, params, |found| row::uint(found, "count")).await);
        Ok(count?.unwrap_or_default())
    }
}

impl Index for Rows<'_> {
    type Error = Fault;

    fn candidates(&self, source: Source<'_>, window: &Window, limit: usize) -> Result<Vec<Candidate>, Fault> {
        let columns = &self.columns;
        let ((low_size, low), (high_size, high)) = (window.low, window.high);
        let (low_size, high_size, limit) = (int(low_size), int(high_size), int(limit as u64));
        let (low, high) = (uuid(&low), uuid(&high));
        let others = self.labels.iter().filter(|label| !source.is_of(label));
        let (keys, values): (Vec<&str>, Vec<&[u8]>) = others.map(|label| (&*label.key, label.value.as_bytes())).unzip();
        let label = match source {
            Source::Label(label, _) => Some((&*label.key, label.value.as_bytes())),
            Source::States(_) | Source::Sizes => None,
        };
        let (key, value) = label.unzip();
        let states = StateKind::ALL.map(StateKind::as_str);
        let ended = matches!(source, Source::Label(_, Lives::Ended));
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
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
            &keys,
            &values,
        ];
        match source {
            Source::States(None) => params.extend(states.iter().map(|state| state as &(dyn ToSql + Sync))),
            Source::States(Some(_)) => params.push(&columns.state),
            Source::Label(_, lives) => {
                params.extend([&columns.state as &(dyn ToSql + Sync), &key, &value]);
                params.extend((lives != Lives::Both).then_some(&ended as &(dyn ToSql + Sync)));
            }
            Source::Sizes => params.extend([&low_size as &(dyn ToSql + Sync), &high_size]),
        }
        let sql = statement(source, window);
        self.conn
            .run(async |session: &Session| session.all(sql, &params, row::candidate).await)
    }

    fn count_label(&self, label: &Label, lives: Lives) -> Result<u64, Fault> {
        let ((first, last), value) = (lives.range(), label.value.as_bytes());
        let params: Params<'_> = &[&self.namespace, &&*label.key, &value, &first, &last, &int(MANY)];
        self.one_count(sql::COUNT_LABEL, params)
    }

    fn count_sizes(&self, window: &Window) -> Result<u64, Fault> {
        let (min, max) = (int(window.low.0), int(window.high.0));
        self.one_count(sql::COUNT_SIZES, &[&self.namespace, &min, &max, &int(MANY)])
    }

    fn payloads(&self, ids: &[PayloadId]) -> Result<Vec<Payload>, Fault> {
        let ids: Vec<Uuid> = ids.iter().map(|id| uuid(id.as_bytes())).collect();
        self.conn
            .run(async |session: &Session| session.all(sql::PAYLOADS, &[&ids], row::payload).await)
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
