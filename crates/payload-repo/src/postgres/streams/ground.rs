//! What a batch finds in the database about streams: what it asked for when it began, and the few rows that it turns out to
//! need besides.

use payload_core::stream::rules::PayloadSeen;
use payload_core::stream::{Appended, Entry, Group, GroupName, Offset, Producer, ProducerName, Stream};
use payload_core::stream::{StreamChange, StreamName, StreamRefusal};
use payload_core::{Namespace, PayloadId, StreamId};

use super::super::connect::{Conn, Params, Session};
use super::super::decide::Streams;
use super::super::fault::Fault;
use super::super::row::{int, uint, uuid};
use super::find::Had;
use super::{row, sql};
use crate::book::{Book, Ground, Written};

/// The database, with what it is known to have.
pub(in crate::postgres) struct Known<'c> {
    conn: &'c Conn,
    had: Had,
}

impl<'c> Known<'c> {
    /// Reads what was not found out before when it is asked for.
    pub(in crate::postgres) fn new(conn: &'c Conn, had: Had) -> Self {
        Self { conn, had }
    }

    fn ask<T>(
        &self,
        statement: &'static str,
        params: Params<'_>,
        read: impl Fn(&tokio_postgres::Row) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.conn
            .run(async |session: &Session| session.one(statement, params, read).await)
    }

    fn ask_all<T>(
        &self,
        statement: &'static str,
        params: Params<'_>,
        read: impl Fn(&tokio_postgres::Row) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        self.conn
            .run(async |session: &Session| session.all(statement, params, read).await)
    }
}

impl Streams for Book<Known<'_>> {
    fn apply(
        &mut self,
        changes: &[StreamChange],
        written: &Written<'_>,
    ) -> Result<Result<Option<Appended>, StreamRefusal>, Fault> {
        self.apply(changes, written)
    }
}

impl Ground for Known<'_> {
    type Fault = Fault;

    fn has_namespace(&mut self, name: &Namespace) -> Result<bool, Fault> {
        let found = self.ask(sql::NAMESPACE_NAMED, &[&name.as_str()], |_| Ok(()))?;
        Ok(found.is_some())
    }

    fn named(&mut self, namespace: &Namespace, name: &StreamName) -> Result<Option<StreamId>, Fault> {
        let key = (namespace.clone(), name.clone());
        if let Some(known) = self.had.names.get(&key) {
            return Ok(*known);
        }
        let params: Params<'_> = &[&namespace.as_str(), &name.as_str()];
        let found = self.ask(sql::LOCK_STREAM_NAMED, params, row::stream)?;
        let id = found.as_ref().map(|stream| stream.id);
        if let Some(found) = found {
            self.had.streams.entry(found.id).or_insert(Some(found));
        }
        self.had.names.insert(key, id);
        Ok(id)
    }

    fn stream(&mut self, id: StreamId) -> Result<Option<Stream>, Fault> {
        if let Some(had) = self.had.streams.get(&id) {
            return Ok(had.clone());
        }
        let found = self.ask(sql::LOCK_STREAM, &[&uuid(id.as_bytes())], row::stream)?;
        self.had.streams.insert(id, found.clone());
        Ok(found)
    }

    fn count_streams(&mut self, namespace: &Namespace) -> Result<u64, Fault> {
        if let Some(had) = self.had.counts.get(namespace) {
            return Ok(*had);
        }
        let read = |found: &tokio_postgres::Row| uint(found, "streams");
        let found = self.ask(sql::COUNT_STREAMS, &[&namespace.as_str()], read)?;
        Ok(*self.had.counts.entry(namespace.clone()).or_insert(found.unwrap_or(0)))
    }

    fn payload(&mut self, id: PayloadId) -> Result<Option<PayloadSeen>, Fault> {
        if let Some(had) = self.had.payloads.get(&id) {
            return Ok(had.clone());
        }
        let found = self.ask(sql::LOCK_PAYLOAD_SEEN, &[&uuid(id.as_bytes())], row::payload_seen)?;
        self.had.payloads.insert(id, found.clone());
        Ok(found)
    }

    fn entries(&mut self, stream: StreamId, from: Offset, until: Offset) -> Result<Vec<Entry>, Fault> {
        let params: Params<'_> = &[&uuid(stream.as_bytes()), &int(from.as_u64()), &int(until.as_u64())];
        self.ask_all(sql::ENTRIES, params, row::entry)
    }

    fn group(&mut self, stream: StreamId, name: &GroupName) -> Result<Option<Group>, Fault> {
        let key = (stream, name.clone());
        if let Some(had) = self.had.groups.get(&key) {
            return Ok(had.clone());
        }
        let params: Params<'_> = &[&uuid(stream.as_bytes()), &name.as_str()];
        let found = self.ask(sql::GROUP_NAMED, params, row::group)?;
        self.had.groups.insert(key, found.clone());
        Ok(found)
    }

    fn producer(&mut self, stream: StreamId, name: &ProducerName) -> Result<Option<Producer>, Fault> {
        let key = (stream, name.clone());
        if let Some(had) = self.had.producers.get(&key) {
            return Ok(had.clone());
        }
        let params: Params<'_> = &[&uuid(stream.as_bytes()), &name.as_str()];
        let found = self.ask(sql::PRODUCER_NAMED, params, row::producer)?;
        self.had.producers.insert(key, found.clone());
        Ok(found)
    }

    fn producers(&mut self, stream: StreamId) -> Result<Vec<Producer>, Fault> {
        self.ask_all(sql::PRODUCERS, &[&uuid(stream.as_bytes())], row::producer)
    }
}
